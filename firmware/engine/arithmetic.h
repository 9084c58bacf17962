/* The scalar arithmetic of a training step; the twin of harness/fqtbench/training/arithmetic.py, bit for bit.
 *
 * Needs -ffp-contract=off: a fused multiply-add has other bits. Floats are single; the order of operations is
 * part of the contract. */
#ifndef FQT_ARITHMETIC_H
#define FQT_ARITHMETIC_H

#include <stdint.h>
#include <string.h>

#include "variant.h"

#define FQT_ERROR_ZERO 128         /* zero point of every error tensor */
#define FQT_RESIDUAL_BITS 4
#define FQT_RESIDUAL_ONE 16        /* one weight quantum in units of the residual */
#define FQT_GRADIENT_LIMIT 2047    /* of 12 bits; -2048 as well */
#define FQT_REQUANTIZE_MIN_SHIFT 17
#define FQT_REQUANTIZE_MAX_SHIFT 32
#define FQT_UPDATE_MIN_SHIFT 1
#define FQT_UPDATE_MAX_SHIFT 28
#define FQT_SUM_MIN_SHIFT 1
#define FQT_SUM_MAX_SHIFT 30
#define FQT_WIDE_MIN_SHIFT 1
#define FQT_WIDE_MAX_SHIFT 46

/* A positive real number as m * 2^-shift, 0 <= m < 2^15. */
struct fqt_multiplier {
    int32_t m;
    int32_t shift;
};

static inline uint32_t fqt_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float fqt_float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* 2^exponent, -126 <= exponent <= 127. */
static inline float fqt_power_of_two(int32_t exponent)
{
    return fqt_float_from_bits((uint32_t)(exponent + 127) << 23);
}

/* Split value > 0 into m * 2^-shift with 2^14 <= m < 2^15. Too large a value saturates at min_shift; a tiny one
 * loses bits of m at max_shift. */
struct fqt_multiplier fqt_multiplier_of(float value, int32_t min_shift, int32_t max_shift);

static inline struct fqt_multiplier fqt_requantize_multiplier(float value)
{
    return fqt_multiplier_of(value, FQT_REQUANTIZE_MIN_SHIFT, FQT_REQUANTIZE_MAX_SHIFT);
}

/* (acc * m + 2^(shift-1)) >> shift, 17 <= shift <= 32, in two 32-bit products: exact, because the low half's
 * lost bits lie below the rounding bit. */
static inline int32_t fqt_scale_rounded(int32_t acc, struct fqt_multiplier by)
{
#if FQT_DSP
    /* m << (32 - shift) < 2^30; the product's high word rounds half up */
    int32_t result;
    __asm__("smmulr %0, %1, %2" : "=r"(result) : "r"(acc), "r"(by.m << (32 - by.shift)));
    return result;
#else
    int32_t high = (acc >> 16) * by.m;
    int32_t low = (int32_t)(((uint32_t)acc & 0xFFFFu) * (uint32_t)by.m >> 16);
    return (high + low + (1 << (by.shift - 17))) >> (by.shift - 16);
#endif
}

/* Two positive real numbers as m * 2^-shift with one shift. */
struct fqt_common_multipliers {
    int32_t first, second;
    int32_t shift;
};

/* The shift is that of the larger number; the smaller one loses bits. */
struct fqt_common_multipliers fqt_common_multipliers_of(float first, float second);

static inline int32_t fqt_clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : (value > high ? high : value);
}

/* Clamp to +-(2^22 - 1), then round half to even. A NaN, which no sound image leads to, gives the lower bound. */
int32_t fqt_round_to_int(float value);

/* e^x for x <= 0; 0 below -87. */
float fqt_exp_nonpositive(float x);

/* Natural logarithm of a normal x >= 1. */
float fqt_log(float x);

/* The nearest float, ties to even. The compiler's own conversion goes through double where there is no FPU. */
static inline float fqt_float_of(uint64_t value)
{
    int32_t shift = 0;
    for (; value >> 32 != 0; shift++) {
        value = value >> 1 | (value & 1u); /* the lowest bit remembers what was lost */
    }
    return (float)(uint32_t)value * fqt_power_of_two(shift);
}

/* Square root, correctly rounded; by an instruction where there is one, else in integers. */
float fqt_sqrt(float x);

#endif
