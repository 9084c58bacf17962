/* Inner products of uint8 weights with centred windows of int16.
 *
 * A window's int16 values lie in an order of the variant's own: whoever fills it with fqt_widen reads it with
 * fqt_dot_2x2. `n` is a multiple of 4; windows and weights are aligned to 4 bytes. */
#ifndef FQT_DOT_H
#define FQT_DOT_H

#include <stdint.h>
#include <string.h>

struct fqt_dots {
    int32_t a0, a1, b0, b1; /* weights a, b times windows 0, 1 */
};

#if defined(__ARM_FEATURE_DSP)

static inline uint32_t fqt_word(const void *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline uint32_t fqt_even_bytes(uint32_t word)
{
    uint32_t result;
    __asm__("uxtb16 %0, %1" : "=r"(result) : "r"(word));
    return result;
}

static inline uint32_t fqt_odd_bytes(uint32_t word)
{
    uint32_t result;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
    return result;
}

static inline int32_t fqt_smlad(uint32_t x, uint32_t y, int32_t acc)
{
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
}

static inline uint32_t fqt_subtract_pairs(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm__("ssub16 %0, %1, %2" : "=r"(result) : "r"(x), "r"(y));
    return result;
}

/* Position of value i in a window: each group of four is stored 0, 2, 1, 3. */
static inline uint32_t fqt_position(uint32_t i)
{
    return (i & ~3u) | ((i & 1u) << 1) | ((i >> 1) & 1u);
}

/* window[start .. start+n) = x - zero; start and n are multiples of 4. Returns the sum. */
static inline int32_t fqt_widen(int16_t *window, const uint8_t *x, uint32_t n, uint32_t zero)
{
    uint32_t zeros = zero | zero << 16;
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i += 4u) {
        uint32_t word = fqt_word(x + i);
        uint32_t even = fqt_subtract_pairs(fqt_even_bytes(word), zeros);
        uint32_t odd = fqt_subtract_pairs(fqt_odd_bytes(word), zeros);
        sum = fqt_smlad(even, 0x00010001u, sum);
        sum = fqt_smlad(odd, 0x00010001u, sum);
        memcpy(window + i, &even, sizeof even);
        memcpy(window + i + 2, &odd, sizeof odd);
    }
    return sum;
}

static inline struct fqt_dots fqt_dot_2x2(const uint8_t *a, const uint8_t *b, const int16_t *window0,
                                          const int16_t *window1, uint32_t n)
{
    struct fqt_dots d = {0, 0, 0, 0};
    for (uint32_t i = 0; i < n; i += 4u) {
        uint32_t word_a = fqt_word(a + i), word_b = fqt_word(b + i);
        uint32_t even_a = fqt_even_bytes(word_a), odd_a = fqt_odd_bytes(word_a);
        uint32_t even_b = fqt_even_bytes(word_b), odd_b = fqt_odd_bytes(word_b);
        uint32_t even_0 = fqt_word(window0 + i), odd_0 = fqt_word(window0 + i + 2);
        uint32_t even_1 = fqt_word(window1 + i), odd_1 = fqt_word(window1 + i + 2);
        d.a0 = fqt_smlad(even_a, even_0, d.a0);
        d.a1 = fqt_smlad(even_a, even_1, d.a1);
        d.b0 = fqt_smlad(even_b, even_0, d.b0);
        d.b1 = fqt_smlad(even_b, even_1, d.b1);
        d.a0 = fqt_smlad(odd_a, odd_0, d.a0);
        d.a1 = fqt_smlad(odd_a, odd_1, d.a1);
        d.b0 = fqt_smlad(odd_b, odd_0, d.b0);
        d.b1 = fqt_smlad(odd_b, odd_1, d.b1);
    }
    return d;
}

#else

static inline uint32_t fqt_position(uint32_t i)
{
    return i;
}

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

#endif

#endif
