#include "scatter.h"

#include "simd.h"

static int32_t first_factor(uint32_t factors)
{
    return (int16_t)(factors & 0xFFFFu);
}

static int32_t second_factor(uint32_t factors)
{
    return (int16_t)(factors >> 16);
}

/* One value of a list. */
static int32_t list_sum(const struct fqt_list_entry *entry, const struct fqt_list_entry *end, uint32_t offset)
{
    int32_t sum = 0;
    for (; entry != end; entry++) {
        sum += first_factor(entry->factors) * entry->first[offset] + second_factor(entry->factors) * entry->second[offset];
    }
    return sum;
}

#if FQT_DSP

void fqt_add_scaled(int32_t *acc, const uint8_t *values, uint32_t n, int32_t factor, int32_t zero)
{
    uint32_t zeros = (uint32_t)zero * FQT_PAIR_OF_ONES;
    for (; n >= 4u; n -= 4u, values += 4, acc += 4) {
        uint32_t word = fqt_word(values);
        uint32_t even = fqt_subtract_pairs(fqt_even_bytes(word), zeros);
        uint32_t odd = fqt_subtract_pairs(fqt_odd_bytes(word), zeros);
        int32_t acc0 = acc[0], acc1 = acc[1], acc2 = acc[2], acc3 = acc[3];
        acc[0] = fqt_smlabb(even, (uint32_t)factor, acc0);
        acc[1] = fqt_smlabb(odd, (uint32_t)factor, acc1);
        acc[2] = fqt_smlatb(even, (uint32_t)factor, acc2);
        acc[3] = fqt_smlatb(odd, (uint32_t)factor, acc3);
    }
    for (; n != 0; n--) {
        *acc++ += factor * (*values++ - zero);
    }
}

struct sums {
    int32_t v0, v1, v2, v3;
};

/* Four values of two rows of bytes, times both factors. */
static inline struct sums add_four_values(struct sums s, const uint8_t *first, const uint8_t *second, uint32_t factors)
{
    uint32_t word0 = fqt_word(first), word1 = fqt_word(second);
    uint32_t low = fqt_low_halves(word0, word1), high = fqt_high_halves(word0, word1);
    s.v0 = fqt_smlad(fqt_even_bytes(low), factors, s.v0);
    s.v1 = fqt_smlad(fqt_odd_bytes(low), factors, s.v1);
    s.v2 = fqt_smlad(fqt_even_bytes(high), factors, s.v2);
    s.v3 = fqt_smlad(fqt_odd_bytes(high), factors, s.v3);
    return s;
}

static inline struct sums sums_of(const int32_t *acc, int32_t less)
{
    int32_t v0 = acc[0], v1 = acc[1], v2 = acc[2], v3 = acc[3];
    return (struct sums){v0 - less, v1 - less, v2 - less, v3 - less};
}

static inline void keep(int32_t *acc, struct sums s)
{
    acc[0] = s.v0;
    acc[1] = s.v1;
    acc[2] = s.v2;
    acc[3] = s.v3;
}

void fqt_add_scaled_two(int32_t *acc, const struct fqt_scaled *scaled, uint32_t n, int32_t zero)
{
    const uint8_t *first = scaled->values[0], *second = scaled->values[1];
    int32_t less = (scaled->factors[0] + scaled->factors[1]) * zero;
    uint32_t factors = fqt_low_halves((uint32_t)scaled->factors[0], (uint32_t)scaled->factors[1]);
    for (; n >= 4u; n -= 4u, first += 4, second += 4, acc += 4) {
        keep(acc, add_four_values(sums_of(acc, less), first, second, factors));
    }
    for (; n != 0; n--) {
        *acc++ += scaled->factors[0] * *first++ + scaled->factors[1] * *second++ - less;
    }
}

void fqt_add_scaled_four(int32_t *acc, const struct fqt_scaled *scaled, uint32_t n, int32_t zero)
{
    const uint8_t *a = scaled->values[0], *b = scaled->values[1], *c = scaled->values[2], *d = scaled->values[3];
    const int32_t *f = scaled->factors;
    uint32_t ab = fqt_low_halves((uint32_t)f[0], (uint32_t)f[1]), cd = fqt_low_halves((uint32_t)f[2], (uint32_t)f[3]);
    int32_t less = (f[0] + f[1] + f[2] + f[3]) * zero;
    for (; n >= 4u; n -= 4u, a += 4, b += 4, c += 4, d += 4, acc += 4) {
        keep(acc, add_four_values(add_four_values(sums_of(acc, less), a, b, ab), c, d, cd));
    }
    for (; n != 0; n--) {
        *acc++ += f[0] * *a++ + f[1] * *b++ + f[2] * *c++ + f[3] * *d++ - less;
    }
}

