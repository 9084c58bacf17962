#include "fold.h"

#include "armv6m.h"
#include "simd.h"


static int16_t folded(int16_t cell, int32_t scaled)
{
    int32_t share = fqt_clamp(scaled, -FQT_GRADIENT_LIMIT - 1, FQT_GRADIENT_LIMIT);
    return (int16_t)fqt_clamp(cell + share * FQT_RESIDUAL_ONE, INT16_MIN, INT16_MAX);
}

static __attribute__((noinline)) void fold_each(int16_t *plane, const int32_t *acc, uint32_t n, struct fqt_multiplier by)
{
    for (uint32_t i = 0; i < n; i++) {
        plane[i] = folded(plane[i], fqt_scale_rounded(acc[i], by));
    }
}

static void fold_outer_each(int16_t *plane, const struct fqt_outer *o, int32_t e, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        plane[i] = folded(plane[i], fqt_outer_product(o, e, i));
    }
}

#if FQT_DSP

#define GRADIENT_BITS 0xFFF0FFF0u
#define FINEST_SHIFT 20 /* m << (36 - S) fits an int32 */

/* 5 instructions; a share of at most 2047 fits its halfword. */
static uint32_t fold_pair_outer(uint32_t cells, int32_t factor, uint32_t x)
{
    const int32_t half = 1 << 19;
    uint32_t shares = fqt_high_halves((uint32_t)fqt_smlawb(factor, x, half), (uint32_t)fqt_smlawt(factor, x, half));
    return fqt_add_pairs_saturated(cells, shares & GRADIENT_BITS);
}

/* Two cells: their x', which is overwritten, is in `x`. */
#define PAIR_OUTER(cells, x)                                                                                           \
    "smlawb %[t], %[factor], " x ", %[half]\n\t"                                                                       \
    "smlawt " x ", %[factor], " x ", %[half]\n\t"                                                                      \
    "pkhtb " x ", " x ", %[t], asr #16\n\t"                                                                            \
    "bic " x ", #0x000F000F\n\t"                                                                                       \
    "qadd16 " cells ", " cells ", " x "\n\t"

/* 8 cells in a round of 26 instructions, 40 cycles on a Cortex-M4: 3.3 and 5 a weight. The compiler's own loop of the
 * same pairs takes 4.7. The row ends with products of 0. */
static void fold_outer_dsp(int16_t *plane, const struct fqt_outer *o, int32_t e)
{
    uint32_t *cells = (uint32_t *)(void *)plane, *end = cells + (o->stored / 2u & ~3u), t;
    const uint32_t *x = o->pairs;
    const int32_t factor = e * o->by.m * o->left, half = 1 << 19;
    if (cells != end) {
        __asm__ volatile("1:\n\t"
                         "ldm %[cells], {r4, r5, r6, r8}\n\t"
                         "ldrd r9, r10, [%[x]], #8\n\t" PAIR_OUTER("r4", "r9") PAIR_OUTER("r5", "r10")
                         "ldrd r9, r10, [%[x]], #8\n\t" PAIR_OUTER("r6", "r9") PAIR_OUTER("r8", "r10")
                         "stm %[cells]!, {r4, r5, r6, r8}\n\t"
                         "cmp %[cells], %[end]\n\t"
                         "bne 1b"
                         : [cells] "+r"(cells), [x] "+r"(x), [t] "=&r"(t)
                         : [end] "r"(end), [factor] "r"(factor), [half] "r"(half)
                         : "r4", "r5", "r6", "r8", "r9", "r10", "cc", "memory");
    }
    if ((o->stored & 4u) != 0) {
        uint32_t second = fold_pair_outer(cells[1], factor, x[1]);
        cells[0] = fold_pair_outer(cells[0], factor, x[0]);
        cells[1] = second;
    }
}

