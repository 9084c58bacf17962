#include "cells.h"

#include "simd.h"

#define LOWEST (-8)
#define HIGHEST (16 * 255 + 7)

/* Add at most 512 cells, whose squares fit 32 bits: 512 * 2048^2 = 2^31. */
static void add_cells(struct fqt_row_sums *sums, const int16_t *cells, uint32_t n)
{
    int32_t total = 0, largest = sums->largest;
    uint32_t squares = 0;
    for (uint32_t i = 0; i < n; i++) {
        int32_t g = cells[i] >> FQT_RESIDUAL_BITS, magnitude = g < 0 ? -g : g;
        total += g;
        squares += (uint32_t)(magnitude * magnitude);
        largest = magnitude > largest ? magnitude : largest;
    }
    sums->total += total;
    sums->squares += squares;
    sums->largest = largest;
}

/* 16 w + r */
static int32_t value_of(uint8_t weight, int16_t cell)
{
    const int32_t half = FQT_RESIDUAL_ONE / 2;
    return FQT_RESIDUAL_ONE * weight + ((cell & (FQT_RESIDUAL_ONE - 1)) ^ half) - half;
}

static bool set_value(uint8_t *weight, int16_t *cell, int32_t value)
{
    int32_t kept = fqt_clamp(value, LOWEST, HIGHEST);
    *weight = (uint8_t)((kept + FQT_RESIDUAL_ONE / 2) >> FQT_RESIDUAL_BITS);
    *cell = (int16_t)(kept & (FQT_RESIDUAL_ONE - 1));
    return kept != value;
}

static bool step_cell(uint8_t *weight, int16_t *cell, const struct fqt_row_step *step)
{
    int32_t less = ((*cell >> FQT_RESIDUAL_BITS) * step->by.m + step->offset) >> step->by.shift;
    return set_value(weight, cell, value_of(*weight, *cell) - less);
}

void fqt_shrink_cells(uint8_t *weights, int16_t *cells, uint32_t n, int32_t zero, int32_t factor_q15)
{
    int32_t offset = FQT_RESIDUAL_ONE * zero * ((1 << 15) - factor_q15) + (1 << 14);
    for (uint32_t i = 0; i < n; i++) {
        set_value(weights + i, cells + i, (value_of(weights[i], cells[i]) * factor_q15 + offset) >> 15);
    }
}

#if FQT_DSP

#define GRADIENT_BITS 0xFFF0FFF0u
#define RESIDUAL_BITS 0x000F000Fu
#define HALVES 0x00080008u
#define LARGEST_STEP 28000 /* v less it fits 16 bits */

/* All of it in sixteenths, which 16 g are. Returns how many cells were done. */
static uint32_t sum_dsp(struct fqt_row_sums *sums, const int16_t *cells, uint32_t n)
{
    const uint32_t *pairs = (const uint32_t *)(const void *)cells, *end = pairs + n / 2u;
    uint32_t highest = 0, lowest = 0;
    int32_t total = 0;
    int64_t squares = 0;
    for (; pairs != end; pairs++) {
        uint32_t g = *pairs & GRADIENT_BITS;
        total = fqt_smlad(g, FQT_PAIR_OF_ONES, total);
        squares = fqt_smlald(g, g, squares);
        highest = fqt_larger_pairs(highest, g);
        lowest = fqt_smaller_pairs(lowest, g);
    }
    lowest = fqt_subtract_pairs_saturated(0, lowest); /* -32768 becomes 32767 */
    highest = fqt_larger_pairs(highest, lowest);
    int32_t low = (int16_t)highest, high = (int32_t)highest >> 16, largest = low > high ? low : high;
    sums->total = total >> FQT_RESIDUAL_BITS;
    sums->squares = squares >> (2 * FQT_RESIDUAL_BITS);
    sums->largest = (largest + 1) >> FQT_RESIDUAL_BITS; /* 2048 again, of 32767; others end in 4 zeros */
    return n & ~1u;
}

/* Two values v + 8, of 12 bits, less their steps; `cells` become residuals, `saturated` other than 0. */
static uint32_t step_pair(uint32_t *cells, uint32_t weights, int32_t factor, const struct fqt_row_step *step,
                          uint32_t *saturated)
{
    uint32_t g = *cells & GRADIENT_BITS;
    uint32_t steps = fqt_low_halves((uint32_t)(fqt_smlawb(factor, g, step->offset) >> step->by.shift),
                                    (uint32_t)(fqt_smlawt(factor, g, step->offset) >> step->by.shift));
    uint32_t v = ((*cells ^ HALVES) & RESIDUAL_BITS) | weights << FQT_RESIDUAL_BITS;
    uint32_t stepped = fqt_subtract_pairs(v, steps), kept = fqt_saturate_pairs_12(stepped);
    *saturated = fqt_add_byte_distances(kept, stepped, *saturated);
    *cells = (kept ^ HALVES) & RESIDUAL_BITS;
    return kept;
}

