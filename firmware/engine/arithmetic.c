#include "arithmetic.h"

#include <math.h>

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

float fqt_sqrt(float x)
{
    return sqrtf(x);
}
