/* What the engine's own files share. */
#ifndef FQT_INTERNAL_H
#define FQT_INTERNAL_H

#include <stddef.h>

#include "arithmetic.h"
#include "fqt.h"

#define FQT_ACC_MIN_UNSET INT32_MAX
#define FQT_ACC_MAX_UNSET INT32_MIN

/* Shapes of a convolution, as in the reference; a fully connected layer is one with 1x1 maps and a 1x1 kernel.
 * Maps are (H,W,C), weights (F,KH,KW,C) with rows of `stored` >= taps bytes. */
struct fqt_geometry {
    uint32_t h, w, c;
    uint32_t out_h, out_w, filters;
    uint32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;
    uint32_t taps;   /* KH * KW * C */
    uint32_t stored; /* taps rounded up to 4 */
};

struct fqt_bias {
    float *value;     /* (F) */
    float *gradient;  /* (F), summed over the mini-batch */
    int32_t *folded;  /* (F), value in accumulator units */
};

static inline bool fqt_has_weights(const struct image_layer *layer)
{
    return layer->type == IMAGE_CONV2D || layer->type == IMAGE_FULLY_CONNECTED;
}

static inline uint32_t fqt_count(const struct image_tensor *tensor)
{
    return (uint32_t)tensor->h * tensor->w * tensor->c;
}

/* Geometry of a layer that has weights. */
struct fqt_geometry fqt_geometry_of(const struct fqt_net *net, const struct image_layer *layer);

/* Bytes of scratch that the kernels need for a layer of this geometry. */
uint64_t fqt_scratch_bytes(const struct fqt_geometry *g);

/* Where a tensor's bytes lie: in its region, in the image, or in the slot of the sample in progress. */
const uint8_t *fqt_tensor_read(const struct fqt_net *net, uint32_t tensor);

/* As above, for a tensor in a region. */
void *fqt_tensor_write(const struct fqt_net *net, uint32_t tensor);

struct fqt_bias fqt_bias_of(const struct fqt_net *net, const struct image_layer *layer);

/* Derive scales, zero points and integer biases from ranges, from the input to the logits. */
void fqt_settle(struct fqt_net *net);

/* Recompute the integer biases of one layer. */
void fqt_fold_bias(struct fqt_net *net, const struct image_layer *layer);

/* Move `current` towards `observed`: half the distance up, a twentieth down. */
static inline float fqt_follow(float current, float observed)
{
    float distance = observed - current;
    return current + (distance > 0.0f ? 0.5f : 0.05f) * distance;
}

#endif
