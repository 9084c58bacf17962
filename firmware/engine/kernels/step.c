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

/* Four residuals `r` less their steps, of a byte each. A weight changes where one overflows, which the lines at `out` see
 * to. */
#define STEP_RESIDUALS(r, out)                                                                                         \
    "ldm %[values]!, {r0, r1, r2, r3}\n\t"                                                                             \
    "smmulr r0, r0, %[factor]\n\t"                                                                                     \
    "smmulr r1, r1, %[factor]\n\t"                                                                                     \
    "smmulr r2, r2, %[factor]\n\t"                                                                                     \
    "smmulr r3, r3, %[factor]\n\t"                                                                                     \
    "bfi r0, r1, #8, #8\n\t"                                                                                           \
    "bfi r0, r2, #16, #8\n\t"                                                                                          \
    "bfi r0, r3, #24, #8\n\t"                                                                                          \
    "qsub8 r1, " r ", r0\n\t"                                                                                          \
    "ssub8 " r ", " r ", r0\n\t"                                                                                       \
    "eors r1, " r "\n\t"                                                                                               \
    "bne " out "f\n" out "2:\n\t"

/* Signs differ in r1 where a residual overflowed; it became negative where the weight takes one more. If a weight would
 * leave its byte, the round ends before its word. */
#define STEP_WEIGHTS(r, at, out)                                                                                       \
    out ":\n\t"                                                                                                        \
    "add r2, %[residual], #" at "\n\t"                                                                                 \
    "ldr r0, [r2, %[weights]]\n\t"                                                                                     \
    "and r1, r1, #0x80808080\n\t"                                                                                      \
    "and r3, r1, " r "\n\t"                                                                                            \
    "add r3, r0, r3, lsr #6\n\t"                                                                                       \
    "sub r3, r3, r1, lsr #7\n\t"                                                                                       \
    "usad8 r0, r0, r3\n\t"                                                                                             \
    "cmp r0, #254\n\t"                                                                                                 \
    "bhi 7f\n\t"                                                                                                       \
    "str r3, [r2, %[weights]]\n\t"                                                                                     \
    "b " out "2b\n"

/* Rounds of 16 weights up to the residuals' end, at least one, whose steps fit a byte; returns the end of the residuals
 * that were done: those before the word in which a weight saturates. 52 instructions, 78 cycles on a Cortex-M4 a round, and
 * 11 instructions for each word in which a weight changes. */
static __attribute__((noinline)) int8_t *step_rounds(uint8_t *weights, int8_t *residual, const int32_t *values,
                                                     const int8_t *end, int32_t factor)
{
    __asm__ volatile("1:\n\t"
                     "ldm %[residual], {r4, r5, r6, r8}\n\t" STEP_RESIDUALS("r4", "3") STEP_RESIDUALS("r5", "4")
                     STEP_RESIDUALS("r6", "5") STEP_RESIDUALS("r8", "6")
                     "stm %[residual]!, {r4, r5, r6, r8}\n\t"
                     "cmp %[residual], %[end]\n\t"
                     "bne 1b\n\t"
                     "b 8f\n" STEP_WEIGHTS("r4", "0", "3") STEP_WEIGHTS("r5", "4", "4") STEP_WEIGHTS("r6", "8", "5")
                     STEP_WEIGHTS("r8", "12", "6")
                     "7:\n\t"
                     "ldr r0, [r2]\n\t"
                     "stm %[residual], {r4, r5, r6, r8}\n\t"
                     "str r0, [r2]\n\t"
                     "mov %[residual], r2\n"
                     "8:"
                     : [residual] "+r"(residual), [values] "+r"(values)
                     : [end] "r"(end), [weights] "r"(weights - (uint8_t *)residual), [factor] "r"(factor)
                     : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "cc", "memory");
    return residual;
}

/* The step of a value: (value * factor + 2^31) >> 32. */
static int32_t step_of(uint32_t value, int32_t factor)
{
    return fqt_scale_rounded((int32_t)value, (struct fqt_multiplier){factor, 32});
}

/* Weights whose residuals lie before `end`; no step leaves 16 bits. 7.9 instructions a weight. Returns other than 0 if one
 * saturated. */
