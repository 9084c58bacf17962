/* A fully connected layer's gradient is an outer product: weight (f,i) gets (e_f - 128)(x_i - z_x), scaled by m * 2^-S. It
 * goes to where it is bound without int32 sums between, and a filter whose scaled products all round to 0 is skipped. */
#ifndef FQT_OUTER_H
#define FQT_OUTER_H

#include "../internal.h"

/* What the products are for. */
enum fqt_outer_use {
    FQT_OUTER_FOLD,
    FQT_OUTER_STEP,
};

#define FQT_OUTER_LEFT 7 /* 255 << 7 fits an int16 */

/* x' = x - z_x of a row, then zeros up to `stored`. */
struct fqt_outer {
    union {
        const int32_t *values; /* FQT_DSP: x' << (32 - S), so that e*m times it has the step in its high word */
        const int16_t *halves; /* FQT_DSP, of FQT_OUTER_FOLD: x' << FQT_OUTER_LEFT instead */
    };
    uint32_t n, stored;
    struct fqt_multiplier by;
};

/* `scratch`, of fqt_scratch_bytes, is read until the last filter. */
struct fqt_outer fqt_outer_of(const struct fqt_geometry *g, const uint8_t *x, int32_t x_zero, struct fqt_multiplier by,
                              enum fqt_outer_use use, void *scratch);

/* The largest magnitude of a filter's scaled products; if it is 0, all are. */
static inline int32_t fqt_outer_bound(const struct fqt_outer *o, int32_t e)
{
    return fqt_scale_rounded((e < 0 ? -e : e) * 255, o->by);
}

#endif
