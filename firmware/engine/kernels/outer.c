#include "outer.h"

struct fqt_outer fqt_outer_of(const struct fqt_geometry *g, const uint8_t *x, int32_t x_zero, struct fqt_multiplier by,
                              enum fqt_outer_use use, void *scratch)
{
    const bool halves = FQT_DSP && use == FQT_OUTER_FOLD;
    const int32_t one = FQT_DSP ? 1 << (halves ? FQT_OUTER_LEFT : 32 - by.shift) : 1;
    const uint32_t n = g->taps, stored = g->stored;
    int32_t *values = (int32_t *)scratch + stored;
    values[-1] = values[-2] = values[-3] = 0; /* what a row has beyond its taps are at most three */
    values = scratch;
    for (const uint8_t *end = x + n; x != end; x++) {
        *values++ = (*x - x_zero) * one;
    }
    if (halves) {
        values = scratch;
        for (int16_t *to = scratch, *end = to + stored; to != end;) {
            *to++ = (int16_t)*values++;
        }
    }
    return (struct fqt_outer){{scratch}, n, stored, by};
}
