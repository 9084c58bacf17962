/* What the engine's own files share. */
#ifndef FQT_INTERNAL_H
#define FQT_INTERNAL_H

#include <stddef.h>

#include "arithmetic.h"
#include "fqt.h"

#define FQT_NOINLINE __attribute__((noinline))
#define FQT_SMALL __attribute__((cold)) /* compiled for size among kernels that are not */

#define FQT_ACC_MIN_UNSET INT32_MAX
#define FQT_ACC_MAX_UNSET INT32_MIN
#define FQT_HEADROOM 4.0f              /* an output quantum is at least 4 accumulator quanta */
#define FQT_SUM_HEADROOM (1.0f / 64.0f) /* a sum's output quantum is at least this share of the larger input quantum */
#define FQT_RELU6_LIMIT 6.0f
#define FQT_NOT_CLAMPED_LOW (-1)
#define FQT_NOT_CLAMPED_HIGH 256

/* Shapes of a convolution, as in the reference; a fully connected layer is one with 1x1 maps and a 1x1 kernel.
 * Maps are (H,W,C), weights (F,KH,KW,C/groups) with rows of `stored` >= taps elements. */
struct fqt_geometry {
    uint32_t h, w, c;
    uint32_t out_h, out_w, filters; /* windows that are computed, those under a fused pool too */
    uint32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;
    uint32_t group_channels, group_filters;
    uint32_t pool;   /* 2: a 2x2 max pool is fused; else 1 */
    uint32_t taps;   /* KH * KW * C/groups */
    uint32_t stored; /* of uint8 weights taps rounded up to 4 */
};

/* First and last+1 kernel positions whose input lies on the map. */
struct fqt_span {
    uint32_t first, end;
};

static inline struct fqt_span fqt_clip(uint32_t position, uint32_t pad, uint32_t kernel, uint32_t size)
{
    /* input index = position + k - pad, 0 <= index < size */
    uint32_t first = position < pad ? pad - position : 0u;
    uint32_t end = size + pad > position ? size + pad - position : 0u;
    return (struct fqt_span){first, end < kernel ? end : kernel};
}

/* The filters that a sample updates, ascending; list == NULL: all. */
struct fqt_selection {
    const uint16_t *list;
    uint32_t n;
};

static inline uint32_t fqt_selected(const struct fqt_selection *selection, uint32_t i)
{
    return selection->list != NULL ? selection->list[i] : i;
}

/* Values of an activation at which a folded ReLU or ReLU6 clamped it. */
struct fqt_mask {
    int32_t low, high;
};

static inline bool fqt_hides(struct fqt_mask mask, int32_t x)
{
    return x <= mask.low || x >= mask.high;
}

static inline bool fqt_has_weights(const struct image_layer *layer)
{
    return layer->type == IMAGE_CONVOLUTION || layer->type == IMAGE_FULLY_CONNECTED;
}

static inline bool fqt_is_trained(const struct image_layer *layer)
{
    return fqt_has_weights(layer) && (layer->flags & (IMAGE_FLAG_TRAINED | IMAGE_FLAG_BIAS_TRAINED)) != 0;
}

static inline bool fqt_is_float(const struct fqt_net *net, uint32_t tensor)
{
    return net->tensors[tensor].dtype == IMAGE_F32;
}

static inline uint32_t fqt_count(const struct image_tensor *tensor)
{
    return (uint32_t)tensor->h * tensor->w * tensor->c;
}

/* Whether the layer gives its uint8 output a range of its own. */
bool fqt_has_range(const struct fqt_net *net, const struct image_layer *layer);

/* Geometry of a layer that has weights. */
struct fqt_geometry fqt_geometry_of(const struct fqt_net *net, const struct image_layer *layer);

/* Bytes of scratch that the kernels need for a uint8 layer of this geometry: forward, for the gradient of its weights, and
 * for the error of its input. */
uint64_t fqt_scratch_bytes(const struct fqt_geometry *g, bool gradient, bool error);

/* Where a tensor's bytes lie: in its region, in the image, or in the slot of the sample in progress. */
const void *fqt_tensor_read(const struct fqt_net *net, uint32_t tensor);

/* As above, for a tensor in a region. */
void *fqt_tensor_write(const struct fqt_net *net, uint32_t tensor);

/* Quantized value of 6, possibly beyond 255. */
int32_t fqt_relu6_clamp(const struct fqt_tensor_state *state);

/* What was clamped of the layer's `in`, and of its `other`. */
struct fqt_mask fqt_mask_of_input(const struct fqt_net *net, const struct image_layer *layer);
struct fqt_mask fqt_mask_of_other(const struct fqt_net *net, const struct image_layer *layer);