/* Four values: 15 instructions, 19 cycles an entry of 8 MACs. LDM wants its registers in ascending order. */
static void add_list_of_four(int32_t *acc, const struct fqt_list_entry *entry, const struct fqt_list_entry *end,
                             uint32_t offset, int32_t less)
{
    int32_t acc0 = acc[0] - less, acc1 = acc[1] - less, acc2 = acc[2] - less, acc3 = acc[3] - less;
    __asm__ volatile("1:\n\t"
                     "ldmia %[entry]!, {r4, r5, r6}\n\t"
                     "ldr r4, [r4, %[offset]]\n\t"
                     "ldr r5, [r5, %[offset]]\n\t"
                     "cmp %[entry], %[end]\n\t"
                     "pkhbt r8, r4, r5, lsl #16\n\t"
                     "pkhtb r5, r5, r4, asr #16\n\t"
                     "uxtb16 r4, r8\n\t"
                     "smlad %[acc0], r4, r6, %[acc0]\n\t"
                     "uxtb16 r8, r8, ror #8\n\t"
                     "smlad %[acc1], r8, r6, %[acc1]\n\t"
                     "uxtb16 r4, r5\n\t"
                     "smlad %[acc2], r4, r6, %[acc2]\n\t"
                     "uxtb16 r5, r5, ror #8\n\t"
                     "smlad %[acc3], r5, r6, %[acc3]\n\t"
                     "bne 1b"
                     : [entry] "+r"(entry), [acc0] "+r"(acc0), [acc1] "+r"(acc1), [acc2] "+r"(acc2), [acc3] "+r"(acc3)
                     : [offset] "r"(offset), [end] "r"(end)
                     : "r4", "r5", "r6", "r8", "cc", "memory");
    keep(acc, (struct sums){acc0, acc1, acc2, acc3});
}

void fqt_add_list(int32_t *acc, const struct fqt_list_entry *entries, const struct fqt_list_entry *end, uint32_t offset,
                  uint32_t n, int32_t less)
{
    for (; n >= 4u; n -= 4u, offset += 4u, acc += 4) {
        add_list_of_four(acc, entries, end, offset, less);
    }
    for (; n != 0; n--) {
        *acc++ += list_sum(entries, end, offset++) - less;
    }
}

#else

void fqt_add_scaled(int32_t *acc, const uint8_t *values, uint32_t n, int32_t factor, int32_t zero)
{
    for (uint32_t i = 0; i < n; i++) {
        acc[i] += factor * (values[i] - zero);
    }
}

#if FQT_ARMV6M

/* A value of two rows: 9 instructions, 13 cycles, 2 MACs. */
#define TWO_STEP(byte, word)                                                                                        \
    "ldrb %[t], [%[a], #" byte "]\n\t"                                                                              \
    "muls %[t], %[fa]\n\t"                                                                                          \
    "ldrb %[u], [%[b], #" byte "]\n\t"                                                                              \
    "muls %[u], %[fb]\n\t"                                                                                          \
    "adds %[t], %[u]\n\t"                                                                                           \
    "ldr %[u], [%[acc], #" word "]\n\t"                                                                             \
    "subs %[t], %[less]\n\t"                                                                                        \
    "adds %[t], %[u]\n\t"                                                                                           \
    "str %[t], [%[acc], #" word "]\n\t"

/* n values, a multiple of 4 and not 0; nothing is inlined around it that may want a register. */
static __attribute__((noinline)) void add_fours(int32_t *acc, const uint8_t *a, const uint8_t *b, int32_t *end,
                                                int32_t fa, int32_t fb, int32_t less)
{
    uint32_t t, u;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t" TWO_STEP("0", "0") TWO_STEP("1", "4") TWO_STEP("2", "8") TWO_STEP("3", "12")
                     "adds %[a], #4\n\t"
                     "adds %[b], #4\n\t"
                     "adds %[acc], #16\n\t"
                     "cmp %[acc], %[end]\n\t"
                     "bne 1b"
                     : [acc] "+l"(acc), [a] "+l"(a), [b] "+l"(b), [t] "=&l"(t), [u] "=&l"(u)
                     : [fa] "l"(fa), [fb] "l"(fb), [less] "l"(less), [end] "h"(end)
                     : "cc", "memory");
}