/* A sum in sixteenths of a share, rounded in all but its low 4 bits. 7 instructions a pair. */
static uint32_t fold_pair(uint32_t cells, uint32_t acc0, uint32_t acc1, int32_t factor)
{
    uint32_t low = fqt_saturate_16(fqt_smmla((int32_t)acc0, factor, FQT_RESIDUAL_ONE / 2));
    uint32_t high = fqt_saturate_16(fqt_smmla((int32_t)acc1, factor, FQT_RESIDUAL_ONE / 2));
    return fqt_add_pairs_saturated(cells, fqt_low_halves(low, high) & GRADIENT_BITS);
}

/* Returns how many cells it did. */
static uint32_t fold_dsp(int16_t *plane, const int32_t *acc, uint32_t n, struct fqt_multiplier by)
{
    uint32_t *cells = (uint32_t *)(void *)plane, *end = cells + n / 4u * 2u;
    const uint32_t *sums = (const uint32_t *)(const void *)acc;
    const int32_t factor = by.m * (1 << (36 - by.shift));
    for (; cells != end; cells += 2) {
        uint32_t sum[4], second = cells[1];
        fqt_two_words(&sums, &sum[0], &sum[1]);
        fqt_two_words(&sums, &sum[2], &sum[3]);
        cells[0] = fold_pair(cells[0], sum[0], sum[1], factor);
        cells[1] = fold_pair(second, sum[2], sum[3], factor);
    }
    return n & ~3u;
}

#endif

#if FQT_ARMV6M

/* One cell, in the upper half of `w`, where V tells of its saturation; `at` is its input's place in the round. */
#define CELL(w, at)                                                                                                    \
    "rors " w ", %[half]\n\t"                                                                                          \
    "ldrb %[t], [%[x], #" at "]\n\t"                                                                                   \
    "muls %[t], %[a], %[t]\n\t"                                                                                        \
    "add %[t], %[c]\n\t"                                                                                               \
    "asrs %[t], %[shift]\n\t"                                                                                          \
    "lsls %[t], #20\n\t"                                                                                               \
    "adds " w ", " w ", %[t]\n\t"                                                                                      \
    "bvs 2f\n\t"

/* Rounds of 4 cells, until one saturates: returns how many were done. Shares fit 12 bits. 38 instructions, 50 cycles a
 * round. */
static __attribute__((noinline)) uint32_t fold_rounds(uint32_t *cells, const uint8_t *x, uint32_t rounds,
                                                      struct fqt_outer_line line, int32_t shift)
{
    const uint8_t *const first = x, *const end = x + 4u * rounds;
    uint32_t t;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t"
                     "ldm %[cells]!, {r4, r5}\n\t" CELL("r4", "0") CELL("r4", "1") CELL("r5", "2") CELL("r5", "3")
                     "subs %[cells], #8\n\t"
                     "stm %[cells]!, {r4, r5}\n\t"
                     "adds %[x], #4\n\t"
                     "cmp %[x], %[end]\n\t"
                     "bne 1b\n"
                     "2:"
                     : [cells] "+l"(cells), [x] "+l"(x), [t] "=&l"(t)
                     : [a] "l"(line.a), [shift] "l"(shift), [half] "l"(16), [c] "h"(line.c), [end] "h"(end)
                     : "r4", "r5", "cc", "memory");
    return (uint32_t)(x - first) / 4u;
}

/* 10 instructions a weight. A round in which a cell saturates is done in C, as are all if shares may not fit 12 bits. */
static void fold_outer_armv6m(int16_t *plane, const struct fqt_outer *o, int32_t e, bool fits)
{
    const struct fqt_outer_line line = fqt_outer_line_of(o, e);
    uint32_t i = 0;
    while (i < o->n) {
        uint32_t rounds = fits ? (o->n - i) / 4u : 0u;
        i += rounds != 0 ? 4u * fold_rounds((uint32_t *)(void *)(plane + i), o->x + i, rounds, line, o->by.shift) : 0u;
        uint32_t stopped = !fits || o->n - i < 4u ? o->n : i + 4u;
        fold_outer_each(plane, o, e, i, stopped);
        i = stopped;
    }
}

