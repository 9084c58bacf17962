/* Instructions of the Armv7E-M DSP extension, one function each, named after what they do to two halfwords or four
 * bytes of a word. Included only where the compiler offers the extension. All take one cycle. */
#ifndef FQT_SIMD_H
#define FQT_SIMD_H

#include "../variant.h"

#if FQT_DSP

#include <stdint.h>
#include <string.h>

#define FQT_PAIR_OF_ONES 0x00010001u

/* A word at any address: Armv7-M loads unaligned words. */
static inline uint32_t fqt_word(const void *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Two words aligned to 4, and on to the next. */
static inline void fqt_two_words(const uint32_t **p, uint32_t *first, uint32_t *second)
{
    __asm__("ldrd %0, %1, [%2], #8" : "=&r"(*first), "=&r"(*second), "+r"(*p) : : "memory");
}

/* A constant kept in a register: an operand beside it may be shifted. */
static inline uint32_t fqt_in_register(uint32_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

/* Bytes 0 and 2, as halfwords. */
static inline uint32_t fqt_even_bytes(uint32_t word)
{
    uint32_t result;
    __asm__("uxtb16 %0, %1" : "=r"(result) : "r"(word));
    return result;
}

/* Bytes 1 and 3, as halfwords. */
static inline uint32_t fqt_odd_bytes(uint32_t word)
{
    uint32_t result;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
    return result;
}

/* The same of signed bytes. */
static inline uint32_t fqt_signed_even_bytes(uint32_t word)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(word));
    return result;
}

static inline uint32_t fqt_signed_odd_bytes(uint32_t word)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
    return result;
}

/* acc + both products of halfwords. */
static inline int32_t fqt_smlad(uint32_t x, uint32_t y, int32_t acc)
{
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
}

/* acc + the product of both low halfwords; of the low halfword of x and the high one of y; the
 * other way round. */
static inline int32_t fqt_smlabb(uint32_t x, uint32_t y, int32_t acc)
{
    int32_t result;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
}

static inline int32_t fqt_smlabt(uint32_t x, uint32_t y, int32_t acc)
{
    int32_t result;
    __asm__("smlabt %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
}

static inline int32_t fqt_smlatb(uint32_t x, uint32_t y, int32_t acc)
{
    int32_t result;
    __asm__("smlatb %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
}

static inline uint32_t fqt_subtract_pairs(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm__("ssub16 %0, %1, %2" : "=r"(result) : "r"(x), "r"(y));
    return result;
}

/* Low halfwords of both words, the first one's below. */
static inline uint32_t fqt_low_halves(uint32_t low, uint32_t high)
{
    uint32_t result;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(low), "r"(high));
    return result;
}

/* High halfwords of both words, the first one's below. */
static inline uint32_t fqt_high_halves(uint32_t low, uint32_t high)
{
    uint32_t result;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(high), "r"(low));
    return result;
}

/* addend + the high word of x * y, rounded half up. */
static inline int32_t fqt_add_high(int32_t x, int32_t y, int32_t addend)
{
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(addend));
    return result;
}

static inline int32_t fqt_saturate_byte(int32_t value)
{
    int32_t result;
    __asm__("usat %0, #8, %1" : "=r"(result) : "r"(value));
    return result;
}

/* Saturated to 16 bits, signed. */
static inline uint32_t fqt_saturate_16(int32_t value)
{
    uint32_t result;
    __asm__("ssat %0, #16, %1" : "=r"(result) : "r"(value) : "cc");
    return result;
}

/* acc + both products of halfwords. */
static inline int64_t fqt_smlald(uint32_t x, uint32_t y, int64_t acc)
{
    __asm__("smlald %Q0, %R0, %1, %2" : "+r"(acc) : "r"(x), "r"(y));
    return acc;
}

/* Both halfwords, signed, saturated to 0..4095. */
static inline uint32_t fqt_saturate_pairs_12(uint32_t pairs)
{
    uint32_t result;
    __asm__("usat16 %0, #12, %1" : "=r"(result) : "r"(pairs) : "cc");
    return result;
}