/* 11.5 instructions a weight. */
static bool step_dsp(uint8_t *weights, int16_t *cells, uint32_t n, const struct fqt_row_step *step)
{
    uint32_t *w = (uint32_t *)(void *)weights, *c = (uint32_t *)(void *)cells, *end = w + n / 4u;
    const struct fqt_row_step row = *step;
    const int32_t factor = row.by.m << 12; /* 16g * factor >> 16 = g*m */
    uint32_t saturated = 0;
    const uint32_t even_bytes = fqt_in_register(0x00FF00FFu), odd_bytes = fqt_in_register(0xFF00FF00u);
    for (; w != end; w++, c += 2) {
        uint32_t even = fqt_low_halves(c[0], c[1]), odd = fqt_high_halves(c[0], c[1]);
        uint32_t v_even = step_pair(&even, fqt_even_bytes(*w), factor, &row, &saturated);
        uint32_t v_odd = step_pair(&odd, fqt_odd_bytes(*w), factor, &row, &saturated);
        *w = (v_even >> FQT_RESIDUAL_BITS & even_bytes) | (v_odd << FQT_RESIDUAL_BITS & odd_bytes);
        c[0] = fqt_low_halves(even, odd);
        c[1] = fqt_high_halves(even, odd);
    }
    return saturated != 0;
}

#endif

#if FQT_ARMV6M

/* Weight `at`, whose cell is at `twice`. v + 8 is in v; if it leaves 12 bits, the lines at `out` set it to the nearest. */
#define WEIGHT(at, twice, out)                                                                                         \
    "ldrh %[v], [%[cells], #" twice "]\n\t"                                                                            \
    "sxth %[t], %[v]\n\t"                                                                                              \
    "asrs %[t], #4\n\t"                                                                                                \
    "muls %[t], %[m], %[t]\n\t"                                                                                        \
    "add %[t], %[offset]\n\t"                                                                                          \
    "asrs %[t], %[shift]\n\t"                                                                                          \
    "ands %[v], %[bits]\n\t"                                                                                           \
    "eors %[v], %[half]\n\t"                                                                                           \
    "subs %[v], %[v], %[t]\n\t"                                                                                        \
    "ldrb %[t], [%[w], #" at "]\n\t"                                                                                   \
    "lsls %[t], #4\n\t"                                                                                                \
    "adds %[v], %[v], %[t]\n\t"                                                                                        \
    "lsrs %[t], %[v], #12\n\t"                                                                                         \
    "bne " out "f\n" out "2:\n\t"                                                                                      \
    "lsrs %[t], %[v], #4\n\t"                                                                                          \
    "strb %[t], [%[w], #" at "]\n\t"                                                                                   \
    "ands %[v], %[bits]\n\t"                                                                                           \
    "eors %[v], %[half]\n\t"                                                                                           \
    "strh %[v], [%[cells], #" twice "]\n\t"

#define CLAMP(out)                                                                                                     \
    out ":\n\t"                                                                                                        \
    "mvns %[v], %[v]\n\t"                                                                                              \
    "asrs %[v], #31\n\t"                                                                                               \
    "lsrs %[v], #20\n\t"                                                                                               \
    "mov %[saturated], %[w]\n\t"                                                                                       \
    "b " out "2b\n"

/* Rounds of 4 weights, at least one. 80 instructions, 101 cycles a round. Returns other than 0 if one saturated. */
static __attribute__((noinline)) uint32_t step_rounds(uint8_t *w, int16_t *cells, const uint8_t *end,
                                                      const struct fqt_row_step *step)
{
    uint32_t t, v, saturated = 0;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t" WEIGHT("0", "0", "3") WEIGHT("1", "2", "4") WEIGHT("2", "4", "5") WEIGHT("3", "6", "6")
                     "adds %[cells], #8\n\t"
                     "adds %[w], #4\n\t"
                     "cmp %[w], %[end]\n\t"
                     "bne 1b\n\t"
                     "b 2f\n" CLAMP("3") CLAMP("4") CLAMP("5") CLAMP("6") "2:"
                     : [w] "+l"(w), [cells] "+l"(cells), [t] "=&l"(t), [v] "=&l"(v), [saturated] "+h"(saturated)
                     : [m] "l"(step->by.m), [shift] "l"(step->by.shift), [bits] "l"(15), [half] "l"(8),
                       [offset] "h"(step->offset), [end] "h"(end)
                     : "cc", "memory");
    return saturated;
}

#endif

struct fqt_row_sums fqt_sum_cells(const int16_t *cells, uint32_t n)
{
    struct fqt_row_sums sums = {0, 0, 0};
    uint32_t i = 0;
#if FQT_DSP
    i = sum_dsp(&sums, cells, n);
#endif
    for (; i < n; i += 512u) {
        add_cells(&sums, cells + i, n - i < 512u ? n - i : 512u);
    }
    return sums;
}

bool fqt_step_cells(uint8_t *weights, int16_t *cells, uint32_t n, const struct fqt_row_step *step)
{
    bool saturated = false;
    uint32_t i = 0;
#if FQT_DSP
    int32_t most = step->largest * step->by.m + (step->offset < 0 ? -step->offset : step->offset);
    if (most >> step->by.shift < LARGEST_STEP) {
        saturated = step_dsp(weights, cells, n, step);
        i = n & ~3u;
    }
#elif FQT_ARMV6M
    if (n >= 4u) {
        i = n & ~3u;
        saturated = step_rounds(weights, cells, weights + i, step) != 0;
    }
#endif
    for (; i < n; i++) {
        saturated |= step_cell(weights + i, cells + i, step);
    }
    return saturated;
}
