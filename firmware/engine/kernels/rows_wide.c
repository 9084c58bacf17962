/* For the DSP extension: rows whose weights have been widened, four at a time, times two windows.
 *
 * Windows lie as rows_dsp.c has them. Of four rows each group of four taps is eight words: the even taps of each row, then the
 * odd ones, all less their zero point, so that the sums need no correction. */
#include "rows_dsp.h"

#include "simd.h"

#if FQT_DSP

/* Two taps of four rows and two windows, whose sums are in r6 to lr: step i of a round. 14 instructions, 16 MACs.
 *
 * A Cortex-M4 wants its loads side by side: 16 cycles. A Cortex-M7 issues one beside each multiplication, two cycles before its
 * word is needed: 8 cycles; r2, r3 and r4 have been loaded by the step before. Over a 3x3 pass either order takes the other
 * core more, the M4 a fifth, the M7 a third. */
#if FQT_DUAL_ISSUE

#define STEP_BUT_NEXT(i, last)                                                                                      \
    "smlad r6, r4, r2, r6\n\t"                                                                                      \
    "ldr r5, [r1, #16*" #i "+4]\n\t"                                                                                \
    "smlad r7, r4, r3, r7\n\t"                                                                                      \
    "ldr r4, [r1, #16*" #i "+8]\n\t"                                                                                \
    "smlad r8, r5, r2, r8\n\t"                                                                                      \
    "smlad r9, r5, r3, r9\n\t"                                                                                      \
    "ldr r5, [r1, #16*" #i "+12]\n\t"                                                                               \
    "smlad r10, r4, r2, r10\n\t" last

