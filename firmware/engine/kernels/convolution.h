/* Convolution kernels: forward, weight gradient, error. One contract, several cores: convolution.c is the loop nest,
 * dot.h its inner products in portable C and for the DSP extension.
 *
 * Shapes: x(H,W,C) uint8, w(F,KH,KW,C) uint8 in rows of `stored` bytes, y and e(OH,OW,F) uint8. Accumulators are
 * int32; fqt_load has checked the bound of each sum. A fully connected layer has H = W = OH = OW = KH = KW = 1. */
#ifndef FQT_CONVOLUTION_H
#define FQT_CONVOLUTION_H

#include "../internal.h"

/* y = clamp(out_zero + (acc*m + half) >> S, lowest, 255), acc = bias + sum (w - z_w)(x - z_x); or acc itself. */
struct fqt_forward_job {
    const uint8_t *x;
    const uint8_t *weights;
    const int32_t *bias;            /* (F) */
    int16_t *scratch;               /* two windows of `stored` int16 */
    int32_t x_zero, weight_zero;
    void *out;                      /* uint8, or int32 if out_is_int32 */
    bool out_is_int32;
    struct fqt_multiplier by;
    int32_t out_zero, lowest;
    struct fqt_layer_state *tracked; /* takes the extremes of acc; NULL = not this time */
};

void fqt_convolution_forward(const struct fqt_geometry *g, const struct fqt_forward_job *job);

/* Fold sum (e - 128)(x - z_x) of this sample into the 12-bit gradient of the plane, saturating. */
struct fqt_gradient_job {
    const uint8_t *x;
    const uint8_t *error;
    int16_t *plane;                 /* (F, stored): gradient << 4 | residual */
    int32_t *scratch;               /* (taps) */
    int32_t x_zero;
    struct fqt_multiplier by;
};

/* One filter; returns the sum of its errors. */
int32_t fqt_convolution_gradient(const struct fqt_geometry *g, const struct fqt_gradient_job *job, uint32_t filter);

/* error_in = clamp(128 + (acc*m + half) >> S), acc = sum (w - z_w)(e - 128), zero where x sits at `masked`. */
struct fqt_error_job {
    const uint8_t *x;
    const uint8_t *error;
    const uint8_t *weights;
    uint8_t *error_in;
    int32_t *scratch;               /* (KH, W, C) */
    int32_t weight_zero;
    int32_t masked;                 /* -1 = nothing is masked */
    struct fqt_multiplier by;
    bool tracking;
};

/* Returns the largest |acc| that is not masked, if tracking; else 0. */
int32_t fqt_convolution_error(const struct fqt_geometry *g, const struct fqt_error_job *job);

#endif
