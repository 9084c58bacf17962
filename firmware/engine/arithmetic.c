#include "arithmetic.h"

#if defined(__arm__) && !defined(__ARM_FP)
#define FQT_SQRT_INTEGER
#endif
#if !defined(FQT_SQRT_INTEGER)
#include <math.h>
#endif

struct fqt_multiplier fqt_multiplier_of(float value, int32_t min_shift, int32_t max_shift)
{
    uint32_t bits = fqt_float_bits(value);
    int32_t shift = 141 - (int32_t)(bits >> 23);
    int32_t m = (int32_t)((((bits & 0x7FFFFFu) | 0x800000u) + 256u) >> 9);
    if (m == 1 << 15) {
        m = 1 << 14;
        shift -= 1;
    }
    if (shift < min_shift) {
        return (struct fqt_multiplier){(1 << 15) - 1, min_shift};
    }
    if (shift > max_shift) {
        int32_t excess = shift - max_shift;
        m = excess > 15 ? 0 : (m + (1 << (excess - 1))) >> excess;
        shift = max_shift;
    }
    return (struct fqt_multiplier){m, shift};
}

struct fqt_common_multipliers fqt_common_multipliers_of(float first, float second)
{
    struct fqt_multiplier a = fqt_multiplier_of(first, FQT_SUM_MIN_SHIFT, FQT_SUM_MAX_SHIFT);
    struct fqt_multiplier b = fqt_multiplier_of(second, FQT_SUM_MIN_SHIFT, FQT_SUM_MAX_SHIFT);
    struct fqt_multiplier *smaller = a.shift > b.shift ? &a : &b;
    int32_t shift = a.shift < b.shift ? a.shift : b.shift;
    int32_t excess = smaller->shift - shift;
    if (excess > 0) {
        smaller->m = excess > 15 ? 0 : (smaller->m + (1 << (excess - 1))) >> excess;
    }
    return (struct fqt_common_multipliers){a.m, b.m, shift};
}

int32_t fqt_round_to_int(float value)
{
    float clamped = value > -4194303.0f ? value : -4194303.0f;
    clamped = clamped < 4194303.0f ? clamped : 4194303.0f;
    return (int32_t)((clamped + 12582912.0f) - 12582912.0f);
}

float fqt_exp_nonpositive(float x)
{
    if (!(x >= -87.0f)) { /* a NaN too */
        return 0.0f;
    }
    x = x < 0.0f ? x : 0.0f; /* logits that are not finite may give more */
    /* x = n ln 2 + r; ln 2 in two parts, the first of 9 bits so that n * part is exact */
    float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    float r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * fqt_power_of_two((int32_t)n);
}

float fqt_log(float x)
{
    uint32_t bits = fqt_float_bits(x);
    int32_t exponent = (int32_t)(bits >> 23) - 127;
    float m = fqt_float_from_bits((bits & 0x7FFFFFu) | 0x3F800000u);
    if (m > 1.41421356f) {
        m = m * 0.5f;
        exponent += 1;
    }
    float t = (m - 1.0f) / (m + 1.0f);
    float square = t * t;
    float p = 2.0f / 9.0f;
    p = p * square + 2.0f / 7.0f;
    p = p * square + 2.0f / 5.0f;
    p = p * square + 2.0f / 3.0f;
    p = p * square + 2.0f;
    return (float)exponent * 0.69314718f + p * t;
}

#if defined(FQT_SQRT_INTEGER)
/* Where there is no FPU and so no instruction: digit by digit, two bits of the radicand for one of the root.
 *
 * x = m * 2^e with e even and 2^24 <= m < 2^26. The root of m * 2^24 has 25 bits, one more than a float. It is rounded by
 * that bit alone: a tie would be an odd root whose square is m * 2^24, and an odd number's square is odd. */
static uint32_t root_25_bits(uint32_t m)
{
    uint32_t root = 0, rest = 0; /* root < 2^25, rest <= 2 * root */
    for (int32_t digit = 0; digit < 25; digit++) {
        rest = rest << 2 | m >> 30;
        m <<= 2;
        const uint32_t trial = root << 2 | 1u;
        root <<= 1;
        if (rest >= trial) {
            rest -= trial;
            root |= 1u;
        }
    }
    return root;
}

float fqt_sqrt(float x)
{
    const uint32_t bits = fqt_float_bits(x);
    if (bits << 1 == 0 || bits == 0x7F800000u) { /* either zero, infinity */
        return x;
    }
    if (bits > 0x7F800000u) { /* negative or a NaN */
        return fqt_float_from_bits(0x7FC00000u);
    }
    int32_t exponent = (int32_t)(bits >> 23);
    uint32_t mantissa = bits & 0x7FFFFFu;
    if (exponent == 0) {
        for (exponent = 1; mantissa >> 23 == 0; exponent--) {
            mantissa <<= 1;
        }
    } else {
        mantissa |= 0x800000u;
    }
    const int32_t shift = (exponent & 1) != 0 ? 1 : 2;
    const uint32_t root = root_25_bits(mantissa << shift << 6); /* m's 26 bits to the top; 24 zeros follow */
    const int32_t result_exponent = 139 + (exponent - 150 - shift) / 2;
    return fqt_float_from_bits(((uint32_t)(result_exponent - 1) << 23) + ((root + 1u) >> 1));
}
#else
float fqt_sqrt(float x)
{
    return sqrtf(x);
}
#endif
