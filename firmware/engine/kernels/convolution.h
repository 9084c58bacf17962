/* Convolution kernels in uint8: forward, weight gradient, error. One contract, several cores: convolution.c is the loop
 * nest, rows.h its inner products in portable C and in variants.
 *
 * Shapes: x(H,W,C), w(F,KH,KW,C/groups) in rows of `stored` bytes, y and e(OH,OW,F), behind a fused 2x2 max pool
 * (OH/2,OW/2,F) with the place of each maximum in `argmax`. Accumulators are int32; fqt_load has checked the bound of
 * each sum. A fully connected layer has H = W = OH = OW = KH = KW = 1. */
#ifndef FQT_CONVOLUTION_H
#define FQT_CONVOLUTION_H

#include "../internal.h"

/* y = clamp(out_zero + (acc*m + half) >> S, lowest, highest), acc = bias + sum (w - z_w)(x - z_x); or acc itself. */
struct fqt_forward_job {
    const uint8_t *x;
    const uint8_t *weights;
    const int32_t *bias;            /* (F) */
    void *scratch;                  /* aligned to 4 */
    uint32_t scratch_bytes;         /* at least fqt_scratch_bytes; the more, the more filters are widened at once */
    int32_t x_zero, weight_zero;
    void *out;                      /* uint8, or int32 if out_is_int32; may be x, see below */
    uint8_t *argmax;                /* 2 bits an output; NULL = no pool */
    bool out_is_int32;
    struct fqt_multiplier by;
    int32_t out_zero, lowest, highest;
    struct fqt_layer_state *tracked; /* takes the extremes of acc; NULL = not this time */
};

/* Where a group is one channel and one filter, more than 1x1, of stride 1, whose y has the shape of x: y may take the place
 * of x. A channel's row is read before it is written. */
void fqt_convolution_forward(const struct fqt_geometry *g, const struct fqt_forward_job *job);

/* acc(taps) = sum (e - 128)(x - z_x) of one filter; returns the sum of its errors. */
struct fqt_gradient_job {
    const uint8_t *x;
    const uint8_t *error;
    const uint8_t *argmax;
    int32_t *acc;                   /* (taps) */
    void *list;                     /* memory for windows whose error is not zero; unused on 1x1 maps */
    uint32_t list_bytes;            /* at least FQT_LIST_BYTES; the more, the fewer passes over acc */
    int32_t x_zero;
};

#define FQT_LIST_BYTES 84u /* six pairs of windows, on a core whose pointers have 32 bits */

int32_t fqt_convolution_gradient(const struct fqt_geometry *g, const struct fqt_gradient_job *job, uint32_t filter);

/* Sum of (e - 128) of one filter. */
int32_t fqt_error_sum(const struct fqt_geometry *g, const uint8_t *error, uint32_t filter);

/* error_in = clamp(128 + (acc*m + half) >> S), acc = sum (w - z_w)(e - 128), zero where x is masked. */
struct fqt_error_job {
    const uint8_t *x;
    const uint8_t *error;
    const uint8_t *argmax;
    const uint8_t *weights;
    uint8_t *error_in;
    int32_t *scratch;               /* rows of (W, C): KH, with a fused pool stride_h more */
    int32_t weight_zero;
    struct fqt_selection selection;
    struct fqt_mask mask;
    struct fqt_multiplier by;
    bool tracking;
};

/* Returns the largest |acc| that is not masked, if tracking; else 0. */
int32_t fqt_convolution_error(const struct fqt_geometry *g, const struct fqt_error_job *job);

/* Place of the maximum in its 2x2 window, row << 1 | column, of pooled output i. */
static inline uint32_t fqt_place(const uint8_t *argmax, uint32_t i)
{
    return (uint32_t)argmax[i >> 2] >> (2u * (i & 3u)) & 3u;
}

#endif
