#include "step.h"

#include "armv6m.h"
#include "simd.h"

#define LOWEST (-128)
#define HIGHEST (256 * 255 + 127)

static bool step_weight(uint8_t *weight, int8_t *residual, int32_t step)
{
    int32_t value = 256 * *weight + *residual - step, kept = fqt_clamp(value, LOWEST, HIGHEST);
    *weight = (uint8_t)((kept + 128) >> 8);
    *residual = (int8_t)(uint8_t)kept;
    return kept != value;
}

#if FQT_DSP

#define SIGNS 0x80808080u

/* Four weights: `even` and `odd` are their steps, of 16 bits. v + 128 - 2^15 is an int16 in which saturation is the clamp,
 * made of the bytes w - 128 and r + 128. 22 instructions; `saturated` becomes other than 0. */
static void step_4(uint32_t *weights, uint32_t *residual, uint32_t even, uint32_t odd, uint32_t *saturated)
{
    const uint32_t high = fqt_in_register(0xFF00FF00u);
    uint32_t w = *weights ^ SIGNS, r = *residual ^ SIGNS;
    uint32_t v_even = fqt_add_even_bytes(w << 8 & high, r), v_odd = fqt_add_odd_bytes(w & high, r);
    uint32_t to_even = fqt_subtract_pairs_saturated(v_even, even), to_odd = fqt_subtract_pairs_saturated(v_odd, odd);
    *saturated = fqt_add_byte_distances(to_even, fqt_subtract_pairs(v_even, even), *saturated);
    *saturated = fqt_add_byte_distances(to_odd, fqt_subtract_pairs(v_odd, odd), *saturated);
    *weights = fqt_add_odd_bytes(to_odd & high, to_even) ^ SIGNS;
    *residual = fqt_add_even_bytes(to_odd << 8 & high, to_even) ^ SIGNS;
}

/* Products of a pair of x' in the high halves of both results. */
static uint32_t products(int32_t factor, uint32_t x)
{
    const int32_t half = 1 << 15;
    return fqt_high_halves((uint32_t)fqt_smlawb(factor, x, half), (uint32_t)fqt_smlawt(factor, x, half));
}

/* S <= 32, so shifts for x' and e are always found; products have 14 bits, and the row ends with some of 0. */
static bool step_outer(uint8_t *weights, int8_t *residual, const struct fqt_outer *o, int32_t e)
{
    uint32_t *w = (uint32_t *)(void *)weights, *r = (uint32_t *)(void *)residual, *end = w + o->stored / 4u;
    uint32_t saturated = 0;
    const uint32_t *x = o->pairs;
    const int32_t factor = e * o->by.m * o->left;
    while (w != end) {
        uint32_t even, odd;
        fqt_two_words(&x, &even, &odd);
        step_4(w++, r++, products(factor, even), products(factor, odd), &saturated);
    }
    return saturated != 0;
}

static uint32_t scaled(uint32_t sum, struct fqt_multiplier by)
{
    return (uint32_t)fqt_scale_rounded((int32_t)sum, by);
}

/* Returns how many weights it did. Steps fit 16 bits. */
static uint32_t step_dsp(uint8_t *weights, int8_t *residual, const int32_t *acc, uint32_t n, struct fqt_multiplier by,
                         uint32_t *saturated)
{
    uint32_t *w = (uint32_t *)(void *)weights, *r = (uint32_t *)(void *)residual, *end = w + n / 4u;
    const uint32_t *sums = (const uint32_t *)(const void *)acc;
    while (w != end) {
        uint32_t sum[4];
        fqt_two_words(&sums, &sum[0], &sum[1]);
        fqt_two_words(&sums, &sum[2], &sum[3]);
        uint32_t even = fqt_low_halves(scaled(sum[0], by), scaled(sum[2], by));
        uint32_t odd = fqt_low_halves(scaled(sum[1], by), scaled(sum[3], by));
        step_4(w++, r++, even, odd, saturated);
    }
    return n & ~3u;
}

#else

static bool step_outer_each(uint8_t *weights, int8_t *residual, const struct fqt_outer *o, int32_t e, uint32_t first)
{
    bool saturated = false;
    for (uint32_t i = first; i < o->n; i++) {
        saturated |= step_weight(weights + i, residual + i, fqt_outer_product(o, e, i));
    }
    return saturated;
}

#if FQT_ARMV6M

/* Weight `at` of a round, of which t is the step. v + 128 is in v; if it leaves 16 bits, the lines at `out` set it to the
 * nearest that doesn't. */
#define STEP(at, out)                                                                                                  \
    "ldrb %[v], [%[w], #" at "]\n\t"                                                                                   \
    "lsls %[v], #8\n\t"                                                                                                \
    "subs %[v], %[v], %[t]\n\t"                                                                                        \
    "ldrb %[t], [%[r], #" at "]\n\t"                                                                                   \
    "eors %[t], %[sign]\n\t"                                                                                           \
    "adds %[v], %[v], %[t]\n\t"                                                                                        \
    "lsrs %[t], %[v], #16\n\t"                                                                                         \
    "bne " out "f\n" out "2:\n\t"                                                                                      \
    "lsrs %[t], %[v], #8\n\t"                                                                                          \
    "strb %[t], [%[w], #" at "]\n\t"                                                                                   \
    "eors %[v], %[sign]\n\t"                                                                                           \
    "strb %[v], [%[r], #" at "]\n\t"

