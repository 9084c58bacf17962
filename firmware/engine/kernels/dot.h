/* Inner products of uint8 weights with centred windows of int16.
 *
 * A window's int16 values lie in an order of the variant's own: whoever fills it with fqt_widen reads it with
 * fqt_dot_2x2. `n` is a multiple of 4; windows and weights are aligned to 4 bytes. */
#ifndef FQT_DOT_H
#define FQT_DOT_H

#include <stdint.h>
#include <string.h>

#include "../variant.h"
#include "simd.h"

struct fqt_dots {
    int32_t a0, a1, b0, b1; /* weights a, b times windows 0, 1 */
};

struct fqt_dots4 {
    int32_t a, b, c, d; /* four rows of weights times one window */
};

#if FQT_DSP

/* window = x - zero, each group of four stored 0, 2, 1, 3; returns the sum. x may lie in the upper half of the window's
 * own 2n bytes: every word is read before it is written over. 2.75 instructions a value. */
static inline int32_t fqt_widen(int16_t *window, const uint8_t *x, uint32_t n, uint32_t zero)
{
    uint32_t zeros = zero | zero << 16;
    int32_t sum = 0;
    for (const uint8_t *end = x + n; x != end; x += 4, window += 4) {
        uint32_t word = fqt_word(x);
        uint32_t even = fqt_subtract_pairs(fqt_even_bytes(word), zeros);
        uint32_t odd = fqt_subtract_pairs(fqt_odd_bytes(word), zeros);
        sum = fqt_smlad(even, FQT_PAIR_OF_ONES, sum);
        sum = fqt_smlad(odd, FQT_PAIR_OF_ONES, sum);
        memcpy(window, &even, sizeof even);
        memcpy(window + 2, &odd, sizeof odd);
    }
    return sum;
}

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
static inline struct fqt_dots fqt_dot_2x2(const uint8_t *a, const uint8_t *b, const int16_t *window0,
                                          const int16_t *window1, uint32_t n)
{
    struct fqt_dots d = {0, 0, 0, 0};
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
static inline struct fqt_dots4 fqt_dot_4x1(const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d,
                                           const int16_t *window, uint32_t n)
{
    struct fqt_dots4 sums = {0, 0, 0, 0};
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

#else

static inline int32_t fqt_widen(int16_t *window, const uint8_t *x, uint32_t n, uint32_t zero)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        int32_t value = x[i] - (int32_t)zero;
        window[i] = (int16_t)value;
        sum += value;
    }
    return sum;
}

static inline struct fqt_dots fqt_dot_2x2(const uint8_t *a, const uint8_t *b, const int16_t *window0,
                                          const int16_t *window1, uint32_t n)
{
    struct fqt_dots d = {0, 0, 0, 0};
    for (uint32_t i = 0; i < n; i++) {
        int32_t x0 = window0[i], x1 = window1[i];
        d.a0 += a[i] * x0;
        d.a1 += a[i] * x1;
        d.b0 += b[i] * x0;
        d.b1 += b[i] * x1;
    }
    return d;
}

static inline struct fqt_dots4 fqt_dot_4x1(const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d,
                                           const int16_t *window, uint32_t n)
{
    struct fqt_dots4 sums = {0, 0, 0, 0};
    for (uint32_t i = 0; i < n; i++) {
        sums.a += a[i] * window[i];
        sums.b += b[i] * window[i];
        sums.c += c[i] * window[i];
        sums.d += d[i] * window[i];
    }
    return sums;
}

#endif

#endif
