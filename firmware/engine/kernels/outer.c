#include "outer.h"

#include "simd.h"

#if FQT_DSP

#define X_MOST_LEFT 7   /* 255 << 7 fits an int16 */
#define E_MOST_LEFT 9   /* 128 * 32767 << 9 fits an int32 */

/* Up to three inputs, then the zero point. */
static uint32_t last_bytes(const struct fqt_outer *o, uint32_t first)
{
    uint32_t bytes = (uint32_t)o->x_zero * 0x01010101u;
    for (uint32_t i = o->n; i > first; i--) {
        bytes = bytes << 8 | o->x[i - 1u];
    }
    return bytes;
}

/* SMLAWB keeps the upper 32 of 48 bits: e*m << b times x' = (x - z_x) << a, a + b = 32 + unit_bits - S, has the scaled
 * product times 2^(16 + unit_bits). What is cut off lies below the bit that rounds. */
static void widen(struct fqt_outer *o, enum fqt_outer_use use, uint32_t *pairs)
{
    int32_t shift = (use == FQT_OUTER_FOLD ? 32 + FQT_RESIDUAL_BITS : 32) - o->by.shift;
    if (shift > X_MOST_LEFT + E_MOST_LEFT) {
        return;
    }
    int32_t x_left = shift < X_MOST_LEFT ? shift : X_MOST_LEFT;
    o->pairs = pairs;
    o->left = 1 << (shift - x_left);
    const uint32_t zeros = (uint32_t)(o->x_zero << x_left) * FQT_PAIR_OF_ONES;
    for (uint32_t i = 0; i < o->n; i += 4u, pairs += 2) {
        uint32_t bytes = i + 4u <= o->n ? fqt_word(o->x + i) : last_bytes(o, i);
        uint32_t even = fqt_subtract_pairs(fqt_even_bytes(bytes) << x_left, zeros);
        uint32_t odd = fqt_subtract_pairs(fqt_odd_bytes(bytes) << x_left, zeros);
        pairs[0] = use == FQT_OUTER_FOLD ? fqt_low_halves(even, odd) : even;
        pairs[1] = use == FQT_OUTER_FOLD ? fqt_high_halves(even, odd) : odd;
    }
}

#endif

struct fqt_outer fqt_outer_of(const struct fqt_geometry *g, const uint8_t *x, int32_t x_zero, struct fqt_multiplier by,
                              enum fqt_outer_use use, void *scratch)
{
    struct fqt_outer o = {.x = x, .n = g->taps, .stored = g->stored, .x_zero = x_zero, .by = by};
#if FQT_DSP
    widen(&o, use, scratch);
#else
    (void)use;
    (void)scratch;
#endif
    return o;
}
