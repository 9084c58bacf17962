#include "float32.h"

static float clamped(float y, uint32_t flags)
{
    if ((flags & IMAGE_FLAG_RELU) != 0) {
        y = y > 0.0f ? y : 0.0f;
    }
    if ((flags & IMAGE_FLAG_RELU6) != 0) {
        y = y < FQT_RELU6_LIMIT ? y : FQT_RELU6_LIMIT;
    }
    return y;
}

static bool hidden(uint32_t flags, float x)
{
    return fqt_hides_float(flags, IMAGE_FLAG_MASK_INPUT, IMAGE_FLAG_MASK_INPUT_HIGH, x);
}

static float window_sum(const struct fqt_geometry *g, const float *x, const float *weights, uint32_t oy, uint32_t ox,
                        float acc)
{
    uint32_t top = oy * g->stride_h, left = ox * g->stride_w, n = g->group_channels;
    struct fqt_span rows = fqt_clip(top, g->pad_top, g->kernel_h, g->h);
    struct fqt_span columns = fqt_clip(left, g->pad_left, g->kernel_w, g->w);
    for (uint32_t ky = rows.first; ky < rows.end; ky++) {
        for (uint32_t kx = columns.first; kx < columns.end; kx++) {
            const float *values = x + ((top + ky - g->pad_top) * g->w + left + kx - g->pad_left) * g->c;
            const float *row = weights + (ky * g->kernel_w + kx) * n;
            for (uint32_t i = 0; i < n; i++) {
                acc = acc + row[i] * values[i];
            }
        }
    }
    return acc;
}

void fqt_float_forward(const struct fqt_geometry *g, const float *x, const float *weights, const float *bias, float *y,
                       uint32_t flags)
{
    for (uint32_t oy = 0; oy < g->out_h; oy++) {
        for (uint32_t ox = 0; ox < g->out_w; ox++) {
            for (uint32_t f = 0; f < g->filters; f++) {
                const float *channels = x + f / g->group_filters * g->group_channels;
                *y++ = clamped(window_sum(g, channels, weights + f * g->stored, oy, ox, bias[f]), flags);
            }
        }
    }
}

/* gradient += e times the input of a window, or error_in += e times the weights: target and source change places. */
static void add_window(const struct fqt_geometry *g, uint32_t oy, uint32_t ox, float e, const float *x,
                       float *gradient, float *error_in, const float *weights)
{
    uint32_t top = oy * g->stride_h, left = ox * g->stride_w, n = g->group_channels;
    struct fqt_span rows = fqt_clip(top, g->pad_top, g->kernel_h, g->h);
    struct fqt_span columns = fqt_clip(left, g->pad_left, g->kernel_w, g->w);
    for (uint32_t ky = rows.first; ky < rows.end; ky++) {
        for (uint32_t kx = columns.first; kx < columns.end; kx++) {
            uint32_t at = ((top + ky - g->pad_top) * g->w + left + kx - g->pad_left) * g->c;
            uint32_t tap = (ky * g->kernel_w + kx) * n;
            for (uint32_t i = 0; i < n; i++) {
                if (gradient != NULL) {
                    gradient[tap + i] = gradient[tap + i] + e * x[at + i];
                } else {
                    error_in[at + i] = error_in[at + i] + e * weights[tap + i];
                }
            }
        }
    }
}

void fqt_float_gradient(const struct fqt_geometry *g, const float *x, const float *error, uint32_t filter,
                        float *gradient, float *bias_gradient)
{
    const float *channels = x + filter / g->group_filters * g->group_channels;
    error += filter;
    for (uint32_t oy = 0; oy < g->out_h; oy++) {
        for (uint32_t ox = 0; ox < g->out_w; ox++, error += g->filters) {
            if (*error != 0.0f) {
                *bias_gradient = *bias_gradient + *error;
                if (gradient != NULL) {
                    add_window(g, oy, ox, *error, channels, gradient, NULL, NULL);
                }
            }
        }
    }
}

