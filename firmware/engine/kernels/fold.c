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
        int32_t product = e * (FQT_DSP ? o->halves[i] >> FQT_OUTER_LEFT : o->values[i]);
        fold_each(plane + i, &product, 1, o->by);
    }
}

#if FQT_DSP

#define FINEST_SHIFT 20    /* m << (36 - S) fits an int32 */
#define COARSEST_SHIFT 29  /* e*m << (29 - S) times x' << 7 is the product in sixteenths, times 2^16 */
#define LARGEST_SHARE 1019 /* of products with |x'| = 255: then e*m << (29 - S) fits an int32 */

/* What SMLAWB cuts off lies below the bit that rounds. Products of a pair of x' in `x`, the lower one in t. */
#define PRODUCTS(x)                                                                                                    \
    "smlawb %[t], %[factor], " x ", %[half]\n\t"                                                                       \
    "smlawt " x ", %[factor], " x ", %[half]\n\t"

/* Two cells, of whose products one is in t; the M7 issues the next pair's beside them. */
#define PAIR_OUTER(cells, x, next)                                                                                     \
    "pkhtb " x ", " x ", %[t], asr #16\n\t"                                                                            \
    "smlawb %[t], %[factor], " next ", %[half]\n\t"                                                                    \
    "bic " x ", #0x000F000F\n\t"                                                                                       \
    "smlawt " next ", %[factor], " next ", %[half]\n\t"                                                                \
    "qadd16 " cells ", " cells ", " x "\n\t"

/* Rounds of 8 cells up to `end`, at least one: 25 instructions, 39 cycles on a Cortex-M4 a round. */
static __attribute__((noinline)) void fold_rounds(int16_t *plane, const int16_t *end, const int16_t *halves, int32_t factor)
{
    int32_t t;
    __asm__ volatile("1:\n\t"
                     "ldm %[halves]!, {r0, r1, r2, r3}\n\t" PRODUCTS("r0") "ldm %[cells], {r4, r5, r6, r8}\n\t"
                     PAIR_OUTER("r4", "r0", "r1") PAIR_OUTER("r5", "r1", "r2") PAIR_OUTER("r6", "r2", "r3")
                     "pkhtb r3, r3, %[t], asr #16\n\t"
                     "bic r3, #0x000F000F\n\t"
                     "qadd16 r8, r8, r3\n\t"
                     "stm %[cells]!, {r4, r5, r6, r8}\n\t"
                     "cmp %[cells], %[end]\n\t"
                     "bne 1b"
                     : [cells] "+r"(plane), [halves] "+r"(halves), [t] "=&r"(t)
                     : [end] "r"(end), [factor] "r"(factor), [half] "r"(1 << 19)
                     : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "cc", "memory");
}

/* 3.1 instructions, 4.9 cycles on a Cortex-M4 a weight; shares that are large and an odd 4 cells go one by one. */
static void fold_outer_dsp(int16_t *plane, const struct fqt_outer *o, int32_t e, int32_t largest)
{
    int32_t left = COARSEST_SHIFT - o->by.shift;
    uint32_t n = largest <= LARGEST_SHARE && left >= 0 ? o->stored & ~7u : 0u;
    if (n != 0) {
        fold_rounds(plane, plane + n, o->halves, e * o->by.m * (1 << left));
    }
    fold_outer_each(plane, o, e, n, o->n);
}

/* Returns how many cells it did, by rounds of 4: shares in sixteenths, rounded in all but the low 4 bits. 19 instructions,
 * 29 cycles on a Cortex-M4 a round. */
