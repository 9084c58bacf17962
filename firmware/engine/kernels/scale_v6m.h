/* Requantization on Armv6-M, which has no product of 64 bits. */
#ifndef FQT_SCALE_V6M_H
#define FQT_SCALE_V6M_H

#include "../internal.h"

#if FQT_ARMV6M

/* What becomes of a sum: clamp(zero + (acc*m + half) >> S, lowest, highest) = lowest + clamp(v, 0, span), where
 * v = ((acc >> 16)*m + ((acc & 0xFFFF)*m >> 16) + added) >> shift. */
struct fqt_scale {
    int32_t m, shift, added;
    uint32_t span, lowest;
};

static inline struct fqt_scale fqt_scale_of(struct fqt_multiplier by, int32_t zero, int32_t lowest, int32_t highest)
{
    int32_t shift = by.shift - 16;
    int32_t added = ((1 << shift) >> 1) + (zero - lowest) * (1 << shift);
    return (struct fqt_scale){by.m, shift, added, (uint32_t)(highest - lowest), (uint32_t)lowest};
}

/* 11 instructions, 15 where it is clamped. */
static inline uint32_t fqt_scaled(struct fqt_scale s, int32_t acc)
{
    uint32_t t;
    __asm__(".syntax unified\n\t"
            "uxth %[t], %[acc]\n\t"
            "asrs %[acc], %[acc], #16\n\t"
            "muls %[t], %[m]\n\t"
            "muls %[acc], %[m]\n\t"
            "lsrs %[t], %[t], #16\n\t"
            "adds %[acc], %[acc], %[t]\n\t"
            "add %[acc], %[added]\n\t"
            "asrs %[acc], %[shift]\n\t"
            "cmp %[acc], %[span]\n\t"
            "bls 1f\n\t"
            "mvns %[t], %[acc]\n\t"
            "asrs %[t], %[t], #31\n\t" /* 0 below, else all ones */
            "mov %[acc], %[span]\n\t"
            "ands %[acc], %[t]\n"
            "1:"
            : [acc] "+l"(acc), [t] "=&l"(t)
            : [m] "l"(s.m), [shift] "l"(s.shift), [added] "h"(s.added), [span] "h"(s.span)
            : "cc");
    return (uint32_t)acc + s.lowest;
}

#endif

#endif
