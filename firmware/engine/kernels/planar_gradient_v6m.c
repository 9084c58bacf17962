/* Gradients of planes for Armv6-M: a word holds a cell, or a centred error. */
#include "planar_rows.h"

#if FQT_ARMV6M

struct rows {
    const uint8_t *x;            /* 0 */
    int32_t *acc;                /* 4 */
    uint32_t step;               /* 8: from behind a window's cells to the next one's */
    const uint8_t *errors_end;   /* 12 */
    const uint32_t *offsets;     /* 16 */
    const uint8_t *errors;       /* 20 */
    uint32_t taps, acc_bytes;    /* 24: 1 to 3; of a kernel row's sums */
    const uint32_t *offsets_end; /* 32 */
};

/* A window's error e times its three cells. 8 instructions. */
#define WINDOW(e)                                                                                                   \
    "ldmia r0!, {r3, r4, r5}\n\t"                                                                                   \
    "muls r3, " e ", r3\n\t"                                                                                        \
    "muls r4, " e ", r4\n\t"                                                                                        \
    "muls r5, " e ", r5\n\t"                                                                                        \
    "add r8, r3\n\t"                                                                                                \
    "add r9, r4\n\t"                                                                                                \
    "add r10, r5\n\t"                                                                                               \
    "add r0, r11\n\t"

#define TWO_WINDOWS "ldmia r1!, {r6, r7}\n\t" WINDOW("r6") WINDOW("r7")

/* Up to three taps of each kernel row; sums of what lies behind fewer are thrown away. Four windows a turn: 36 instructions, 12
 * MACs; 29 more a kernel row. The rows' address lies on the stack. */
static __attribute__((noinline)) void add_rows(struct rows *r)
{
    register struct rows *rows __asm__("r0") = r;
    __asm__ volatile(".syntax unified\n\t"
                     "push {r0}\n\t"
                     "ldmia r0!, {r3, r4, r5}\n\t"
                     "ldr r2, [r0]\n\t"
                     "mov r12, r3\n\t"
                     "mov lr, r4\n\t"
                     "mov r11, r5\n"
                     "1:\n\t"
                     "ldr r3, [sp]\n\t"
                     "ldr r1, [r3, #16]\n\t"
                     "ldmia r1!, {r0}\n\t"
                     "str r1, [r3, #16]\n\t"
                     "ldr r1, [r3, #20]\n\t"
                     "add r0, r12\n\t"
                     "mov r4, lr\n\t"
                     "ldmia r4!, {r5, r6, r7}\n\t"
                     "mov r8, r5\n\t"
                     "mov r9, r6\n\t"
                     "mov r10, r7\n"
                     "2:\n\t" TWO_WINDOWS TWO_WINDOWS
                     "cmp r1, r2\n\t"
                     "bne 2b\n\t"
                     "mov r5, r8\n\t"
                     "mov r6, r9\n\t"
                     "mov r7, r10\n\t"
                     "mov r4, lr\n\t"
                     "ldr r3, [sp]\n\t"
                     "ldr r1, [r3, #24]\n\t"
                     "str r5, [r4]\n\t"
                     "cmp r1, #2\n\t"
                     "blo 3f\n\t"
                     "str r6, [r4, #4]\n\t"
                     "beq 3f\n\t"
                     "str r7, [r4, #8]\n"
                     "3:\n\t"
                     "ldr r1, [r3, #28]\n\t"
                     "add lr, r1\n\t"
                     "ldr r1, [r3, #16]\n\t"
                     "ldr r3, [r3, #32]\n\t"
                     "cmp r1, r3\n\t"
                     "bne 1b\n\t"
                     "add sp, #4"
                     : "+r"(rows)
                     :
                     : "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

void fqt_planar_gradients(const struct fqt_planar_gradient *g, int32_t *acc)
{
    const uint8_t *x = g->x, *errors = g->errors;
    struct rows rows;
    rows.step = 4u * g->stride - 12u;
    rows.acc_bytes = 4u * g->columns;
    rows.offsets_end = g->offsets + g->rows;
    for (uint32_t k = 0; k < FQT_PLANES; k++, x += g->x_apart, acc += g->acc_pitch, errors += g->errors_apart) {
        rows.errors = errors;
        rows.errors_end = errors + 4u * ((g->n + 3u) & ~3u);
        rows.x = x;
        rows.acc = acc;
        for (uint32_t left = g->columns; left != 0; left -= rows.taps, rows.x += 12, rows.acc += 3) {
            rows.taps = left < 3u ? left : 3u;
            rows.offsets = g->offsets;
            add_rows(&rows);
        }
    }
}

#endif
