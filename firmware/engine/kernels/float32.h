/* Layers in float32. Every sum runs in the order written in docs/arithmetic.md, so that all builds give the same bits. */
#ifndef FQT_FLOAT32_H
#define FQT_FLOAT32_H

#include "../internal.h"

static inline float fqt_float_clamped(float y, uint32_t flags)
{
    if ((flags & IMAGE_FLAG_RELU) != 0) {
        y = y > 0.0f ? y : 0.0f;
    }
    if ((flags & IMAGE_FLAG_RELU6) != 0) {
        y = y < FQT_RELU6_LIMIT ? y : FQT_RELU6_LIMIT;
    }
    return y;
}

/* Whether a folded ReLU or ReLU6 clamped the layer's input. */
static inline bool fqt_float_hidden(uint32_t flags, float x)
{
    return fqt_hides_float(flags, IMAGE_FLAG_MASK_INPUT, IMAGE_FLAG_MASK_INPUT_HIGH, x);
}

/* y(OH,OW,F) = bias + sum w*x, tap by tap, padding left out; clamped as `flags` say. */
void fqt_float_forward(const struct fqt_geometry *g, const float *x, const float *weights, const float *bias, float *y,
                       uint32_t flags);

/* gradient(taps) += e*x, window by window, of one filter; `bias_gradient` += e. */
void fqt_float_gradient(const struct fqt_geometry *g, const float *x, const float *error, uint32_t filter,
                        float *gradient, float *bias_gradient);

/* error_in(H,W,C) = sum w*e, in the order of windows, then filters; zero where x is masked by `flags`. */
void fqt_float_error(const struct fqt_geometry *g, const float *x, const float *error, const float *weights,
                     struct fqt_selection selection, float *error_in, uint32_t flags);

/* importance[f] = the bits of sum over windows of |e|, in window order; error(windows,filters). */
void fqt_float_weigh(const float *error, uint32_t windows, uint32_t filters, uint32_t *importance);

/* Errors of one structure times m. */
void fqt_float_amplify(float *error, uint32_t windows, uint32_t filters, uint32_t filter, float m);

/* maps_float.c: pools, add and fork. */
void fqt_float_forward_map(const struct fqt_net *net, const struct image_layer *layer);
void fqt_float_backward_map(const struct fqt_net *net, const struct image_layer *layer);

#endif
