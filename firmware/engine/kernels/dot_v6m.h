/* Inner product for Armv6-M, which multiplies 32 bits by 32 in a cycle and has no SIMD: a word holds a value of two
 * windows, so that one multiplication makes two products.
 *
 * A pair of windows is x_first | x_second << 16 a tap, bytes as they are: with a weight byte w the product is
 * w*x_first + (w*x_second << 16), both parts below 2^16. F sums the products modulo 2^32, H their upper halves; then
 * the first window's sum is F - (H << 16), exact modulo 2^32, and H the second's. */
#ifndef FQT_DOT_V6M_H
#define FQT_DOT_V6M_H

#include <stdint.h>

#include "../variant.h"

#if FQT_ARMV6M

struct fqt_dots {
    int32_t a0, a1, b0, b1; /* rows a, b times windows 0, 1 */
};

/* A tap of two rows: 10 instructions, 12 cycles, 4 MACs. */
#define FQT_TAP(offset, pair)                                                                                           \
    "ldrb r3, [r1, #" offset "]\n\t"                                                                                \
    "muls r3, " pair "\n\t"                                                                                         \
    "add r8, r3\n\t"                                                                                                \
    "lsrs r3, r3, #16\n\t"                                                                                          \
    "add r9, r3\n\t"                                                                                                \
    "ldrb r3, [r2, #" offset "]\n\t"                                                                                \
    "muls r3, " pair "\n\t"                                                                                         \
    "add r10, r3\n\t"                                                                                               \
    "lsrs r3, r3, #16\n\t"                                                                                          \
    "add r11, r3\n\t"

#define FQT_FOUR_TAPS(a, b, c, d) "ldmia r0!, {r4, r5, r6, r7}\n\t" FQT_TAP(a, "r4") FQT_TAP(b, "r5") FQT_TAP(c, "r6") FQT_TAP(d, "r7")

#define FQT_CLEAR_SUMS                                                                                                  \
    "mov r8, r4\n\t"                                                                                                \
    "mov r9, r4\n\t"                                                                                                \
    "mov r10, r4\n\t"                                                                                               \
    "mov r11, r4\n\t"

/* Eight taps a turn, an odd four of them first: 86 instructions, 111 cycles, 32 MACs. */
static inline struct fqt_dots fqt_dot_2x2(const uint8_t *row_a, const uint8_t *row_b, const uint32_t *pairs, uint32_t n)
{
    register const uint32_t *x __asm__("r0") = pairs;
    register const uint8_t *a __asm__("r1") = row_a;
    register const uint8_t *b __asm__("r2") = row_b;
    register uint32_t fa __asm__("r8");
    register uint32_t ha __asm__("r9");
    register uint32_t fb __asm__("r10");
    register uint32_t hb __asm__("r11");
    register const uint32_t *end __asm__("r12") = pairs + n;
    register uint32_t fours __asm__("r3") = n >> 2;
    __asm__ volatile(".syntax unified\n\t"
                     "movs r4, #0\n\t" FQT_CLEAR_SUMS "lsrs r3, r3, #1\n\t"
                     "bcc 1f\n\t"
                     "subs r1, #4\n\t"
                     "subs r2, #4\n\t"
                     "b 2f\n"
                     "1:\n\t" FQT_FOUR_TAPS("0", "1", "2", "3") "2:\n\t" FQT_FOUR_TAPS("4", "5", "6", "7")
                     "adds r1, #8\n\t"
                     "adds r2, #8\n\t"
                     "cmp r0, r12\n\t"
                     "bne 1b"
                     : "+r"(x), "+r"(a), "+r"(b), "+r"(fours), "=r"(fa), "=r"(ha), "=r"(fb), "=r"(hb)
                     : "r"(end)
                     : "r4", "r5", "r6", "r7", "cc", "memory");
    return (struct fqt_dots){(int32_t)(fa - (ha << 16)), (int32_t)ha, (int32_t)(fb - (hb << 16)), (int32_t)hb};
}

#endif

#endif