/* acc + the high word of a product. */
static inline int32_t fqt_smmla(int32_t x, int32_t y, int32_t acc)
{
    int32_t result;
    __asm__("smmla %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
}

/* acc + x times the low halfword of y, without the product's low 16 bits. */
static inline int32_t fqt_smlawb(int32_t x, uint32_t y, int32_t acc)
{
    int32_t result;
    __asm__("smlawb %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
}

/* The same of the high halfword. */
static inline int32_t fqt_smlawt(int32_t x, uint32_t y, int32_t acc)
{
    int32_t result;
    __asm__("smlawt %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
}

/* Both sums of halfwords, saturated to 16 bits, signed. */
static inline uint32_t fqt_add_pairs_saturated(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm__("qadd16 %0, %1, %2" : "=r"(result) : "r"(x), "r"(y));
    return result;
}

/* Both differences of halfwords, saturated to 16 bits, signed. */
static inline uint32_t fqt_subtract_pairs_saturated(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm__("qsub16 %0, %1, %2" : "=r"(result) : "r"(x), "r"(y));
    return result;
}

/* sum + the distances of the four bytes. */
static inline uint32_t fqt_add_byte_distances(uint32_t x, uint32_t y, uint32_t sum)
{
    uint32_t result;
    __asm__("usada8 %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(sum));
    return result;
}

/* The larger halfwords, signed. */
static inline uint32_t fqt_larger_pairs(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm__("ssub16 %0, %1, %2\n\t" /* GE of a halfword: x >= y */
            "sel %0, %1, %2"
            : "=&r"(result)
            : "r"(x), "r"(y)
            : "cc");
    return result;
}

/* The larger bytes, and the smaller ones. */
static inline uint32_t fqt_larger_bytes(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm__("usub8 %0, %1, %2\n\t" /* GE of a byte: x >= y */
            "sel %0, %1, %2"
            : "=&r"(result)
            : "r"(x), "r"(y)
            : "cc");
    return result;
}

static inline uint32_t fqt_smaller_bytes(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm__("usub8 %0, %1, %2\n\t"
            "sel %0, %2, %1"
            : "=&r"(result)
            : "r"(x), "r"(y)
            : "cc");
    return result;
}

/* Bytes of `yes` where x >= y, unsigned, else of `no`. */
static inline uint32_t fqt_select_bytes(uint32_t x, uint32_t y, uint32_t yes, uint32_t no)
{
    uint32_t result;
    __asm__("usub8 %0, %1, %2\n\t" /* GE of a byte: x >= y */
            "sel %0, %3, %4"
            : "=&r"(result)
            : "r"(x), "r"(y), "r"(yes), "r"(no)
            : "cc");
    return result;
}

/* The smaller halfwords, signed. */
static inline uint32_t fqt_smaller_pairs(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm__("ssub16 %0, %1, %2\n\t" /* GE of a halfword: x >= y */
            "sel %0, %2, %1"
            : "=&r"(result)
            : "r"(x), "r"(y)
            : "cc");
    return result;
}

/* |byte - zero| of each byte; zero has the same byte four times. */
static inline uint32_t fqt_byte_magnitudes(uint32_t word, uint32_t zeros)
{
    uint32_t result;
    __asm__("usub8 %0, %2, %1\n\t"
            "usub8 %1, %1, %2\n\t" /* GE of a byte: it did not borrow */
            "sel %0, %1, %0"
            : "=&r"(result), "+r"(word)
            : "r"(zeros)
            : "cc");
    return result;
}

/* Pairs + bytes 0 and 2. */
static inline uint32_t fqt_add_even_bytes(uint32_t pairs, uint32_t word)
{
    uint32_t result;
    __asm__("uxtab16 %0, %1, %2" : "=r"(result) : "r"(pairs), "r"(word));
    return result;
}

/* Pairs + bytes 1 and 3. */
static inline uint32_t fqt_add_odd_bytes(uint32_t pairs, uint32_t word)
{
    uint32_t result;
    __asm__("uxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(pairs), "r"(word));
    return result;
}

/* What makes of fqt_add_even_bytes and fqt_add_odd_bytes a difference of bytes: -zero in both halves. */
static inline uint32_t fqt_minus_pair(int32_t zero)
{
    return ((uint32_t)-zero & 0xffffu) * FQT_PAIR_OF_ONES;
}

/* sum + all four bytes. */
static inline uint32_t fqt_add_bytes(uint32_t word, uint32_t sum)
{
    uint32_t result;
    __asm__("usada8 %0, %1, %2, %3" : "=r"(result) : "r"(word), "r"(0u), "r"(sum));
    return result;
}

/* count + how many bytes of `word` are zero. */
static inline uint32_t fqt_count_zero_bytes(uint32_t word, uint32_t count)
{
    uint32_t result = 0;
    __asm__("usub8 %0, %2, %1\n\t" /* GE of a byte: 0 - byte did not borrow */
            "sel %0, %3, %2\n\t"
            "usada8 %0, %0, %2, %4"
            : "=&r"(result)
            : "r"(word), "r"(0u), "r"(0x01010101u), "r"(count)
            : "cc");
    return result;
}

#endif

#endif
