#include "outer.h"

struct fqt_outer fqt_outer_of(const struct fqt_geometry *g, const uint8_t *x, int32_t x_zero, struct fqt_multiplier by,
                              enum fqt_outer_use use, void *scratch)
{
    const uint32_t n = g->taps, stored = g->stored;
    const uint8_t *const end = x + n;
    if (FQT_DSP && use == FQT_OUTER_FOLD) {
        int16_t *to = (int16_t *)scratch + stored;
        to[-1] = to[-2] = to[-3] = 0; /* what a row has beyond its taps are at most three */
        for (to = scratch; x != end; x++) {
            *to++ = (int16_t)((*x - x_zero) * (1 << FQT_OUTER_LEFT));
        }
    } else {
        const int32_t one = FQT_DSP ? 1 << (32 - by.shift) : 1;
        int32_t *to = (int32_t *)scratch + stored;
        to[-1] = to[-2] = to[-3] = 0;
        for (to = scratch; x != end; x++) {
            *to++ = (*x - x_zero) * one;
        }
    }
    return (struct fqt_outer){{scratch}, n, stored, by};
}
