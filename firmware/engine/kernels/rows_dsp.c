/* For the DSP extension: SMLAD takes two taps at once.
 *
 * A window is centred int16, each group of four taps in the order 0, 2, 1, 3; of a pair the second lies behind the first. */
#include "rows.h"

#include "simd.h"

#if FQT_DSP

struct dots {
    int32_t a0, a1, b0, b1; /* weights a, b times windows 0, 1 */
};

struct dots4 {
    int32_t a, b, c, d; /* four rows of weights times one window */
};

/* Four taps of two rows and two windows: 18 instructions, 20 cycles, 16 MACs. */
#define FQT_DOT_2X2_STEP                                                                                            \
    "ldr %[wa], [%[a]], #4\n\t"                                                                                     \
    "ldr %[wb], [%[b]], #4\n\t"                                                                                     \
    "ldr %[x0], [%[p0]], #4\n\t"                                                                                    \
    "ldr %[x1], [%[p1]], #4\n\t"                                                                                    \
    "uxtb16 %[even], %[wa]\n\t"                                                                                     \
    "smlad %[a0], %[even], %[x0], %[a0]\n\t"                                                                        \
    "smlad %[a1], %[even], %[x1], %[a1]\n\t"                                                                        \
    "uxtb16 %[even], %[wb]\n\t"                                                                                     \
    "smlad %[b0], %[even], %[x0], %[b0]\n\t"                                                                        \
    "smlad %[b1], %[even], %[x1], %[b1]\n\t"                                                                        \
    "ldr %[x0], [%[p0]], #4\n\t"                                                                                    \
    "ldr %[x1], [%[p1]], #4\n\t"                                                                                    \
    "uxtb16 %[wa], %[wa], ror #8\n\t"                                                                               \
    "smlad %[a0], %[wa], %[x0], %[a0]\n\t"                                                                          \
    "smlad %[a1], %[wa], %[x1], %[a1]\n\t"                                                                          \
    "uxtb16 %[wb], %[wb], ror #8\n\t"                                                                               \
    "smlad %[b0], %[wb], %[x0], %[b0]\n\t"                                                                          \
    "smlad %[b1], %[wb], %[x1], %[b1]\n\t"

/* n is not 0. All fourteen registers: the compiler would keep some of these on the stack. An odd number
 * of steps enters the loop, which makes two, in the middle. */
static inline struct dots dot_2x2(const uint8_t *a, const uint8_t *b, const int16_t *window0,
                                          const int16_t *window1, uint32_t n)
{
    struct dots d = {0, 0, 0, 0};
    uint32_t wa, wb, x0, x1, even, left = ((n + 4u) & ~7u) | (n >> 2 & 1u);
    __asm__ volatile("lsrs %[wa], %[left], #1\n\t" /* bit 0: odd */
                     "bic %[left], %[left], #1\n\t"
                     "bcs 2f\n"
                     "1:\n\t" FQT_DOT_2X2_STEP "2:\n\t" FQT_DOT_2X2_STEP "subs %[left], #8\n\t"
                     "bgt 1b"
                     : [a0] "+r"(d.a0), [a1] "+r"(d.a1), [b0] "+r"(d.b0), [b1] "+r"(d.b1), [a] "+r"(a), [b] "+r"(b),
                       [p0] "+r"(window0), [p1] "+r"(window1), [left] "+r"(left), [wa] "=&r"(wa), [wb] "=&r"(wb),
                       [x0] "=&r"(x0), [x1] "=&r"(x1), [even] "=&r"(even)
                     :
                     : "cc", "memory");
    return d;
}

/* Four taps of one row: 5 instructions, 6 cycles, 4 MACs. */
#define FQT_DOT_4X1_STEP(row, sum)                                                                                  \
    "ldr %[w], [%[" row "]], #4\n\t"                                                                                \
    "uxtb16 %[pair], %[w]\n\t"                                                                                      \
    "smlad %[" sum "], %[pair], %[even], %[" sum "]\n\t"                                                            \
    "uxtb16 %[w], %[w], ror #8\n\t"                                                                                 \
    "smlad %[" sum "], %[w], %[odd], %[" sum "]\n\t"