static uint32_t fold_dsp(int16_t *plane, const int32_t *acc, uint32_t n, struct fqt_multiplier by)
{
    n &= ~3u;
    if (n != 0) {
        __asm__ volatile("1:\n\t"
                         "ldrd r4, r5, [%[cells]]\n\t"
                         "ldm %[sums]!, {r0, r1, r2, r3}\n\t"
                         "smmla r0, r0, %[factor], %[half]\n\t"
                         "smmla r1, r1, %[factor], %[half]\n\t"
                         "smmla r2, r2, %[factor], %[half]\n\t"
                         "ssat r0, #16, r0\n\t"
                         "smmla r3, r3, %[factor], %[half]\n\t"
                         "ssat r1, #16, r1\n\t"
                         "ssat r2, #16, r2\n\t"
                         "ssat r3, #16, r3\n\t"
                         "pkhbt r0, r0, r1, lsl #16\n\t"
                         "pkhbt r2, r2, r3, lsl #16\n\t"
                         "bic r0, #0x000F000F\n\t"
                         "bic r2, #0x000F000F\n\t"
                         "qadd16 r4, r4, r0\n\t"
                         "qadd16 r5, r5, r2\n\t"
                         "strd r4, r5, [%[cells]], #8\n\t"
                         "cmp %[cells], %[end]\n\t"
                         "bne 1b"
                         : [cells] "+r"(plane), [sums] "+r"(acc)
                         : [end] "r"(plane + n), [factor] "r"(by.m * (1 << (36 - by.shift))),
                           [half] "r"(FQT_RESIDUAL_ONE / 2)
                         : "r0", "r1", "r2", "r3", "r4", "r5", "cc", "memory");
    }
    return n;
}

#endif

#if FQT_ARMV6M

/* One cell of the word, in its upper half; leaves where V tells of its saturation. */
#define CELL_OF_VALUE(t)                                                                                               \
    "rors %[word], %[half]\n\t"                                                                                        \
    "muls " t ", %[a], " t "\n\t"                                                                                      \
    "add " t ", %[c]\n\t"                                                                                              \
    "asrs " t ", %[shift]\n\t"                                                                                         \
    "lsls " t ", #20\n\t"                                                                                              \
    "adds %[word], %[word], " t "\n\t"                                                                                 \
    "bvs 2f\n\t"
#define WORD_OF_VALUES                                                                                                 \
    "ldr %[word], [%[cells]]\n\t"                                                                                      \
    "ldm %[values]!, {r4, r5}\n\t" CELL_OF_VALUE("r4") CELL_OF_VALUE("r5") "stm %[cells]!, {%[word]}\n\t"

/* Rounds of 4 cells up to `end`, until one saturates: returns its word. Shares (a*value + half) >> shift fit 12 bits. 36
 * instructions, 45 cycles a round. */
static __attribute__((noinline)) uint32_t *fold_rounds(uint32_t *cells, const uint32_t *end, const int32_t *values,
                                                       int32_t a, int32_t shift)
{
    uint32_t word;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t" WORD_OF_VALUES WORD_OF_VALUES "cmp %[cells], %[end]\n\t"
                     "bne 1b\n"
                     "2:"
                     : [cells] "+l"(cells), [values] "+l"(values), [word] "=&l"(word)
                     : [a] "l"(a), [shift] "l"(shift), [half] "l"(16), [c] "h"(1 << (shift - 1)), [end] "h"(end)
                     : "r4", "r5", "cc", "memory");
    return cells;
}

/* 9.3 instructions a weight. A word in which a cell saturates is done in C, as are all if shares may not fit 12 bits. */
static void fold_outer_armv6m(int16_t *plane, const struct fqt_outer *o, int32_t e, bool fits)
{
    uint32_t *const cells = (uint32_t *)(void *)plane;
    for (uint32_t i = 0, end; i < o->stored; i = end) {
        uint32_t *word = cells + i / 2u, *rounds = cells + (fits ? o->stored - (o->stored - i) % 4u : i) / 2u;
        if (word != rounds) {
            word = fold_rounds(word, rounds, o->values + i, e * o->by.m, o->by.shift);
        }
        i = (uint32_t)(word - cells) * 2u;
        end = fits && word != rounds ? i + 2u : o->stored;
        fold_outer_each(plane, o, e, i, end);
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
#if FQT_DSP
    fold_outer_dsp(plane, o, e, largest);
#elif FQT_ARMV6M
    fold_outer_armv6m(plane, o, e, largest <= FQT_GRADIENT_LIMIT);
#else
    fold_outer_each(plane, o, e, 0, o->n);
#endif
}