static __attribute__((noinline)) uint32_t step_words(uint32_t *weights, uint32_t *residual, const int32_t *values,
                                                     const uint32_t *end, int32_t factor)
{
    const uint32_t *v = (const uint32_t *)(const void *)values;
    uint32_t saturated = 0;
    while (residual != end) {
        uint32_t a, b, c, d;
        fqt_two_words(&v, &a, &b);
        fqt_two_words(&v, &c, &d);
        step_4(weights++, residual++, fqt_low_halves((uint32_t)step_of(a, factor), (uint32_t)step_of(c, factor)),
               fqt_low_halves((uint32_t)step_of(b, factor), (uint32_t)step_of(d, factor)), &saturated);
    }
    return saturated;
}

/* n weights less their steps, of which none is larger than `largest`: by rounds up to where one saturates, then by words,
 * then one by one. */
static bool step_values(uint8_t *weights, int8_t *residual, const int32_t *values, uint32_t n, int32_t factor,
                        int32_t largest)
{
    uint32_t i = 0, saturated = 0;
    if (largest <= INT8_MAX && n >= 16u) {
        i = (uint32_t)(step_rounds(weights, residual, values, residual + (n & ~15u), factor) - residual);
    }
    if (largest <= INT16_MAX && i != n) {
        saturated = step_words((uint32_t *)(void *)(weights + i), (uint32_t *)(void *)(residual + i), values + i,
                               (uint32_t *)(void *)(residual + (n & ~3u)), factor);
        i = n & ~3u;
    }
    for (; i < n; i++) {
        saturated |= step_weight(weights + i, residual + i, step_of((uint32_t)values[i], factor)) ? 1u : 0u;
    }
    return saturated != 0;
}

bool fqt_step(uint8_t *weights, int8_t *residual, const int32_t *acc, uint32_t n, struct fqt_multiplier by,
              int32_t largest)
{
    return step_values(weights, residual, acc, n, by.m << (32 - by.shift), fqt_scale_rounded(largest, by));
}

bool fqt_step_outer(uint8_t *weights, int8_t *residual, const struct fqt_outer *o, int32_t e)
{
    int32_t bound = fqt_outer_bound(o, e);
    return bound != 0 && step_values(weights, residual, o->values, o->stored, e * o->by.m, bound);
}

#elif FQT_ARMV6M

/* What happens to weight `at` of a round where its residual isn't all that changes is at 7. */
#define STEP_WEIGHT(t, at, out)                                                                                        \
    out ":\n\t"                                                                                                        \
    "movs " t ", #" at "\n\t"                                                                                          \
    "bl 7f\n\t"                                                                                                        \
    "b " out "2b\n"

/* The next residual, which comes to the top of the word, less its step, t. V tells that it overflowed. */
#define STEP_ANY(out)                                                                                                  \
    "rors %[word], %[eight]\n\t"                                                                                       \
    "lsls %[u], %[t], #24\n\t"                                                                                         \
    "subs %[word], %[word], %[u]\n\t"                                                                                  \
    "bvs " out "f\n\t"                                                                                                 \
    "asrs %[u], #24\n\t"                                                                                               \
    "cmp %[u], %[t]\n\t"                                                                                               \
    "bne " out "f\n" out "2:\n\t"

/* Rounds of 4 weights up to the residuals' end, at least one. `step` has the next step in t, and may overwrite u. 32
 * instructions, 35 cycles a round besides, and 20 instructions for a weight that changes.
 *
 * At 7 v + 128, of which the weight is the high byte, is made of the residual as it was. */