/* n is not 0. 24 instructions, 31 cycles per 16 MACs. */
static inline struct dots4 dot_4x1(const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d,
                                           const int16_t *window, uint32_t n)
{
    struct dots4 sums = {0, 0, 0, 0};
    uint32_t even, odd, w, pair;
    __asm__ volatile("1:\n\t"
                     "ldr %[even], [%[p]], #4\n\t"
                     "ldr %[odd], [%[p]], #4\n\t" FQT_DOT_4X1_STEP("a", "sum_a") FQT_DOT_4X1_STEP("b", "sum_b")
                         FQT_DOT_4X1_STEP("c", "sum_c") FQT_DOT_4X1_STEP("d", "sum_d") "subs %[n], #4\n\t"
                     "bne 1b"
                     : [sum_a] "+r"(sums.a), [sum_b] "+r"(sums.b), [sum_c] "+r"(sums.c), [sum_d] "+r"(sums.d),
                       [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [p] "+r"(window), [n] "+r"(n),
                       [even] "=&r"(even), [odd] "=&r"(odd), [w] "=&r"(w), [pair] "=&r"(pair)
                     :
                     : "cc", "memory");
    return sums;
}

void fqt_start_rows(const struct fqt_rows *rows, int32_t x_zero, int32_t *starts)
{
    (void)x_zero;
    for (uint32_t i = 0; i < rows->count; i++) {
        starts[i] = rows->bias != NULL ? rows->bias[i] : 0;
    }
}

/* 2.75 instructions a value. */
struct fqt_window fqt_lay_out(void *to, const uint8_t *x, uint32_t n, uint8_t x_zero)
{
    uint32_t zeros = x_zero * FQT_PAIR_OF_ONES, *pairs = to;
    int32_t sum = 0;
    for (const uint8_t *end = x + n; x != end; x += 4, pairs += 2) {
        uint32_t word = fqt_word(x);
        pairs[0] = fqt_subtract_pairs(fqt_even_bytes(word), zeros);
        pairs[1] = fqt_subtract_pairs(fqt_odd_bytes(word), zeros);
        sum = fqt_smlad(pairs[0], FQT_PAIR_OF_ONES, sum);
        sum = fqt_smlad(pairs[1], FQT_PAIR_OF_ONES, sum);
    }
    return (struct fqt_window){to, sum};
}

struct fqt_windows fqt_lay_out_pair(void *to, const uint8_t *first, const uint8_t *second, uint32_t n, uint8_t x_zero)
{
    int32_t first_sum = fqt_lay_out(to, first, n, x_zero).sum;
    return (struct fqt_windows){to, first_sum, fqt_lay_out((uint8_t *)to + 2u * n, second, n, x_zero).sum};
}

void fqt_multiply_rows(const struct fqt_rows *rows, const struct fqt_windows *windows, int32_t *first,
                       int32_t *second)
{
    const uint8_t *weights = rows->weights;
    const int16_t *window0 = windows->pair, *window1 = window0 + rows->n;
    const int32_t *starts = rows->starts;
    uint32_t n = rows->n;
    int32_t correction0 = rows->zero * windows->first_sum, correction1 = rows->zero * windows->second_sum;
    for (uint32_t left = rows->count; left != 0;) {
        uint32_t other = left > 1u ? 1u : 0u; /* an odd last row is computed twice */
        struct dots dots = dot_2x2(weights, weights + other * n, window0, window1, n);
        int32_t start_a = starts[0], start_b = starts[other];
        first[0] = start_a + dots.a0 - correction0;
        first[other] = start_b + dots.b0 - correction0;
        second[0] = start_a + dots.a1 - correction1;
        second[other] = start_b + dots.b1 - correction1;
        weights += 2u * n;
        starts += 2;
        first += 2;
        second += 2;
        left -= 1u + other;
    }
}

void fqt_multiply_row(const struct fqt_rows *rows, const struct fqt_window *window, int32_t *out)
{
    uint32_t n = rows->n, last = rows->count - 1u;
    int32_t correction = rows->zero * window->sum;
    for (uint32_t i = 0; i < rows->count; i += 4u) { /* missing rows are the last one again */
        uint32_t j = i + 1u < last ? i + 1u : last, k = i + 2u < last ? i + 2u : last, l = i + 3u < last ? i + 3u : last;
        const uint8_t *weights = rows->weights;
        struct dots4 dots =
            dot_4x1(weights + i * n, weights + j * n, weights + k * n, weights + l * n, window->values, n);
        out[i] = rows->bias[i] + dots.a - correction;
        out[j] = rows->bias[j] + dots.b - correction;
        out[k] = rows->bias[k] + dots.c - correction;
        out[l] = rows->bias[l] + dots.d - correction;
    }
}

#endif
