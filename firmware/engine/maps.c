/* Layers without weights: pools, add, fork, flatten, conversion to float. Maps are (H,W,C); windows lie side by side. */
#include "internal.h"

#include "kernels/elementwise.h"
#include "kernels/float32.h"

/* y(OH,OW,C): largest of each window. */
static void forward_max_pool(const struct image_layer *layer, const struct image_tensor *in,
                             const struct image_tensor *out, const uint8_t *x, uint8_t *y)
{
    uint32_t c = in->c;
    for (uint32_t oy = 0; oy < out->h; oy++) {
        for (uint32_t ox = 0; ox < out->w; ox++, y += c) {
            memset(y, 0, c);
            for (uint32_t ky = 0; ky < layer->kernel_h; ky++) {
                const uint8_t *row = x + ((oy * layer->kernel_h + ky) * in->w + ox * layer->kernel_w) * c;
                for (uint32_t kx = 0; kx < layer->kernel_w; kx++, row += c) {
                    for (uint32_t i = 0; i < c; i++) {
                        y[i] = row[i] > y[i] ? row[i] : y[i];
                    }
                }
            }
        }
    }
}

/* y(OH,OW,C): mean of each window, halves up. */
static void forward_average_pool(const struct image_layer *layer, const struct image_tensor *in,
                                 const struct image_tensor *out, const uint8_t *x, uint8_t *y)
{
    uint32_t c = in->c, n = (uint32_t)layer->kernel_h * layer->kernel_w;
    for (uint32_t oy = 0; oy < out->h; oy++) {
        for (uint32_t ox = 0; ox < out->w; ox++) {
            const uint8_t *corner = x + (oy * layer->kernel_h * in->w + ox * layer->kernel_w) * c;
            for (uint32_t i = 0; i < c; i++) {
                uint32_t sum = 0;
                for (uint32_t ky = 0; ky < layer->kernel_h; ky++) {
                    for (uint32_t kx = 0; kx < layer->kernel_w; kx++) {
                        sum += corner[(ky * in->w + kx) * c + i];
                    }
                }
                *y++ = (uint8_t)((2u * sum + n) / (2u * n));
            }
        }
    }
}

static void forward_add(struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    const struct fqt_sum sum = {
        .by = fqt_sum_multipliers(net, layer),
        .zero_a = net->tensor_state[layer->in].zero_point,
        .zero_b = net->tensor_state[layer->other].zero_point,
        .zero = net->tensor_state[layer->out].zero_point,
        .bounds = fqt_output_bounds(net, layer),
    };
    bool tracking = net->tracking && (layer->flags & IMAGE_FLAG_TRACKED) != 0;
    fqt_add_maps(fqt_tensor_write(net, layer->out), fqt_tensor_read(net, layer->in), fqt_tensor_read(net, layer->other),
                 fqt_count(&net->tensors[layer->out]), &sum, tracking ? &net->layer_state[index] : NULL);
}

static void dequantize(const struct fqt_net *net, const struct image_layer *layer)
{
    const uint8_t *x = fqt_tensor_read(net, layer->in);
    const struct fqt_tensor_state *state = &net->tensor_state[layer->in];
    float *y = fqt_tensor_write(net, layer->out);
    for (uint32_t i = 0; i < fqt_count(&net->tensors[layer->out]); i++) {
        y[i] = (float)(x[i] - state->zero_point) * state->scale;
    }
}

void fqt_forward_map(struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    if (layer->type == IMAGE_FORK || layer->type == IMAGE_FLATTEN) {
        return; /* the same bytes */
    }
    if (layer->type == IMAGE_DEQUANTIZE) {
        dequantize(net, layer);
    } else if (fqt_is_float(net, layer->out)) {
        fqt_float_forward_map(net, layer);
    } else if (layer->type == IMAGE_ADD) {
        forward_add(net, index);
    } else if (layer->type == IMAGE_MAX_POOL) {
        forward_max_pool(layer, in, out, fqt_tensor_read(net, layer->in), fqt_tensor_write(net, layer->out));
    } else {
        forward_average_pool(layer, in, out, fqt_tensor_read(net, layer->in), fqt_tensor_write(net, layer->out));
    }
}