#define STEP_ROUNDS(step)                                                                                              \
    __asm__ volatile(".syntax unified\n"                                                                               \
                     "1:\n\t"                                                                                          \
                     "ldr %[word], [%[r]]\n\t" step STEP_ANY("3") step STEP_ANY("4")                                   \
                     step STEP_ANY("5") step STEP_ANY("6")                                                             \
                     "stm %[r]!, {%[word]}\n\t"                                                                        \
                     "cmp %[r], %[end]\n\t"                                                                            \
                     "bne 1b\n\t"                                                                                      \
                     "b 10f\n" STEP_WEIGHT("%[u]", "0", "3") STEP_WEIGHT("%[u]", "1", "4")                             \
                     STEP_WEIGHT("%[u]", "2", "5") STEP_WEIGHT("%[u]", "3", "6")                                       \
                     "7:\n\t"                                                                                          \
                     "add %[u], %[r]\n\t"                                                                              \
                     "add %[u], %[weights]\n\t"                                                                        \
                     "mov r8, %[m]\n\t"                                                                                \
                     "asrs %[m], %[word], #24\n\t"                                                                     \
                     "adds %[m], %[m], %[t]\n\t"                                                                       \
                     "sxtb %[m], %[m]\n\t"                                                                             \
                     "subs %[m], %[m], %[t]\n\t"                                                                       \
                     "ldrb %[t], [%[u]]\n\t"                                                                           \
                     "lsls %[t], #8\n\t"                                                                               \
                     "adds %[m], %[m], %[t]\n\t"                                                                       \
                     "adds %[m], #128\n\t"                                                                             \
                     "lsrs %[t], %[m], #16\n\t"                                                                        \
                     "bne 9f\n\t"                                                                                      \
                     "lsrs %[m], #8\n\t"                                                                               \
                     "strb %[m], [%[u]]\n"                                                                             \
                     "8:\n\t"                                                                                          \
                     "mov %[m], r8\n\t"                                                                                \
                     "bx lr\n"                                                                                         \
                     "9:\n\t" /* the nearest: a weight of 0 and 0x80, or of 255 and 0x7F */                            \
                     "mov %[saturated], %[u]\n\t"                                                                      \
                     "mvns %[t], %[m]\n\t"                                                                             \
                     "asrs %[t], #31\n\t"                                                                              \
                     "strb %[t], [%[u]]\n\t"                                                                           \
                     "movs %[m], #0x80\n\t"                                                                            \
                     "eors %[t], %[m]\n\t"                                                                             \
                     "lsls %[t], #24\n\t"                                                                              \
                     "lsls %[word], #8\n\t"                                                                            \
                     "lsrs %[word], #8\n\t"                                                                            \
                     "orrs %[word], %[t]\n\t"                                                                          \
                     "b 8b\n"                                                                                          \
                     "10:"                                                                                             \
                     : [r] "+l"(residual), [sums] "+l"(values), [t] "=&l"(t), [u] "=&l"(u), [word] "=&l"(word),        \
                       [m] "+l"(scale.m), [saturated] "+h"(saturated)                                                  \
                     : [shift] "l"(scale.shift), [eight] "l"(8), [c] "h"(scale.c), [end] "h"(end),                     \
                       [weights] "h"(weights - (uint8_t *)residual)                                                    \
                     : "r8", "lr", "cc", "memory")

/* From sums: 68 instructions, 75 cycles a round. Returns other than 0 if a weight saturated. */
static __attribute__((noinline)) uint32_t step_by_sums(uint8_t *weights, int8_t *residual, const int32_t *values,
                                                       const int8_t *end, struct fqt_sum_scale scale)
{
    uint32_t t, u, word, saturated = 0;
    STEP_ROUNDS(FQT_SCALED_SUM("%[t]", "%[u]"));
    return saturated;
}

#define SCALED_PRODUCT                                                                                                 \
    "ldm %[sums]!, {%[t]}\n\t"                                                                                         \
    "muls %[t], %[m], %[t]\n\t"                                                                                        \
    "add %[t], %[c]\n\t"                                                                                               \
    "asrs %[t], %[shift]\n\t"

/* From (m*value + c) >> shift: 48 instructions, 55 cycles a round. */
static __attribute__((noinline)) uint32_t step_by_large_products(uint8_t *weights, int8_t *residual, const int32_t *values,
                                                                 const int8_t *end, struct fqt_sum_scale scale)
{
    uint32_t t, u, word, saturated = 0;
    STEP_ROUNDS(SCALED_PRODUCT);
    return saturated;
}

/* The residual `at` of a round, which comes to the top of the word, less the step of value t, of a byte. */
#define STEP_RESIDUAL(t, at, out)                                                                                      \
    "rors %[word], %[eight]\n\t"                                                                                       \
    "muls " t ", %[m], " t "\n\t"                                                                                      \
    "add " t ", %[c]\n\t"                                                                                              \
    "asrs " t ", %[shift]\n\t"                                                                                         \
    "lsls " t ", #24\n\t"                                                                                              \
    "subs %[word], %[word], " t "\n\t"                                                                                 \
    "bvs " out "f\n" out "2:\n\t"