/* Four values, an entry: 31 instructions, 47 cycles, 8 MACs. */
#define LIST_STEP(factor)                                                                                           \
    "ldrb %[t], [%[p], #0]\n\t"                                                                                     \
    "muls %[t], %[" factor "]\n\t"                                                                                  \
    "add %[acc0], %[t]\n\t"                                                                                         \
    "ldrb %[t], [%[p], #1]\n\t"                                                                                     \
    "muls %[t], %[" factor "]\n\t"                                                                                  \
    "add %[acc1], %[t]\n\t"                                                                                         \
    "ldrb %[t], [%[p], #2]\n\t"                                                                                     \
    "muls %[t], %[" factor "]\n\t"                                                                                  \
    "add %[acc2], %[t]\n\t"                                                                                         \
    "ldrb %[t], [%[p], #3]\n\t"                                                                                     \
    "muls %[t], %[" factor "]\n\t"                                                                                  \
    "add %[acc3], %[t]\n\t"

static void add_list_of_four(int32_t *acc, const struct fqt_list_entry *entry, const struct fqt_list_entry *end,
                             uint32_t offset, int32_t less)
{
    int32_t acc0 = acc[0] - less, acc1 = acc[1] - less, acc2 = acc[2] - less, acc3 = acc[3] - less;
    uint32_t p, q, f, g, t;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t"
                     "ldr %[p], [%[entry], #0]\n\t"
                     "ldr %[q], [%[entry], #4]\n\t"
                     "ldr %[f], [%[entry], #8]\n\t"
                     "add %[p], %[offset]\n\t"
                     "add %[q], %[offset]\n\t"
                     "asrs %[g], %[f], #16\n\t"
                     "sxth %[f], %[f]\n\t" LIST_STEP("f") "mov %[p], %[q]\n\t" LIST_STEP("g")
                     "adds %[entry], #12\n\t"
                     "cmp %[entry], %[end]\n\t"
                     "bne 1b"
                     : [entry] "+l"(entry), [acc0] "+h"(acc0), [acc1] "+h"(acc1), [acc2] "+h"(acc2),
                       [acc3] "+h"(acc3), [p] "=&l"(p), [q] "=&l"(q), [f] "=&l"(f), [g] "=&l"(g), [t] "=&l"(t)
                     : [end] "r"(end), [offset] "r"(offset)
                     : "cc", "memory");
    acc[0] = acc0;
    acc[1] = acc1;
    acc[2] = acc2;
    acc[3] = acc3;
}

#endif

void fqt_add_scaled_two(int32_t *acc, const struct fqt_scaled *scaled, uint32_t n, int32_t zero)
{
    const uint8_t *first = scaled->values[0], *second = scaled->values[1];
    int32_t f0 = scaled->factors[0], f1 = scaled->factors[1];
#if FQT_ARMV6M
    uint32_t fours = n & ~3u;
    if (fours != 0) {
        add_fours(acc, first, second, acc + fours, f0, f1, (f0 + f1) * zero);
        acc += fours;
        first += fours;
        second += fours;
        n -= fours;
    }
#endif
    for (uint32_t i = 0; i < n; i++) {
        acc[i] += f0 * (first[i] - zero) + f1 * (second[i] - zero);
    }
}

void fqt_add_scaled_four(int32_t *acc, const struct fqt_scaled *scaled, uint32_t n, int32_t zero)
{
    const struct fqt_scaled rest = {{scaled->values[2], scaled->values[3]}, {scaled->factors[2], scaled->factors[3]}};
    fqt_add_scaled_two(acc, scaled, n, zero);
    fqt_add_scaled_two(acc, &rest, n, zero);
}

void fqt_add_list(int32_t *acc, const struct fqt_list_entry *entries, const struct fqt_list_entry *end, uint32_t offset,
                  uint32_t n, int32_t less)
{
#if FQT_ARMV6M
    for (; n >= 4u; n -= 4u, offset += 4u, acc += 4) {
        add_list_of_four(acc, entries, end, offset, less);
    }
#endif
    for (; n != 0; n--) {
        *acc++ += list_sum(entries, end, offset++) - less;
    }
}

#endif