#define STEP(i)                                                                                                     \
    STEP_BUT_NEXT(i, "smlad r11, r4, r3, r11\n\t"                                                                   \
                     "ldr r4, [r1, #16*" #i "+16]\n\t"                                                              \
                     "smlad r12, r5, r2, r12\n\t"                                                                   \
                     "ldr r2, [r0, #8*" #i "+8]\n\t"                                                                \
                     "smlad lr, r5, r3, lr\n\t"                                                                     \
                     "ldr r3, [r0, #8*" #i "+12]\n\t")

#define LAST_STEP                                                                                                   \
    STEP_BUT_NEXT(7, "adds r0, #64\n\t"                                                                             \
                     "smlad r11, r4, r3, r11\n\t"                                                                   \
                     "ldr r4, [r1, #128]\n\t"                                                                       \
                     "adds r1, #128\n\t"                                                                            \
                     "smlad r12, r5, r2, r12\n\t"                                                                   \
                     "ldr r2, [r0]\n\t"                                                                             \
                     "smlad lr, r5, r3, lr\n\t"                                                                     \
                     "ldr r3, [r0, #4]\n\t"                                                                         \
                     "ldr r5, [sp, #8]\n\t"                                                                         \
                     "cmp r0, r5\n\t")

#define LOAD_FIRST                                                                                                  \
    "ldr r2, [r7]\n\t"                                                                                              \
    "ldr r3, [r7, #4]\n\t"                                                                                          \
    "ldr r4, [r1]\n\t"

#else

#define STEP(i)                                                                                                     \
    "ldr r2, [r0, #8*" #i "]\n\t"                                                                                   \
    "ldr r3, [r0, #8*" #i "+4]\n\t"                                                                                 \
    "ldr r4, [r1, #16*" #i "]\n\t"                                                                                  \
    "ldr r5, [r1, #16*" #i "+4]\n\t"                                                                                \
    "smlad r6, r4, r2, r6\n\t"                                                                                      \
    "smlad r7, r4, r3, r7\n\t"                                                                                      \
    "smlad r8, r5, r2, r8\n\t"                                                                                      \
    "smlad r9, r5, r3, r9\n\t"                                                                                      \
    "ldr r4, [r1, #16*" #i "+8]\n\t"                                                                                \
    "ldr r5, [r1, #16*" #i "+12]\n\t"                                                                               \
    "smlad r10, r4, r2, r10\n\t"                                                                                    \
    "smlad r11, r4, r3, r11\n\t"                                                                                    \
    "smlad r12, r5, r2, r12\n\t"                                                                                    \
    "smlad lr, r5, r3, lr\n\t"

#define LAST_STEP                                                                                                   \
    STEP(7)                                                                                                         \
    "adds r0, #64\n\t"                                                                                              \
    "adds r1, #128\n\t"                                                                                             \
    "ldr r5, [sp, #8]\n\t"                                                                                          \
    "cmp r0, r5\n\t"

#define LOAD_FIRST ""

#endif

#define SCALE(sum)                                                                                                  \
    "smmlar " sum ", " sum ", r4, r5\n\t"

#define CLAMP(sum)                                                                                                  \
    "usat " sum ", #8, " sum "\n\t"

/* Four bytes, in the first register. */
#define JOIN(a, b, c, d)                                                                                            \
    "orr " a ", " a ", " b ", lsl #8\n\t"                                                                           \
    "orr " c ", " c ", " d ", lsl #8\n\t"                                                                           \
    "orr " a ", " a ", " c ", lsl #16\n\t"

/* 56 instructions four rows, with errors' masks 12 more, and the taps. A round makes eight steps; of a number of taps that is
 * no multiple of 16 the first one is entered late. The job's address, where to enter, and the end of the windows lie on the
 * stack. */
void fqt_put_wide_rows(struct fqt_row_loop *l)
{
    register struct fqt_row_loop *loop __asm__("r0") = l;
    __asm__ volatile("adr r1, 0f\n\t"
                     "ldr r2, [r0, #12]\n\t"
                     "ldrb r2, [r1, r2]\n\t"
                     "add r1, r1, r2, lsl #1\n\t"
                     "orr r1, r1, #1\n\t"
                     "ldr r2, [r0], #24\n\t"
                     "push {r0, r1, r2}\n\t"
                     "ldr r2, [r0, #8]\n\t"
                     "cmp r2, #3\n\t"
                     "beq 5f\n\t"
                     "b 1f\n\t"
                     ".balign 4\n"
                     "0:\n\t"
                     ".byte (2f-0b)/2, (3f-0b)/2, (4f-0b)/2, (10f-0b)/2\n"
                     "1:\n\t"
                     "mov r11, r0\n\t"
                     "ldmdb r0, {r1, r6, r7, lr}\n\t" LOAD_FIRST
                     "sub r0, r7, r6, lsl #4\n\t"
                     "sub r1, r1, r6, lsl #5\n\t"
                     "ldmia lr!, {r6, r8, r10, r12}\n\t"
                     "str lr, [r11, #-4]\n\t"
                     "mov r7, r6\n\t"
                     "mov r9, r8\n\t"
                     "mov r11, r10\n\t"
                     "mov lr, r12\n\t"
                     "ldr pc, [sp, #4]\n"
                     "2:\n\t" STEP(0) STEP(1) "3:\n\t" STEP(2) STEP(3) "4:\n\t" STEP(4) STEP(5) "10:\n\t" STEP(6) LAST_STEP
                     "bne 2b\n\t"
                     "ldr r0, [sp]\n\t"
                     "str r1, [r0, #-16]\n\t"
                     "ldmia r0, {r1, r2, r3, r4, r5}\n\t"
                     "lsrs r3, r3, #1\n\t" /* carry: sums remain; zero: nothing else is done with them */
                     "bcs 7f\n\t"
                     SCALE("r6") SCALE("r7") SCALE("r8") SCALE("r9") SCALE("r10") SCALE("r11") SCALE("r12") SCALE("lr")
                     CLAMP("r6") CLAMP("r7") CLAMP("r8") CLAMP("r9") CLAMP("r10") CLAMP("r11") CLAMP("r12") CLAMP("lr")
                     JOIN("r6", "r8", "r10", "r12") JOIN("r7", "r9", "r11", "lr")
                     "beq 6f\n\t"
                     "ldrd r3, r4, [r0, #24]\n\t"
                     "add r5, r1, r2\n\t"
                     "ldr r8, [r1, r3]\n\t"
                     "ldr r9, [r5, r3]\n\t"
                     "mov r10, #0x80808080\n\t"
                     "usub8 r8, r8, r4\n\t" /* GE of a byte: it is not masked */
                     "sel r6, r6, r10\n\t"
                     "usub8 r9, r9, r4\n\t"
                     "sel r7, r7, r10\n"
                     "6:\n\t"
                     "str r7, [r1, r2]\n\t"
                     "str r6, [r1], #4\n"
                     "8:\n\t"
                     "ldr r4, [r0, #20]\n\t"
                     "str r1, [r0]\n\t"
                     "cmp r1, r4\n\t"
                     "bne 1b\n\t"
                     "b 9f\n"
                     "7:\n\t"
                     "add r3, r1, r2\n\t"
                     "stmia r1!, {r6, r8, r10, r12}\n\t"
                     "stmia r3, {r7, r9, r11, lr}\n\t"
                     "beq 8b\n\t"
                     "ldr r4, [r0, #20]\n\t"
                     "str r1, [r0]\n\t"
                     "cmp r1, r4\n\t"
                     "beq 9f\n"
                     "5:\n\t" /* begin with the sums that are there */
                     "mov r11, r0\n\t"
                     "ldmdb r0, {r1, r6, r7, lr}\n\t" LOAD_FIRST
                     "ldrd r8, lr, [r11]\n\t"
                     "sub r0, r7, r6, lsl #4\n\t"
                     "sub r1, r1, r6, lsl #5\n\t"
                     "add lr, lr, r8\n\t"
                     "ldmia r8, {r6, r8, r10, r12}\n\t"
                     "ldmia lr, {r7, r9, r11, lr}\n\t"
                     "ldr pc, [sp, #4]\n"
                     "9:\n\t"
                     "add sp, #12"
                     : "+r"(loop)
                     :
                     : "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* 2 cycles a weight. */
void fqt_widen_rows(const struct fqt_rows *rows, uint32_t *to)
{
    uint32_t minus = fqt_minus_pair(rows->zero), n = rows->n;
    const uint8_t *row = rows->weights;
    for (uint32_t left = rows->count / 4u; left != 0; left--, row += 3u * n) {
        for (const uint8_t *end = row + n; row != end; row += 4, to += 8) {
            uint32_t a = fqt_word(row), b = fqt_word(row + n), c = fqt_word(row + 2u * n), d = fqt_word(row + 3u * n);
            to[0] = fqt_add_even_bytes(minus, a);
            to[1] = fqt_add_even_bytes(minus, b);
            to[2] = fqt_add_even_bytes(minus, c);
            to[3] = fqt_add_even_bytes(minus, d);
            to[4] = fqt_add_odd_bytes(minus, a);
            to[5] = fqt_add_odd_bytes(minus, b);
            to[6] = fqt_add_odd_bytes(minus, c);
            to[7] = fqt_add_odd_bytes(minus, d);
        }
    }
}

/* 2.5 cycles a byte. */
void fqt_widen_columns(const uint8_t *const columns[4], uint32_t count, int32_t zero, uint32_t *to, uint32_t n)
{
    const uint8_t *a = columns[0], *b = columns[1], *c = columns[2], *d = columns[3];
    uint32_t minus = fqt_minus_pair(zero);
    for (const uint8_t *end = a + count; a != end; to += 2u * n) {
        const uint8_t *first = a, *third = c;
        for (uint32_t i = 0; i < 8u; i += 4u, first = b, third = d) {
            uint32_t word = fqt_word(first), other = fqt_word(third);
            uint32_t even = fqt_add_even_bytes(minus, word), even_other = fqt_add_even_bytes(minus, other);
            uint32_t odd = fqt_add_odd_bytes(minus, word), odd_other = fqt_add_odd_bytes(minus, other);
            to[i] = fqt_low_halves(even, even_other);
            to[i + 1u] = fqt_low_halves(odd, odd_other);
            to[i + 2u] = fqt_high_halves(even, even_other);
            to[i + 3u] = fqt_high_halves(odd, odd_other);
        }
        a += 4;
        b += 4;
        c += 4;
        d += 4;
    }
}

#endif