#define CLAMP(out)                                                                                                     \
    out ":\n\t"                                                                                                        \
    "mvns %[v], %[v]\n\t"                                                                                              \
    "asrs %[v], #31\n\t"                                                                                               \
    "lsrs %[v], #16\n\t"                                                                                               \
    "mov %[saturated], %[w]\n\t"                                                                                       \
    "b " out "2b\n"
#define CLAMPS CLAMP("3") CLAMP("4") CLAMP("5") CLAMP("6")

/* t = the step of input `at`. */
#define PRODUCT(at)                                                                                                    \
    "ldrb %[t], [%[x], #" at "]\n\t"                                                                                   \
    "muls %[t], %[a], %[t]\n\t"                                                                                        \
    "add %[t], %[c]\n\t"                                                                                               \
    "asrs %[t], %[shift]\n\t"

/* Rounds of 4 weights, at least one. 69 instructions, 90 cycles a round. Returns other than 0 if one saturated. */
static __attribute__((noinline)) uint32_t step_by_products(uint8_t *w, int8_t *r, const uint8_t *x, const uint8_t *end,
                                                           struct fqt_outer_line line, int32_t shift)
{
    uint32_t t, v, saturated = 0;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t" PRODUCT("0") STEP("0", "3") PRODUCT("1") STEP("1", "4") PRODUCT("2") STEP("2", "5")
                     PRODUCT("3") STEP("3", "6")
                     "adds %[w], #4\n\t"
                     "adds %[r], #4\n\t"
                     "adds %[x], #4\n\t"
                     "cmp %[x], %[end]\n\t"
                     "bne 1b\n\t"
                     "b 2f\n" CLAMPS "2:"
                     : [w] "+l"(w), [r] "+l"(r), [x] "+l"(x), [t] "=&l"(t), [v] "=&l"(v), [saturated] "+h"(saturated)
                     : [a] "l"(line.a), [shift] "l"(shift), [sign] "l"(0x80), [c] "h"(line.c), [end] "h"(end)
                     : "cc", "memory");
    return saturated;
}

/* As above from sums. 88 instructions, 108 cycles a round. */
static __attribute__((noinline)) uint32_t step_by_sums(uint8_t *w, int8_t *r, const int32_t *sums, const uint8_t *end,
                                                       struct fqt_sum_scale scale)
{
    uint32_t t, v, saturated = 0;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t" FQT_SCALED_SUM("%[t]", "%[v]") STEP("0", "3") FQT_SCALED_SUM("%[t]", "%[v]")
                     STEP("1", "4") FQT_SCALED_SUM("%[t]", "%[v]") STEP("2", "5") FQT_SCALED_SUM("%[t]", "%[v]")
                     STEP("3", "6")
                     "adds %[r], #4\n\t"
                     "adds %[w], #4\n\t"
                     "cmp %[w], %[end]\n\t"
                     "bne 1b\n\t"
                     "b 2f\n" CLAMPS "2:"
                     : [w] "+l"(w), [r] "+l"(r), [sums] "+l"(sums), [t] "=&l"(t), [v] "=&l"(v),
                       [saturated] "+h"(saturated)
                     : [m] "l"(scale.m), [shift] "l"(scale.shift), [sign] "l"(0x80), [c] "h"(scale.c), [end] "h"(end)
                     : "cc", "memory");
    return saturated;
}

static bool step_outer(uint8_t *weights, int8_t *residual, const struct fqt_outer *o, int32_t e)
{
    uint32_t rounds = o->n & ~3u, saturated = 0;
    if (rounds != 0) {
        saturated = step_by_products(weights, residual, o->x, o->x + rounds, fqt_outer_line_of(o, e), o->by.shift);
    }
    return step_outer_each(weights, residual, o, e, rounds) || saturated != 0;
}

#else

static bool step_outer(uint8_t *weights, int8_t *residual, const struct fqt_outer *o, int32_t e)
{
    return step_outer_each(weights, residual, o, e, 0);
}

#endif
#endif

bool fqt_step(uint8_t *weights, int8_t *residual, const int32_t *acc, uint32_t n, struct fqt_multiplier by,
              int32_t largest)
{
    uint32_t saturated = 0, i = 0;
#if FQT_DSP
    if (fqt_scale_rounded(largest, by) <= INT16_MAX) {
        i = step_dsp(weights, residual, acc, n, by, &saturated);
    }
#elif FQT_ARMV6M
    if (n >= 4u) {
        i = n & ~3u;
        saturated = step_by_sums(weights, residual, acc, weights + i, fqt_sum_scale_of(by, 0));
    }
#endif
    (void)largest;
    for (; i < n; i++) {
        saturated |= step_weight(weights + i, residual + i, fqt_scale_rounded(acc[i], by)) ? 1u : 0u;
    }
    return saturated != 0;
}

bool fqt_step_outer(uint8_t *weights, int8_t *residual, const struct fqt_outer *o, int32_t e)
{
    return fqt_outer_bound(o, e) != 0 && step_outer(weights, residual, o, e);
}
