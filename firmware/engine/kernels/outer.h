/* A fully connected layer's gradient is an outer product: weight (f,i) gets (e_f - 128)(x_i - z_x), scaled by m * 2^-S. It
 * goes to where it is bound without int32 sums between, and a filter whose scaled products all round to 0 is skipped. */
#ifndef FQT_OUTER_H
#define FQT_OUTER_H

#include "../internal.h"

struct fqt_outer {
    const uint8_t *x; /* (n) */
    uint32_t n, stored;
    int32_t x_zero;
    struct fqt_multiplier by;
#if FQT_DSP
    const uint32_t *pairs; /* (stored) int16: x' = (x - z_x) << some, then zeros; NULL: no shift of both factors fits */
    int32_t left;          /* what e * m is multiplied by, so that a product's high 32 bits have the unit wanted */
#endif
};

/* What the products are for. */
enum fqt_outer_use {
    FQT_OUTER_FOLD, /* in sixteenths, as cells of the plane have them; x' in their order */
    FQT_OUTER_STEP, /* in ones; of four x' those of even place first, as bytes come apart */
};

/* `scratch`, of fqt_scratch_bytes, is read until the last filter. */
struct fqt_outer fqt_outer_of(const struct fqt_geometry *g, const uint8_t *x, int32_t x_zero, struct fqt_multiplier by,
                              enum fqt_outer_use use, void *scratch);

/* The largest magnitude of a filter's scaled products; if it is 0, all are. */
static inline int32_t fqt_outer_bound(const struct fqt_outer *o, int32_t e)
{
    return fqt_scale_rounded((e < 0 ? -e : e) * 255, o->by);
}

/* A filter's scaled products as (a x + c) >> S: |a x + c| < 2^31, for |e (x - z_x)| <= 32640 and m < 2^15. Only where the
 * bound is not 0, so that S <= 30. */
struct fqt_outer_line {
    int32_t a, c;
};

static inline struct fqt_outer_line fqt_outer_line_of(const struct fqt_outer *o, int32_t e)
{
    int32_t a = e * o->by.m;
    return (struct fqt_outer_line){a, (1 << (o->by.shift - 1)) - a * o->x_zero};
}

static inline int32_t fqt_outer_product(const struct fqt_outer *o, int32_t e, uint32_t i)
{
    return fqt_scale_rounded(e * (o->x[i] - o->x_zero), o->by);
}

#endif
