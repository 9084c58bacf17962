/* Pieces of Armv6-M assembly that several kernels have in their rounds. */
#ifndef FQT_ARMV6M_H
#define FQT_ARMV6M_H

#include "../arithmetic.h"

#if FQT_ARMV6M

/* t = the next of the sums at [sums], scaled and rounded: fqt_scale_rounded by m, with c and shift of fqt_sum_scale.
 * Overwrites u. 9 instructions, 10 cycles. */
#define FQT_SCALED_SUM(t, u)                                                                                           \
    "ldm %[sums]!, {" t "}\n\t"                                                                                        \
    "asrs " u ", " t ", #16\n\t"                                                                                       \
    "muls " u ", %[m], " u "\n\t"                                                                                      \
    "uxth " t ", " t "\n\t"                                                                                            \
    "muls " t ", %[m], " t "\n\t"                                                                                      \
    "lsrs " t ", #16\n\t"                                                                                              \
    "adds " t ", " t ", " u "\n\t"                                                                                     \
    "add " t ", %[c]\n\t"                                                                                              \
    "asrs " t ", %[shift]\n\t"

struct fqt_sum_scale {
    int32_t m, c, shift;
};

/* `more` is added to the scaled sum; at most 2048. */
static inline struct fqt_sum_scale fqt_sum_scale_of(struct fqt_multiplier by, int32_t more)
{
    return (struct fqt_sum_scale){by.m, (1 << (by.shift - 17)) + more * (1 << (by.shift - 16)), by.shift - 16};
}

#endif

#endif
