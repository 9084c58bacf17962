/* Grey images' cells and errors for Armv6-M: a word holds a cell, or errors of two filters, 16 bits apart, so that one
 * multiplication makes products of both. */
#include "grey.h"

#if FQT_ARMV6M

void fqt_spread_cells(uint32_t *to, const uint8_t *x, uint32_t n, uint32_t stride, int32_t x_zero)
{
    (void)x_zero;
    for (n *= 2u; n != 0; n--, x += stride) {
        uint32_t a = x[0], b = x[1], c = x[2];
        *to++ = a - FQT_GREY_CELL_ZERO(x_zero);
        *to++ = b - FQT_GREY_CELL_ZERO(x_zero);
        *to++ = c - FQT_GREY_CELL_ZERO(x_zero);
    }
}

/* Both errors of a pair of filters, a word's bytes 0 and 2: the first one + (the second one << 16), modulo 2^32. */
static inline uint32_t error_pair(uint32_t word)
{
    return (word & 0xff00ffu) - FQT_ERROR_ZERO * 0x10001u;
}

static __attribute__((noinline)) void add_sums(int32_t *sums, uint32_t pair)
{
    int32_t low = (int16_t)pair;
    sums[0] += low;
    sums[2] += (int32_t)(pair - (uint32_t)low) >> 16;
}

uint32_t *fqt_spread_errors(uint32_t *to, const uint8_t *errors, uint32_t n, uint32_t pitch, int32_t *sums)
{
    uint32_t even = 0, odd = 0;
    for (uint32_t *end = to + 2u * n; to != end; errors += pitch) {
        uint32_t word = *(const uint32_t *)(const void *)errors, pair = error_pair(word), other = error_pair(word >> 8);
        even += pair;
        odd += other;
        *to++ = pair;
        *to++ = other;
    }
    if ((n & 1u) != 0) {
        *to++ = 0;
        *to++ = 0;
    }
    add_sums(sums, even);
    add_sums(sums + 1, odd);
    return to;
}

/* Two products of each filter in `both`, the second one's 16 bits higher: with r2 = 2^15 the first one's is not negative, and
 * borrows nothing from the second one's, which is added to H; and both, modulo 2^32, to F. */
#define ADD(both, f, h)                                                                                             \
    "adds " both ", " both ", r2\n\t"                                                                               \
    "add " f ", " both "\n\t"                                                                                       \
    "asrs " both ", " both ", #16\n\t"                                                                              \
    "add " h ", " both "\n\t"

/* 30 instructions, 12 MACs. */
#define PAIR                                                                                                        \
    "ldr r1, [r7]\n\t"                                                                                              \
    "ldr r2, [r7, #8]\n\t"                                                                                          \
    "adds r7, #16\n\t"                                                                                              \
    "ldmia r0!, {r3, r4, r5}\n\t"                                                                                   \
    "muls r3, r1, r3\n\t"                                                                                           \
    "muls r4, r1, r4\n\t"                                                                                           \
    "muls r5, r1, r5\n\t"                                                                                           \
    "ldmia r0!, {r1, r6}\n\t"                                                                                       \
    "muls r1, r2, r1\n\t"                                                                                           \
    "muls r6, r2, r6\n\t"                                                                                           \
    "adds r3, r3, r1\n\t"                                                                                           \
    "adds r4, r4, r6\n\t"                                                                                           \
    "ldmia r0!, {r1}\n\t"                                                                                           \
    "muls r1, r2, r1\n\t"                                                                                           \
    "adds r5, r5, r1\n\t"                                                                                           \
    "movs r2, #128\n\t"                                                                                             \
    "lsls r2, r2, #8\n\t" ADD("r3", "r8", "r11") ADD("r4", "r9", "r12") ADD("r5", "r10", "lr")

/* The rows of both filters, at r2 and r4: H begins with the second one's sum, F with the first one's and what H's takes from it
 * in the end, less what r2 adds to it. */
#define BEGIN(at, f, h)                                                                                             \
    "ldr r6, [r4, #" at "]\n\t"                                                                                     \
    "mov " h ", r6\n\t"                                                                                             \
    "lsls r6, r6, #16\n\t"                                                                                          \
    "ldr r3, [r2, #" at "]\n\t"                                                                                     \
    "adds r6, r6, r3\n\t"                                                                                           \
    "subs r6, r6, r5\n\t"                                                                                           \
    "mov " f ", r6\n\t"

#define END(at, f, h)                                                                                               \
    "mov r6, " h "\n\t"                                                                                             \
    "str r6, [r4, #" at "]\n\t"                                                                                     \
    "lsls r6, r6, #16\n\t"                                                                                          \
    "mov r3, " f "\n\t"                                                                                             \
    "subs r3, r3, r6\n\t"                                                                                           \
    "str r3, [r2, #" at "]\n\t"

/* A pair of pixels a turn. On the stack: the end of the errors, and both rows. */
void fqt_add_grey(const uint32_t *errors, const uint32_t *cells, uint32_t n, int32_t *row, uint32_t apart)
{
    register const uint32_t *x __asm__("r0") = cells;
    register const uint32_t *end __asm__("r1") = errors + n * FQT_GREY_ERROR_WORDS;
    register int32_t *first __asm__("r2") = row;
    register const uint32_t *e __asm__("r3") = errors;
    register int32_t *second __asm__("r4") = row + apart;
    register uint32_t added __asm__("r5") = n << 15;
    __asm__ volatile(".syntax unified\n\t"
                     "push {r1, r2, r4}\n\t"
                     "mov r7, r3\n\t" BEGIN("0", "r8", "r11") BEGIN("4", "r9", "r12") BEGIN("8", "r10", "lr")
                     "\n"
                     "1:\n\t" PAIR "ldr r1, [sp]\n\t"
                     "cmp r7, r1\n\t"
                     "blo 1b\n\t"
                     "pop {r1, r2, r4}\n\t" END("0", "r8", "r11") END("4", "r9", "r12") END("8", "r10", "lr")
                     : "+r"(x), "+r"(end), "+r"(first), "+r"(e), "+r"(second), "+r"(added)
                     :
                     : "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

#endif