/* error_in(H,W,C): each error at the first maximum, in row-major order, of its window; elsewhere zero. */
static void backward_max_pool(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    const uint8_t *x = fqt_tensor_read(net, layer->in), *error = fqt_tensor_read(net, layer->error_out);
    uint8_t *error_in = fqt_tensor_write(net, layer->error_in);
    uint32_t c = in->c;
    memset(error_in, FQT_ERROR_ZERO, fqt_count(in));
    for (uint32_t oy = 0; oy < out->h; oy++) {
        for (uint32_t ox = 0; ox < out->w; ox++) {
            uint32_t corner = (oy * layer->kernel_h * in->w + ox * layer->kernel_w) * c;
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

/* error_in(H,W,C): the window's error everywhere, zero where a folded ReLU clamped and outside of all windows. */
static void backward_average_pool(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    const uint8_t *x = fqt_tensor_read(net, layer->in), *error = fqt_tensor_read(net, layer->error_out);
    uint8_t *error_in = fqt_tensor_write(net, layer->error_in);
    struct fqt_mask mask = fqt_mask_of_input(net, layer);
    uint32_t c = in->c;
    memset(error_in, FQT_ERROR_ZERO, fqt_count(in));
    for (uint32_t oy = 0; oy < out->h; oy++) {
        for (uint32_t ox = 0; ox < out->w; ox++, error += c) {
            uint32_t corner = (oy * layer->kernel_h * in->w + ox * layer->kernel_w) * c;
            for (uint32_t ky = 0; ky < layer->kernel_h; ky++) {
                for (uint32_t kx = 0; kx < layer->kernel_w; kx++) {
                    uint32_t at = corner + (ky * in->w + kx) * c;
                    fqt_pass_errors(error_in + at, error, x + at, c, mask);
                }
            }
        }
    }
}

/* An input of an add gets the add's error, zero where a folded ReLU clamped the input. */
static void pass_error(const struct fqt_net *net, const struct image_layer *layer, uint32_t input, uint32_t error_in,
                       struct fqt_mask mask)
{
    if (error_in == IMAGE_NONE) {
        return;
    }
    fqt_pass_errors(fqt_tensor_write(net, error_in), fqt_tensor_read(net, layer->error_out), fqt_tensor_read(net, input),
                    fqt_count(&net->tensors[layer->out]), mask);
    net->tensor_state[error_in].scale = net->tensor_state[layer->error_out].scale;
}

/* error_in = the sum of the errors of an activation's two readers, in a range of its own. */
static void join_errors(struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_layer_state *state = &net->layer_state[index];
    float scale_a = net->tensor_state[layer->error_out].scale, scale_b = net->tensor_state[layer->error_other].scale;
    float ratio = state->error_ratio > FQT_SUM_HEADROOM ? state->error_ratio : FQT_SUM_HEADROOM;
    if (net->header->error_ranges != IMAGE_ERRORS_FIXED) {
        net->tensor_state[layer->error_in].scale = ratio * (scale_a > scale_b ? scale_a : scale_b);
    }
    float scale = net->tensor_state[layer->error_in].scale;
    struct fqt_common_multipliers by = fqt_common_multipliers_of(scale_a / scale, scale_b / scale);
    int32_t largest =
        fqt_join_errors(fqt_tensor_write(net, layer->error_in), fqt_tensor_read(net, layer->error_out),
                        fqt_tensor_read(net, layer->error_other), fqt_tensor_read(net, layer->in),
                        fqt_count(&net->tensors[layer->in]), by, fqt_mask_of_input(net, layer));
    if (net->tracking && net->header->error_ranges == IMAGE_ERRORS_TRACKED && largest > 0) {
        float observed = (float)largest * fqt_power_of_two(-by.shift) * ratio / 127.0f;
        state->error_ratio = fqt_follow(ratio, observed);
    }
}

static void backward_pool(struct fqt_net *net, const struct image_layer *layer)
{
    float scale = net->tensor_state[layer->error_out].scale;
    if (layer->type == IMAGE_MAX_POOL) {
        backward_max_pool(net, layer);
    } else if (layer->type == IMAGE_AVERAGE_POOL) {
        backward_average_pool(net, layer);
        scale = scale / (float)((uint32_t)layer->kernel_h * layer->kernel_w);
    }
    net->tensor_state[layer->error_in].scale = scale;
}

void fqt_backward_map(struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    if (layer->error_in == IMAGE_NONE) {
        return;
    }
    if (layer->type == IMAGE_DEQUANTIZE) {
        fqt_backward_dequantize(net, layer);
    } else if (fqt_is_float(net, layer->error_in)) {
        if (layer->type != IMAGE_FLATTEN) { /* the same bytes */
            fqt_float_backward_map(net, layer);
        }
    } else if (layer->type == IMAGE_FORK) {
        join_errors(net, index);
    } else if (layer->type == IMAGE_ADD) {
        pass_error(net, layer, layer->in, layer->error_in, fqt_mask_of_input(net, layer));
        pass_error(net, layer, layer->other, layer->error_other, fqt_mask_of_other(net, layer));
    } else {
        backward_pool(net, layer);
    }
}
