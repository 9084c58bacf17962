/* Backward pass: errors from the head down, weight and bias gradients on the way. */
#include "internal.h"
#include "kernels/convolution.h"

#define HEADROOM 4.0f /* an output quantum is at least 4 accumulator quanta */

/* Head error p - onehot, float32 in the logits' memory, to uint8 with the exact range of this sample. */
static void quantize_head_error(const struct fqt_net *net, const struct image_layer *layer)
{
    const uint32_t *bits = fqt_tensor_write(net, layer->in);
    uint8_t *error = fqt_tensor_write(net, layer->error_in);
    uint32_t n = net->header->n_classes;
    float largest = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        float magnitude = fqt_float_from_bits(bits[i] & 0x7FFFFFFFu);
        largest = magnitude > largest ? magnitude : largest;
    }
    float scale = largest > 0.0f ? largest / 127.0f : 1.0f;
    float smallest = fqt_power_of_two(-100);
    scale = scale < smallest ? smallest : scale;
    net->tensor_state[layer->error_in].scale = scale;
    for (uint32_t i = 0; i < n; i++) {
        int32_t q = fqt_round_to_int(fqt_float_from_bits(bits[i]) / scale);
        error[i] = (uint8_t)fqt_clamp(FQT_ERROR_ZERO + q, 0, 255);
    }
}

static void accumulate_gradient(struct fqt_net *net, uint32_t index, const struct fqt_geometry *g)
{
    const struct image_layer *layer = &net->layers[index];
    float error_scale = net->tensor_state[layer->error_out].scale;
    float unit = error_scale * net->tensor_state[layer->in].scale;
    struct fqt_bias bias = fqt_bias_of(net, layer);
    struct fqt_gradient_job job = {
        .x = fqt_tensor_read(net, layer->in),
        .error = fqt_tensor_read(net, layer->error_out),
        .plane = fqt_tensor_write(net, layer->plane),
        .scratch = fqt_tensor_write(net, layer->scratch),
        .x_zero = net->tensor_state[layer->in].zero_point,
        .by = fqt_requantize_multiplier(unit * fqt_power_of_two(-net->layer_state[index].gradient_exponent)),
    };
    for (uint32_t f = 0; f < g->filters; f++) {
        int32_t sum = fqt_convolution_gradient(g, &job, f);
        bias.gradient[f] = bias.gradient[f] + error_scale * (float)sum;
    }
}

static void propagate_error(struct fqt_net *net, uint32_t index, const struct fqt_geometry *g)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_layer_state *state = &net->layer_state[index];
    float weight_scale = net->tensor_state[layer->weights].scale;
    float ratio = state->error_ratio > HEADROOM * weight_scale ? state->error_ratio : HEADROOM * weight_scale;
    net->tensor_state[layer->error_in].scale = ratio * net->tensor_state[layer->error_out].scale;
    struct fqt_error_job job = {
        .x = fqt_tensor_read(net, layer->in),
        .error = fqt_tensor_read(net, layer->error_out),
        .weights = fqt_tensor_read(net, layer->weights),
        .error_in = fqt_tensor_write(net, layer->error_in),
        .scratch = fqt_tensor_write(net, layer->scratch),
        .weight_zero = net->tensor_state[layer->weights].zero_point,
        .masked = (layer->flags & IMAGE_FLAG_MASK_INPUT) != 0 ? net->tensor_state[layer->in].zero_point : -1,
        .by = fqt_requantize_multiplier(weight_scale / ratio),
        .tracking = net->tracking,
    };
    int32_t largest = fqt_convolution_error(g, &job);
    if (net->tracking && largest > 0) {
        state->error_ratio = fqt_follow(ratio, (float)largest * weight_scale / 127.0f);
    }
}

/* error_in(H,W,C): each error at the first maximum, in row-major order, of its window; elsewhere zero. */
static void backward_max_pool(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    const uint8_t *x = fqt_tensor_read(net, layer->in);
    const uint8_t *error = fqt_tensor_read(net, layer->error_out);
    uint8_t *error_in = fqt_tensor_write(net, layer->error_in);
    uint32_t c = in->c;
    memset(error_in, FQT_ERROR_ZERO, fqt_count(in));
    for (uint32_t oy = 0; oy < out->h; oy++) {
        for (uint32_t ox = 0; ox < out->w; ox++) {
            uint32_t corner = (oy * layer->stride_h * in->w + ox * layer->stride_w) * c;
            for (uint32_t i = 0; i < c; i++, error++) {
                if (*error == FQT_ERROR_ZERO) {
                    continue;
                }
                uint32_t first = corner + i;
                for (uint32_t ky = 0; ky < layer->kernel_h; ky++) {
                    for (uint32_t kx = 0; kx < layer->kernel_w; kx++) {
                        uint32_t at = corner + (ky * in->w + kx) * c + i;
                        first = x[at] > x[first] ? at : first;
                    }
                }
                error_in[first] = *error;
            }
        }
    }
}

/* error_in(H,W,C): the channel's error everywhere, zero where a folded ReLU clamped. */
static void backward_global_average_pool(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in];
    const uint8_t *x = fqt_tensor_read(net, layer->in);
    const uint8_t *error = fqt_tensor_read(net, layer->error_out);
    uint8_t *error_in = fqt_tensor_write(net, layer->error_in);
    int32_t masked = (layer->flags & IMAGE_FLAG_MASK_INPUT) != 0 ? net->tensor_state[layer->in].zero_point : -1;
    uint32_t n = (uint32_t)in->h * in->w;
    for (uint32_t p = 0; p < n; p++) {
        for (uint32_t i = 0; i < in->c; i++) {
            uint32_t at = p * in->c + i;
            error_in[at] = x[at] == masked ? FQT_ERROR_ZERO : error[i];
        }
    }
}

static void backward_reshaping(struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in];
    float scale = net->tensor_state[layer->error_out].scale;
    if (layer->type == IMAGE_MAX_POOL) {
        backward_max_pool(net, layer);
    } else if (layer->type == IMAGE_GLOBAL_AVERAGE_POOL) {
        backward_global_average_pool(net, layer);
        scale = scale / (float)((uint32_t)in->h * in->w);
    }
    net->tensor_state[layer->error_in].scale = scale;
}

void fqt_backward(struct fqt_net *net)
{
    for (uint32_t i = net->header->n_layers; i-- > 0;) {
        const struct image_layer *layer = &net->layers[i];
        if (layer->type == IMAGE_SOFTMAX_CROSS_ENTROPY) {
            quantize_head_error(net, layer);
        } else if (fqt_has_weights(layer)) {
            struct fqt_geometry g = fqt_geometry_of(net, layer);
            if ((layer->flags & IMAGE_FLAG_TRAINED) != 0) {
                accumulate_gradient(net, i, &g);
            }
            if (layer->error_in != IMAGE_NONE) {
                propagate_error(net, i, &g);
            }
        } else if (layer->error_in != IMAGE_NONE) {
            backward_reshaping(net, layer);
        }
    }
    net->step += 1u;
    net->in_batch += 1u;
}