/* The bounds to which a layer's uint8 output is clamped: lowest in `low`, highest in `high`. */
struct fqt_mask fqt_output_bounds(const struct fqt_net *net, const struct image_layer *layer);

/* Whether a float activation was clamped, by the layer's masks of `in` or of `other`. */
static inline bool fqt_hides_float(uint32_t flags, uint32_t low, uint32_t high, float x)
{
    return ((flags & low) != 0 && x <= 0.0f) || ((flags & high) != 0 && x >= FQT_RELU6_LIMIT);
}

/* Multipliers of an add's inputs. */
struct fqt_common_multipliers fqt_sum_multipliers(const struct fqt_net *net, const struct image_layer *layer);

/* Real value of one unit of the accumulators whose extremes are tracked. */
float fqt_accumulator_unit(const struct fqt_net *net, const struct image_layer *layer);

/* Derive scales, zero points and integer biases from ranges, from the input to the logits. */
void fqt_settle(struct fqt_net *net);

/* Scale, at least `least`, and zero point for real numbers from low to high, and for zero. */
void fqt_take_range(struct fqt_tensor_state *state, float low, float high, float least);

/* Let the output's range follow the accumulators tracked since the last update. */
void fqt_follow_range(struct fqt_net *net, uint32_t layer);

/* Recompute the integer biases of one uint8 layer. */
void fqt_fold_bias(const struct fqt_net *net, const struct image_layer *layer);

/* Move `current` towards `observed`: half the distance up, a twentieth down. */
static inline float fqt_follow(float current, float observed)
{
    float distance = observed - current;
    return current + (distance > 0.0f ? 0.5f : 0.05f) * distance;
}

/* Keep the extremes of an accumulator. */
static inline void fqt_track(struct fqt_layer_state *state, int32_t acc)
{
    state->acc_min = acc < state->acc_min ? acc : state->acc_min;
    state->acc_max = acc > state->acc_max ? acc : state->acc_max;
}

/* partial.c: the filters that this sample updates; `updated` of the layer's state is their number. */
struct fqt_selection fqt_select(struct fqt_net *net, uint32_t layer);

/* backward_integer.c: a uint8 layer's error goes down, its gradients are added up. `error_share`: errors that are not
 * zero, in 1/256, or 0 where there is only one kernel to choose. */
uint32_t fqt_error_share(const struct fqt_net *net, uint32_t layer, const struct fqt_geometry *g);
void fqt_propagate_integer(struct fqt_net *net, uint32_t layer, const struct fqt_geometry *g,
                           struct fqt_selection selection, uint32_t error_share);
void fqt_accumulate_integer(struct fqt_net *net, uint32_t layer, const struct fqt_geometry *g,
                            struct fqt_selection selection, uint32_t error_share);

/* maps.c: layers without weights. */
void fqt_forward_map(struct fqt_net *net, uint32_t layer);
void fqt_backward_map(struct fqt_net *net, uint32_t layer);

/* head.c: softmax cross-entropy, and errors from float to uint8. */
struct fqt_outcome fqt_forward_head(const struct fqt_net *net, const struct image_layer *layer, uint32_t label);
void fqt_backward_head(const struct fqt_net *net, const struct image_layer *layer);
void fqt_backward_dequantize(const struct fqt_net *net, const struct image_layer *layer);

/* step_*.c: what an update does to a layer's weights. `rate` is that of the schedule. */
void fqt_update_biases(const struct fqt_net *net, const struct image_layer *layer, float rate);
void fqt_step_bias(const struct fqt_net *net, const struct image_layer *layer, uint32_t filter, float step);
float fqt_standardized_bias(float gradient, float sigma, float rate);
void fqt_update_integer(struct fqt_net *net, uint32_t layer, float rate);
void fqt_update_float(struct fqt_net *net, uint32_t layer, float rate);
void fqt_grow_weights(struct fqt_net *net, const struct image_layer *layer);

/* Batch 1: whether weights have 8 bits of residual and no velocity, so that the step kernels know them; what then scales
 * gradients of `unit` to steps; and that a step was clamped. */
bool fqt_keeps_wide_residuals(const struct fqt_net *net, uint32_t layer);
struct fqt_multiplier fqt_step_at_once(const struct fqt_net *net, uint32_t layer, float unit);
void fqt_note_saturation(struct fqt_net *net, uint32_t layer);

/* Batch 1, any layer: subtract a filter's int32 gradients (taps), one unit of which is `unit`, from its weights. */
void fqt_update_at_once(struct fqt_net *net, uint32_t layer, uint32_t filter, const int32_t *gradient, float unit);

/* Rate of the schedule at the present step. */
float fqt_current_rate(const struct fqt_net *net);

#endif