/* Rounds of 4 weights up to the residuals' end, at least one, whose steps (m*value + c) >> shift fit a byte. 34
 * instructions, 41 cycles a round, and 16 instructions for a weight that changes. Returns other than 0 if one saturated.
 *
 * At 7 the weight r4 of the round changes, by one: the residual became negative where it takes one more. If that leaves a
 * byte, the weight stays, and the residual is its nearest. */
static __attribute__((noinline)) uint32_t step_by_products(uint8_t *weights, int8_t *residual, const int32_t *values,
                                                           const int8_t *end, struct fqt_sum_scale scale)
{
    uint32_t word, saturated = 0;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t"
                     "ldr %[word], [%[r]]\n\t"
                     "ldm %[values]!, {r4, r5}\n\t" STEP_RESIDUAL("r4", "0", "3") STEP_RESIDUAL("r5", "1", "4")
                     "ldm %[values]!, {r4, r5}\n\t" STEP_RESIDUAL("r4", "2", "5") STEP_RESIDUAL("r5", "3", "6")
                     "stm %[r]!, {%[word]}\n\t"
                     "cmp %[r], %[end]\n\t"
                     "bne 1b\n\t"
                     "b 11f\n" STEP_WEIGHT("r4", "0", "3") STEP_WEIGHT("r4", "1", "4") STEP_WEIGHT("r4", "2", "5")
                     STEP_WEIGHT("r4", "3", "6")
                     "7:\n\t"
                     "mov r8, %[shift]\n\t"
                     "add r4, %[r]\n\t"
                     "add r4, %[weights]\n\t"
                     "ldrb %[shift], [r4]\n\t"
                     "cmp %[word], #0\n\t"
                     "bmi 8f\n\t"
                     "subs %[shift], #2\n"
                     "8:\n\t"
                     "adds %[shift], #1\n\t"
                     "cmp %[shift], #255\n\t"
                     "bhi 10f\n\t"
                     "strb %[shift], [r4]\n"
                     "9:\n\t"
                     "mov %[shift], r8\n\t"
                     "bx lr\n"
                     "10:\n\t"
                     "mov %[saturated], r4\n\t"
                     "movs r4, #0x7F\n\t"
                     "asrs %[shift], #31\n\t"
                     "eors %[shift], r4\n\t"
                     "lsls %[shift], #24\n\t"
                     "lsls %[word], #8\n\t"
                     "lsrs %[word], #8\n\t"
                     "orrs %[word], %[shift]\n\t"
                     "b 9b\n"
                     "11:"
                     : [r] "+l"(residual), [values] "+l"(values), [word] "=&l"(word), [shift] "+l"(scale.shift),
                       [saturated] "+h"(saturated)
                     : [m] "l"(scale.m), [eight] "l"(8), [c] "h"(scale.c), [end] "h"(end),
                       [weights] "h"(weights - (uint8_t *)residual)
                     : "r4", "r5", "r8", "lr", "cc", "memory");
    return saturated;
}

#endif

#if !FQT_DSP

bool fqt_step(uint8_t *weights, int8_t *residual, const int32_t *acc, uint32_t n, struct fqt_multiplier by,
              int32_t largest)
{
    uint32_t saturated = 0, i = 0;
#if FQT_ARMV6M
    if (n >= 4u) {
        i = n & ~3u;
        saturated = step_by_sums(weights, residual, acc, residual + i, fqt_sum_scale_of(by, 0));
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
    int32_t bound = fqt_outer_bound(o, e);
    uint32_t saturated = 0;
    if (bound == 0) {
        return false;
    }
#if FQT_ARMV6M
    const int8_t *end = residual + o->stored;
    const struct fqt_sum_scale scale = {e * o->by.m, 1 << (o->by.shift - 1), o->by.shift};
    saturated = bound <= INT8_MAX ? step_by_products(weights, residual, o->values, end, scale)
                                  : step_by_large_products(weights, residual, o->values, end, scale);
#else
    for (uint32_t i = 0; i < o->n; i++) {
        saturated |= step_weight(weights + i, residual + i, fqt_scale_rounded(e * o->values[i], o->by)) ? 1u : 0u;
    }
#endif
    return saturated != 0;
}

#endif
