/* Sums of floats side by side in the FPU's registers: what is loaded serves several of them, and no addition waits for
 * the one before it. Each sum is a chain of its own, in the order of float32.c; a product is rounded before it is added. */
#ifndef FQT_FLOAT_SUMS_H
#define FQT_FLOAT_SUMS_H

#include <stdint.h>

#include "../variant.h"

#if FQT_FPU

/* s += a * b, four times; a product may take the place of a factor that is needed no more. VMLA rounds the product as
 * VMUL does (Armv7-M ARM, DDI 0403, VMLA: FPAdd(S[d], FPMul(S[n], S[m])); VFMA alone is fused), and with
 * -ffp-contract=off the compiler takes it for a * b + c itself. It is one issue instead of two on a Cortex-M7, but 3 cycles
 * instead of 2 on a Cortex-M4 (ARM 100166, table 7-1), where a result waits a cycle if the next instruction needs it:
 * hence fours. */
#if FQT_FPU_VMLA
#define FQT_FLOAT_MAC_4(s0, a0, b0, t0, s1, a1, b1, t1, s2, a2, b2, t2, s3, a3, b3, t3) \
    FQT_FLOAT_VMLA_4(s0, a0, b0, s1, a1, b1, s2, a2, b2, s3, a3, b3)
#else
#define FQT_FLOAT_MAC_4(s0, a0, b0, t0, s1, a1, b1, t1, s2, a2, b2, t2, s3, a3, b3, t3) \
    "vmul.f32 " t0 ", " a0 ", " b0 "\n\t"                                               \
    "vmul.f32 " t1 ", " a1 ", " b1 "\n\t"                                               \
    "vmul.f32 " t2 ", " a2 ", " b2 "\n\t"                                               \
    "vmul.f32 " t3 ", " a3 ", " b3 "\n\t"                                               \
    "vadd.f32 " s0 ", " s0 ", " t0 "\n\t"                                               \
    "vadd.f32 " s1 ", " s1 ", " t1 "\n\t"                                               \
    "vadd.f32 " s2 ", " s2 ", " t2 "\n\t"                                               \
    "vadd.f32 " s3 ", " s3 ", " t3 "\n\t"
#endif

#define FQT_FLOAT_VMLA_4(s0, a0, b0, s1, a1, b1, s2, a2, b2, s3, a3, b3) \
    "vmla.f32 " s0 ", " a0 ", " b0 "\n\t"                                \
    "vmla.f32 " s1 ", " a1 ", " b1 "\n\t"                                \
    "vmla.f32 " s2 ", " a2 ", " b2 "\n\t"                                \
    "vmla.f32 " s3 ", " a3 ", " b3 "\n\t"

/* Four sums += x times one tap of each of 4 others. */
#define FQT_FLOAT_TAP(x, a, b, c, d, s0, s1, s2, s3) \
    FQT_FLOAT_MAC_4(s0, a, x, "s28", s1, b, x, "s29", s2, c, x, "s30", s3, d, x, "s31")

/* One tap of a window times those of 4 filters, in s16 to s19. */
#define FQT_FLOAT_WINDOW(window, s0, s1, s2, s3) \
    "vldmia %[" window "]!, {s20}\n\t" FQT_FLOAT_TAP("s20", "s16", "s17", "s18", "s19", s0, s1, s2, s3)

/* acc(4 windows, 4 filters) += 4 windows of n values times 4 rows of n weights, n > 0. */
static inline void fqt_float_dot_4x4(const float *x, uint32_t next_window, const float *w, uint32_t next_filter,
                                     uint32_t n, float acc[16])
{
    const float *w1 = w + next_filter, *w2 = w1 + next_filter, *w3 = w2 + next_filter;
    const float *x1 = x + next_window, *x2 = x1 + next_window, *x3 = x2 + next_window;
    __asm__ volatile("vldmia %[acc], {s0-s15}\n"
                     "1:\n\t"
                     "vldmia %[w0]!, {s16}\n\t"
                     "vldmia %[w1]!, {s17}\n\t"
                     "vldmia %[w2]!, {s18}\n\t"
                     "vldmia %[w3]!, {s19}\n\t"
                     FQT_FLOAT_WINDOW("x0", "s0", "s1", "s2", "s3")
                     FQT_FLOAT_WINDOW("x1", "s4", "s5", "s6", "s7")
                     FQT_FLOAT_WINDOW("x2", "s8", "s9", "s10", "s11")
                     FQT_FLOAT_WINDOW("x3", "s12", "s13", "s14", "s15")
                     "subs %[n], #1\n\t"
                     "bne 1b\n\t"
                     "vstmia %[acc], {s0-s15}"
                     : [w0] "+r"(w), [w1] "+r"(w1), [w2] "+r"(w2), [w3] "+r"(w3), [x0] "+r"(x), [x1] "+r"(x1),
                       [x2] "+r"(x2), [x3] "+r"(x3), [n] "+r"(n)
                     : [acc] "r"(acc)
                     : "cc", "memory", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
                       "s12", "s13", "s14", "s15", "s16", "s17", "s18", "s19", "s20", "s28", "s29", "s30", "s31");
}