/* One cell of the word, in its upper half; leaves where its share has more than 12 bits or V tells of its saturation. */
#define CELL_OF_SUM                                                                                                    \
    "rors %[word], %[half]\n\t" FQT_SCALED_SUM("%[t]", "%[u]") "lsrs %[u], %[t], #12\n\t"                              \
    "bne 2f\n\t"                                                                                                       \
    "add %[t], %[less]\n\t"                                                                                            \
    "lsls %[t], #20\n\t"                                                                                               \
    "adds %[word], %[word], %[t]\n\t"                                                                                  \
    "bvs 2f\n\t"
#define WORD_OF_SUMS "ldr %[word], [%[cells]]\n\t" CELL_OF_SUM CELL_OF_SUM "stm %[cells]!, {%[word]}\n\t"

/* Rounds of 4 cells up to `end`, until one doesn't take its share as it is: returns its word. 70 instructions, 82 cycles a
 * round. Shares are found 2048 above their value, where 12 bits are all they may have. */
static __attribute__((noinline)) uint32_t *fold_sums(uint32_t *cells, const uint32_t *end, const int32_t *sums,
                                                     struct fqt_sum_scale scale)
{
    uint32_t t, u, word;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t" WORD_OF_SUMS WORD_OF_SUMS "cmp %[cells], %[end]\n\t"
                     "bne 1b\n"
                     "2:"
                     : [cells] "+l"(cells), [sums] "+l"(sums), [t] "=&l"(t), [u] "=&l"(u), [word] "=&l"(word)
                     : [m] "l"(scale.m), [shift] "l"(scale.shift), [half] "l"(16), [c] "h"(scale.c), [end] "h"(end),
                       [less] "h"(-FQT_GRADIENT_LIMIT - 1)
                     : "cc", "memory");
    return cells;
}

/* 17.6 instructions a weight. Returns how many cells it did. */
static uint32_t fold_armv6m(int16_t *plane, const int32_t *acc, uint32_t n, struct fqt_multiplier by)
{
    const struct fqt_sum_scale scale = fqt_sum_scale_of(by, FQT_GRADIENT_LIMIT + 1);
    uint32_t *const cells = (uint32_t *)(void *)plane;
    uint32_t i = 0;
    while (i + 4u <= n) {
        uint32_t *end = cells + (n - (n - i) % 4u) / 2u, *stopped = fold_sums(cells + i / 2u, end, acc + i, scale);
        i = (uint32_t)(stopped - cells) * 2u;
        if (stopped != end) {
            fold_each(plane + i, acc + i, 2, by);
            i += 2u;
        }
    }
    return i;
}

#endif

void fqt_fold(int16_t *plane, const int32_t *acc, uint32_t n, struct fqt_multiplier by)
{
    uint32_t done = 0;
#if FQT_DSP
    if (by.shift > FINEST_SHIFT) {
        done = fold_dsp(plane, acc, n, by);
    }
#elif FQT_ARMV6M
    done = fold_armv6m(plane, acc, n, by);
#endif
    fold_each(plane + done, acc + done, n - done, by);
}

void fqt_fold_outer(int16_t *plane, const struct fqt_outer *o, int32_t e)
{
    const int32_t largest = fqt_outer_bound(o, e);
    if (largest == 0) {
        return;
    }
#if FQT_ARMV6M
    fold_outer_armv6m(plane, o, e, largest <= FQT_GRADIENT_LIMIT);
#else
#if FQT_DSP
    if (o->pairs != NULL && largest <= FQT_GRADIENT_LIMIT) {
        fold_outer_dsp(plane, o, e);
        return;
    }
#endif
    fold_outer_each(plane, o, e, 0, o->n);
#endif
}
