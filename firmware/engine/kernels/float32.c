/* Layers with weights in float32, as plain loops: float_fpu.c repeats them bit for bit. And the importance of filters. */
#include "float32.h"

#if !FQT_FPU

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
                *y++ = fqt_float_clamped(window_sum(g, channels, weights + f * g->stored, oy, ox, bias[f]), flags);
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
        error_in[i] = fqt_float_hidden(flags, x[i]) ? 0.0f : error_in[i];
    }
}

#endif

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