/* acc[k] += `one` times 4 others, n taps. */
static inline void fqt_float_dot_1x4(const float *one, const float *others, uint32_t next, uint32_t n, float acc[4])
{
    const float *b = others + next, *c = b + next, *d = c + next;
    __asm__ volatile("vldmia %[acc], {s0-s3}\n\t"
                     "subs %[n], #4\n\t"
                     "blo 2f\n"
                     "1:\n\t"
                     "vldmia %[one]!, {s4-s7}\n\t"
                     "vldmia %[a]!, {s8-s11}\n\t"
                     "vldmia %[b]!, {s12-s15}\n\t"
                     "vldmia %[c]!, {s16-s19}\n\t"
                     "vldmia %[d]!, {s20-s23}\n\t"
                     FQT_FLOAT_TAP("s4", "s8", "s12", "s16", "s20", "s0", "s1", "s2", "s3")
                     FQT_FLOAT_TAP("s5", "s9", "s13", "s17", "s21", "s0", "s1", "s2", "s3")
                     FQT_FLOAT_TAP("s6", "s10", "s14", "s18", "s22", "s0", "s1", "s2", "s3")
                     FQT_FLOAT_TAP("s7", "s11", "s15", "s19", "s23", "s0", "s1", "s2", "s3")
                     "subs %[n], #4\n\t"
                     "bhs 1b\n"
                     "2:\n\t"
                     "adds %[n], #4\n\t"
                     "beq 4f\n"
                     "3:\n\t"
                     "vldmia %[one]!, {s4}\n\t"
                     "vldmia %[a]!, {s8}\n\t"
                     "vldmia %[b]!, {s12}\n\t"
                     "vldmia %[c]!, {s16}\n\t"
                     "vldmia %[d]!, {s20}\n\t"
                     FQT_FLOAT_VMLA_4("s0", "s4", "s8", "s1", "s4", "s12", "s2", "s4", "s16", "s3", "s4", "s20")
                     "subs %[n], #1\n\t"
                     "bne 3b\n"
                     "4:\n\t"
                     "vstmia %[acc], {s0-s3}"
                     : [one] "+r"(one), [a] "+r"(others), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [n] "+r"(n)
                     : [acc] "r"(acc)
                     : "cc", "memory", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
                       "s12", "s13", "s14", "s15", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s28",
                       "s29", "s30", "s31");
}

/* An error, and the row of values that it multiplies. */
struct fqt_term {
    float e;
    const float *row;
};

#define FQT_FLOAT_WIDTH 16u /* sums in registers */

/* Sums += 4 values times s16. */
#define FQT_FLOAT_TIMES_E(s0, v0, s1, v1, s2, v2, s3, v3) \
    FQT_FLOAT_MAC_4(s0, v0, "s16", v0, s1, v1, "s16", v1, s2, v2, "s16", v2, s3, v3, "s16", v3)

#define FQT_FLOAT_EIGHT(s0, s1, s2, s3, s4, s5, s6, s7)                                           \
    "vldmia %[row]!, {s17-s24}\n\t" FQT_FLOAT_TIMES_E(s0, "s17", s1, "s18", s2, "s19", s3, "s20") \
        FQT_FLOAT_TIMES_E(s4, "s21", s5, "s22", s6, "s23", s7, "s24")

/* sums(16) += e * row(16) from its element `from` on, term by term. */
static inline void fqt_float_add_terms(const struct fqt_term *term, uint32_t n_terms, uint32_t from, float *sums)
{
    const uint32_t bytes = 4u * from;
    uint32_t row;
    __asm__ volatile("vldmia %[sums], {s0-s15}\n"
                     "1:\n\t"
                     "vldmia %[term]!, {s16}\n\t"
                     "ldr %[row], [%[term]], #4\n\t"
                     "subs %[left], #1\n\t"
                     "add %[row], %[bytes]\n\t"
                     FQT_FLOAT_EIGHT("s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7")
                     FQT_FLOAT_EIGHT("s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15")
                     "bne 1b\n\t"
                     "vstmia %[sums], {s0-s15}"
                     : [term] "+r"(term), [left] "+r"(n_terms), [row] "=&r"(row)
                     : [sums] "r"(sums), [bytes] "r"(bytes)
                     : "cc", "memory", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
                       "s12", "s13", "s14", "s15", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24");
}

#endif

#endif
