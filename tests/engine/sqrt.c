/* Compare the square root in integers with the host's IEEE one: all mantissas of an even and an odd exponent, each exponent with a
 * few mantissas, all powers of two below the normal numbers with their neighbours, and what is no number. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "arithmetic.h"

static uint32_t wrong;

static void check(uint32_t bits)
{
    const float x = fqt_float_from_bits(bits);
    const float expected = sqrtf(x), found = fqt_sqrt(x);
    const int same = isnan(expected) ? isnan(found) : fqt_float_bits(expected) == fqt_float_bits(found);
    if (!same && wrong++ < 10)
        printf("sqrt of 0x%08X: 0x%08X instead of 0x%08X\n", bits, fqt_float_bits(found), fqt_float_bits(expected));
}

int main(void)
{
    for (uint32_t mantissa = 0; mantissa < 1u << 23; mantissa++) {
        check(127u << 23 | mantissa);
        check(128u << 23 | mantissa);
        check(mantissa); /* subnormal */
    }
    for (uint32_t exponent = 0; exponent < 512u; exponent++) /* the sign bit with them */
        for (uint32_t i = 0; i < 1000u; i++)
            check(exponent << 23 | i * 0x20C5u % (1u << 23));
    if (wrong != 0)
        printf("%u wrong\n", wrong);
    return wrong != 0;
}
