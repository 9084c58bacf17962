/* Backward pass: errors from the head down, weight and bias gradients on the way. */
#include "internal.h"
#include "kernels/convolution.h"
#include "kernels/float32.h"

/* Fold a sample's gradients into the 12-bit ones of the plane, saturating. */
static void fold(int16_t *plane, const int32_t *acc, uint32_t n, struct fqt_multiplier by)
{
    for (uint32_t i = 0; i < n; i++) {
        int32_t gradient = (plane[i] >> FQT_RESIDUAL_BITS) + fqt_scale_rounded(acc[i], by);
        gradient = fqt_clamp(gradient, -FQT_GRADIENT_LIMIT, FQT_GRADIENT_LIMIT);
        plane[i] = (int16_t)(gradient * FQT_RESIDUAL_ONE + (plane[i] & (FQT_RESIDUAL_ONE - 1)));
    }
}

static void add_as_floats(float *plane, const int32_t *acc, uint32_t n, float unit)
{
    for (uint32_t i = 0; i < n; i++) {
        plane[i] = plane[i] + unit * (float)acc[i];
    }
}

/* What becomes of a filter's int32 gradients: added to the mini-batch, or at batch 1 applied at once. */
static void take_gradient(struct fqt_net *net, uint32_t index, const struct fqt_geometry *g, uint32_t filter,
                          const int32_t *acc, float unit)
{
    const struct image_layer *layer = &net->layers[index];
    uint8_t type = layer->plane != IMAGE_NONE ? net->tensors[layer->plane].dtype : (uint8_t)IMAGE_I8;
    if (type == IMAGE_I8) {
        fqt_update_at_once(net, index, filter, acc, unit);
    } else if (type == IMAGE_F32) {
        float *plane = fqt_tensor_write(net, layer->plane);
        add_as_floats(plane + filter * g->stored, acc, g->taps, unit);
    } else {
        int16_t *plane = fqt_tensor_write(net, layer->plane);
        unit = unit * fqt_power_of_two(-net->layer_state[index].gradient_exponent);
        fold(plane + filter * g->stored, acc, g->taps, fqt_requantize_multiplier(unit));
    }
}

static void accumulate_integer(struct fqt_net *net, uint32_t index, const struct fqt_geometry *g,
                               struct fqt_selection selection)
{
    const struct image_layer *layer = &net->layers[index];
    float error_scale = net->tensor_state[layer->error_out].scale;
    float unit = error_scale * net->tensor_state[layer->in].scale;
    float *bias_gradient = fqt_tensor_write(net, layer->bias_step);
    struct fqt_gradient_job job = {
        .x = fqt_tensor_read(net, layer->in),
        .error = fqt_tensor_read(net, layer->error_out),
        .argmax = g->pool == 2u ? fqt_tensor_read(net, layer->argmax) : NULL,
        .acc = fqt_tensor_write(net, layer->scratch),
        .x_zero = net->tensor_state[layer->in].zero_point,
    };
    for (uint32_t i = 0; i < selection.n; i++) {
        uint32_t f = fqt_selected(&selection, i);
        int32_t sum = (layer->flags & IMAGE_FLAG_TRAINED) != 0 ? fqt_convolution_gradient(g, &job, f)
                                                               : fqt_error_sum(g, job.error, f);
        bias_gradient[f] = bias_gradient[f] + error_scale * (float)sum;
        if ((layer->flags & IMAGE_FLAG_TRAINED) != 0) {
            take_gradient(net, index, g, f, job.acc, unit);
        }
    }
}

static void accumulate_float(const struct fqt_net *net, const struct image_layer *layer, const struct fqt_geometry *g,
                             struct fqt_selection selection)
{
    float *bias_gradient = fqt_tensor_write(net, layer->bias_step);
    float *plane = (layer->flags & IMAGE_FLAG_TRAINED) != 0 ? fqt_tensor_write(net, layer->plane) : NULL;
    for (uint32_t i = 0; i < selection.n; i++) {
        uint32_t f = fqt_selected(&selection, i);
        fqt_float_gradient(g, fqt_tensor_read(net, layer->in), fqt_tensor_read(net, layer->error_out), f,
                           plane != NULL ? plane + f * g->stored : NULL, &bias_gradient[f]);
    }
}

static void propagate_integer(struct fqt_net *net, uint32_t index, const struct fqt_geometry *g,
                              struct fqt_selection selection)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_layer_state *state = &net->layer_state[index];
    struct fqt_tensor_state *in = &net->tensor_state[layer->error_in];
    const struct fqt_tensor_state *out = &net->tensor_state[layer->error_out];
    float weight_scale = net->tensor_state[layer->weights].scale, ratio;
    bool tracking = net->tracking && net->header->error_ranges == IMAGE_ERRORS_TRACKED;
    if (net->header->error_ranges == IMAGE_ERRORS_FIXED) {
        ratio = in->scale / out->scale;
    } else {
        float least = FQT_HEADROOM * weight_scale;
        ratio = state->error_ratio > least ? state->error_ratio : least;
        in->scale = ratio * out->scale;
    }
    struct fqt_error_job job = {
        .x = fqt_tensor_read(net, layer->in),
        .error = fqt_tensor_read(net, layer->error_out),
        .argmax = g->pool == 2u ? fqt_tensor_read(net, layer->argmax) : NULL,
        .weights = fqt_tensor_read(net, layer->weights),
        .error_in = fqt_tensor_write(net, layer->error_in),
        .scratch = fqt_tensor_write(net, layer->scratch),
        .weight_zero = net->tensor_state[layer->weights].zero_point,
        .selection = selection,
        .mask = fqt_mask_of_input(net, layer),
        .by = fqt_requantize_multiplier(weight_scale / ratio),
        .tracking = tracking,
    };
    int32_t largest = fqt_convolution_error(g, &job);
    if (tracking && largest > 0) {
        state->error_ratio = fqt_follow(ratio, (float)largest * weight_scale / 127.0f);
    }
}

/* The error goes down through the old weights before they may change. */
static void backward_weighted(struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_geometry g = fqt_geometry_of(net, layer);
    bool is_float = fqt_is_float(net, layer->weights);
    struct fqt_selection selection = {NULL, g.filters};
    if (fqt_is_trained(layer)) {
        selection = fqt_select(net, index);
    }
    if (layer->error_in != IMAGE_NONE && is_float) {
        fqt_float_error(&g, fqt_tensor_read(net, layer->in), fqt_tensor_read(net, layer->error_out),
                        fqt_tensor_read(net, layer->weights), selection, fqt_tensor_write(net, layer->error_in),
                        layer->flags);
    } else if (layer->error_in != IMAGE_NONE) {
        propagate_integer(net, index, &g, selection);
    }
    if (fqt_is_trained(layer) && is_float) {
        accumulate_float(net, layer, &g, selection);
    } else if (fqt_is_trained(layer)) {
        accumulate_integer(net, index, &g, selection);
    }
}

void fqt_backward(struct fqt_net *net)
{
    for (uint32_t i = net->header->n_layers; i-- > 0;) {
        const struct image_layer *layer = &net->layers[i];
        if (layer->type == IMAGE_SOFTMAX_CROSS_ENTROPY) {
            if (layer->error_in != IMAGE_NONE) {
                fqt_backward_head(net, layer);
            }
        } else if (!fqt_has_weights(layer)) {
            fqt_backward_map(net, i);
        } else if (layer->error_out != IMAGE_NONE) {
            backward_weighted(net, i);
        }
    }
    net->step += 1u;
    net->in_batch += 1u;
}
