#include "importance.h"

#include "dense.h"
#include "simd.h"

static uint32_t weigh_filter(const uint8_t *error, uint32_t windows, uint32_t filters)
{
    uint32_t sum = 0;
    for (const uint8_t *end = error + windows * filters; error < end; error += filters) {
        int32_t e = *error - FQT_ERROR_ZERO;
        sum += (uint32_t)(e < 0 ? -e : e);
    }
    return sum;
}

#if FQT_DSP

#define MOST_WINDOWS 511u /* a sum of |e - 128| <= 128 that a halfword holds */

/* Adds to four filters' sums those of at most MOST_WINDOWS windows. */
static void weigh_four(const uint8_t *error, uint32_t windows, uint32_t filters, uint32_t *importance)
{
    uint32_t even = 0, odd = 0;
    for (const uint8_t *end = error + windows * filters; error != end; error += filters) {
        uint32_t magnitudes = fqt_byte_magnitudes(fqt_word(error), FQT_ERROR_ZERO * 0x01010101u);
        even = fqt_add_even_bytes(even, magnitudes);
        odd = fqt_add_odd_bytes(odd, magnitudes);
    }
    importance[0] += even & 0xFFFFu;
    importance[1] += odd & 0xFFFFu;
    importance[2] += even >> 16;
    importance[3] += odd >> 16;
}

#endif

void fqt_weigh(const uint8_t *error, uint32_t windows, uint32_t filters, uint32_t *importance)
{
    uint32_t f = 0;
#if FQT_DSP
    for (; f + 4u <= filters; f += 4u) {
        importance[f] = importance[f + 1u] = importance[f + 2u] = importance[f + 3u] = 0;
        for (uint32_t done = 0; done < windows; done += MOST_WINDOWS) {
            uint32_t n = windows - done < MOST_WINDOWS ? windows - done : MOST_WINDOWS;
            weigh_four(error + done * filters + f, n, filters, importance + f);
        }
    }
#endif
    for (; f < filters; f++) {
        importance[f] = weigh_filter(error + f, windows, filters);
    }
}

/* A power of two, above half of the value. */
static uint32_t highest_bit(uint32_t value)
{
    uint32_t bit = 1u << 31;
    while (bit > 1u && (value & bit) == 0) {
        bit >>= 1;
    }
    return bit;
}

uint32_t fqt_threshold(const uint32_t *importance, uint32_t n, uint32_t k)
{
    uint32_t threshold = 0, any = 0;
    for (uint32_t i = 0; i < n; i++) {
        any |= importance[i];
    }
    for (uint32_t bit = highest_bit(any); bit != 0; bit >>= 1) {
        uint32_t reached = 0;
#pragma GCC unroll 4
        for (uint32_t i = 0; i < n; i++) {
            reached += importance[i] >= (threshold | bit) ? 1u : 0u;
        }
        threshold |= reached >= k ? bit : 0u;
        if (reached == k) {
            break;
        }
    }
    return threshold;
}

void fqt_amplify(uint8_t *error, uint32_t windows, uint32_t filters, uint32_t filter, int32_t m)
{
    for (uint8_t *e = error + filter, *end = e + windows * filters; e < end; e += filters) {
        int32_t amplified = ((*e - FQT_ERROR_ZERO) * m + (1 << 14)) >> 15;
        *e = (uint8_t)fqt_clamp(FQT_ERROR_ZERO + amplified, 0, 255);
    }
}