void fqt_float_error(const struct fqt_geometry *g, const float *x, const float *error, const float *weights,
                     struct fqt_selection selection, float *error_in, uint32_t flags)
{
    uint32_t n = g->h * g->w * g->c;
    memset(error_in, 0, n * sizeof *error_in);
    for (uint32_t oy = 0; oy < g->out_h; oy++) {
        for (uint32_t ox = 0; ox < g->out_w; ox++, error += g->filters) {
            for (uint32_t i = 0; i < selection.n; i++) {
                uint32_t f = fqt_selected(&selection, i);
                if (error[f] != 0.0f) {
                    add_window(g, oy, ox, error[f], NULL, NULL,
                               error_in + f / g->group_filters * g->group_channels, weights + f * g->stored);
                }
            }
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        error_in[i] = hidden(flags, x[i]) ? 0.0f : error_in[i];
    }
}

void fqt_float_weigh(const float *error, uint32_t windows, uint32_t filters, uint32_t *importance)
{
    for (uint32_t f = 0; f < filters; f++) {
        float sum = 0.0f;
        for (uint32_t p = f; p < windows * filters; p += filters) {
            sum = sum + (error[p] < 0.0f ? -error[p] : error[p]);
        }
        importance[f] = fqt_float_bits(sum);
    }
}

void fqt_float_amplify(float *error, uint32_t windows, uint32_t filters, uint32_t filter, float m)
{
    for (uint32_t p = filter; p < windows * filters; p += filters) {
        error[p] = error[p] * m;
    }
}

/* --- layers without weights --------------------------------------------------------------------------- */

static float largest_of(const float *corner, const struct image_layer *layer, const struct image_tensor *in)
{
    float largest = *corner;
    for (uint32_t ky = 0; ky < layer->kernel_h; ky++) {
        for (uint32_t kx = 0; kx < layer->kernel_w; kx++) {
            float x = corner[(ky * in->w + kx) * in->c];
            largest = x > largest ? x : largest;
        }
    }
    return largest;
}

static float mean_of(const float *corner, const struct image_layer *layer, const struct image_tensor *in)
{
    float sum = 0.0f;
    for (uint32_t ky = 0; ky < layer->kernel_h; ky++) {
        for (uint32_t kx = 0; kx < layer->kernel_w; kx++) {
            sum = sum + corner[(ky * in->w + kx) * in->c];
        }
    }
    return sum / (float)((uint32_t)layer->kernel_h * layer->kernel_w);
}

void fqt_float_forward_map(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    const float *x = fqt_tensor_read(net, layer->in);
    float *y = fqt_tensor_write(net, layer->out);
    if (layer->type == IMAGE_ADD) {
        const float *other = fqt_tensor_read(net, layer->other);
        for (uint32_t i = 0; i < fqt_count(out); i++) {
            y[i] = clamped(x[i] + other[i], layer->flags);
        }
        return;
    }
    for (uint32_t oy = 0; oy < out->h; oy++) {
        for (uint32_t ox = 0; ox < out->w; ox++) {
            const float *corner = x + (oy * layer->kernel_h * in->w + ox * layer->kernel_w) * in->c;
            for (uint32_t i = 0; i < in->c; i++, corner++) {
                *y++ = layer->type == IMAGE_MAX_POOL ? largest_of(corner, layer, in) : mean_of(corner, layer, in);
            }
        }
    }
}

/* Give a window its error: a max pool at its first maximum, an average pool in equal shares. */
static void spread(const struct image_layer *layer, const struct image_tensor *in, const float *x, float error,
                   float *error_in)
{
    float share = error / (float)((uint32_t)layer->kernel_h * layer->kernel_w);
    uint32_t first = 0;
    for (uint32_t ky = 0; ky < layer->kernel_h; ky++) {
        for (uint32_t kx = 0; kx < layer->kernel_w; kx++) {
            uint32_t at = (ky * in->w + kx) * in->c;
            if (layer->type == IMAGE_AVERAGE_POOL) {
                error_in[at] = hidden(layer->flags, x[at]) ? 0.0f : share;
            }
            first = x[at] > x[first] ? at : first;
        }
    }
    if (layer->type == IMAGE_MAX_POOL) {
        error_in[first] = error;
    }
}

static void backward_pool(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    const float *x = fqt_tensor_read(net, layer->in), *error = fqt_tensor_read(net, layer->error_out);
    float *error_in = fqt_tensor_write(net, layer->error_in);
    memset(error_in, 0, fqt_count(in) * sizeof *error_in);
    for (uint32_t oy = 0; oy < out->h; oy++) {
        for (uint32_t ox = 0; ox < out->w; ox++) {
            uint32_t corner = (oy * layer->kernel_h * in->w + ox * layer->kernel_w) * in->c;
            for (uint32_t i = 0; i < in->c; i++, corner++) {
                spread(layer, in, x + corner, *error++, error_in + corner);
            }
        }
    }
}

/* An input of an add gets the add's error, zero where it was clamped. */
static void pass_error(const struct fqt_net *net, const struct image_layer *layer, uint32_t input, uint32_t error_in,
                       uint32_t low, uint32_t high)
{
    if (error_in == IMAGE_NONE) {
        return;
    }
    const float *x = fqt_tensor_read(net, input), *error = fqt_tensor_read(net, layer->error_out);
    float *passed = fqt_tensor_write(net, error_in);
    for (uint32_t i = 0; i < fqt_count(&net->tensors[layer->out]); i++) {
        passed[i] = fqt_hides_float(layer->flags, low, high, x[i]) ? 0.0f : error[i];
    }
}

void fqt_float_backward_map(const struct fqt_net *net, const struct image_layer *layer)
{
    if (layer->type == IMAGE_ADD) {
        pass_error(net, layer, layer->in, layer->error_in, IMAGE_FLAG_MASK_INPUT, IMAGE_FLAG_MASK_INPUT_HIGH);
        pass_error(net, layer, layer->other, layer->error_other, IMAGE_FLAG_MASK_OTHER, IMAGE_FLAG_MASK_OTHER_HIGH);
    } else if (layer->type == IMAGE_FORK) {
        const float *a = fqt_tensor_read(net, layer->error_out), *b = fqt_tensor_read(net, layer->error_other);
        const float *x = fqt_tensor_read(net, layer->in);
        float *error_in = fqt_tensor_write(net, layer->error_in);
        for (uint32_t i = 0; i < fqt_count(&net->tensors[layer->in]); i++) {
            error_in[i] = hidden(layer->flags, x[i]) ? 0.0f : a[i] + b[i];
        }
    } else {
        backward_pool(net, layer);
    }
}
