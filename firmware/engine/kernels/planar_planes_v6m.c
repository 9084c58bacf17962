/* Planes for Armv6-M: words. Those of a forward pass hold cell and next but one, both less FQT_PLANE_ZERO: cell +
 * (next but one << 16), modulo 2^32, so that one multiplication makes products of two windows (planar_sums_v6m.c). Those of
 * a gradient hold a cell. */
#include "planes_v6m.h"

#if FQT_ARMV6M

void fqt_clear_planes(void *planes, uint32_t n_cells, uint8_t zero, bool for_windows)
{
    uint32_t *to = planes, cell = for_windows ? ((uint32_t)zero - FQT_PLANE_ZERO) * 0x10001u : zero;
#pragma GCC unroll 2
    for (uint32_t *end = to + n_cells; to != end;) {
        *to++ = cell;
    }
}

/* Two cells; a and b are the ones before, c and d become them. */
#define TWO_CELLS(a, b, c, d)                                                                                       \
    "ldrb " c ", [r1]\n\t"                                                                                          \
    "ldrb " d ", [r1, r2]\n\t"                                                                                      \
    "add r1, r8\n\t"                                                                                                \
    "add " c ", r9\n\t"                                                                                             \
    "add " d ", r9\n\t"                                                                                             \
    "lsls r3, " c ", #16\n\t"                                                                                       \
    "adds " a ", " a ", r3\n\t"                                                                                     \
    "lsls r3, " d ", #16\n\t"                                                                                       \
    "adds " b ", " b ", r3\n\t"                                                                                     \
    "stmia r0!, {" a ", " b "}\n\t"

struct fill {
    uint32_t *to;                /* the word of the cell two before the first of `from` */
    const uint8_t *from;         /* its bytes lie `pitch` apart */
    uint32_t first;              /* 0, 1: a word of two or one of the cells comes first; else one of zeros */
    uint32_t odd;                /* of the cells behind them */
    uint32_t pitch, zero, bytes; /* of the words of two cells each, behind the odd one; `zero` as it is in a plane */
    uint32_t apart, channels;
};

/* The words of a row of each channel, `apart` bytes apart. 5.5 instructions a cell, 35 a row. */
static __attribute__((noinline)) void put_windows(struct fill *f)
{
    register struct fill *fill __asm__("r0") = f;
    __asm__ volatile(".syntax unified\n\t"
                     "mov lr, r0\n\t"
                     "adds r0, #16\n\t"
                     "ldmia r0!, {r2, r3, r4}\n\t"
                     "mov r11, r3\n\t"
                     "mov r12, r4\n\t"
                     "lsls r3, r2, #1\n\t"
                     "mov r8, r3\n\t"
                     "movs r3, #%c[zero]\n\t"
                     "negs r3, r3\n\t"
                     "mov r9, r3\n"
                     "1:\n\t"
                     "mov r3, lr\n\t"
                     "ldmia r3!, {r0, r1, r6, r7}\n\t"
                     "mov r4, r11\n\t"
                     "mov r5, r11\n\t"
                     "cmp r6, #1\n\t"
                     "bhi 3f\n\t"
                     "beq 2f\n\t"
                     "ldrb r4, [r1]\n\t"
                     "add r4, r9\n\t"
                     "adds r1, r1, r2\n"
                     "2:\n\t"
                     "ldrb r5, [r1]\n\t"
                     "add r5, r9\n\t"
                     "adds r1, r1, r2\n"
                     "3:\n\t"
                     "cmp r7, #0\n\t"
                     "beq 4f\n\t"
                     "ldrb r6, [r1]\n\t"
                     "adds r1, r1, r2\n\t"
                     "add r6, r9\n\t"
                     "lsls r3, r6, #16\n\t"
                     "adds r4, r4, r3\n\t"
                     "stmia r0!, {r4}\n\t"
                     "mov r4, r5\n\t"
                     "mov r5, r6\n"
                     "4:\n\t"
                     "mov r6, r12\n\t"
                     "adds r7, r6, r0\n\t"
                     "mov r10, r7\n\t"
                     "lsrs r6, r6, #4\n\t" /* carry: an odd number of twos */
                     "bcc 5f\n\t" TWO_CELLS("r4", "r5", "r6", "r7")
                     "mov r4, r6\n\t"
                     "mov r5, r7\n"
                     "5:\n\t"
                     "cmp r0, r10\n\t"
                     "beq 7f\n"
                     "6:\n\t" TWO_CELLS("r4", "r5", "r6", "r7") TWO_CELLS("r6", "r7", "r4", "r5")
                     "cmp r0, r10\n\t"
                     "bne 6b\n"
                     "7:\n\t"
                     "mov r3, r11\n\t"
                     "lsls r3, r3, #16\n\t"
                     "adds r4, r4, r3\n\t"
                     "adds r5, r5, r3\n\t"
                     "stmia r0!, {r4, r5}\n\t"
                     "mov r3, lr\n\t"
                     "ldmia r3!, {r0, r1}\n\t"
                     "ldr r4, [r3, #20]\n\t"
                     "ldr r5, [r3, #24]\n\t"
                     "adds r0, r0, r4\n\t"
                     "adds r1, #1\n\t"
                     "subs r5, #1\n\t"
                     "str r5, [r3, #24]\n\t"
                     "mov r3, lr\n\t"
                     "stmia r3!, {r0, r1}\n\t"
                     "bne 1b"
                     : "+r"(fill)
                     : [zero] "i"(FQT_PLANE_ZERO)
                     : "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* Cells before the row are zero points, too, and so are two behind it. */
static void fill_windows(uint32_t *to, const struct fqt_plane_row *row, uint32_t channels)
{
    uint32_t n = row->n, first = row->before;
    struct fill fill = {.to = to, .from = row->from, .first = first, .odd = 0, .pitch = row->pitch,
                        .zero = (uint32_t)row->zero - FQT_PLANE_ZERO, .bytes = 0, .apart = row->apart, .channels = channels};
    if (first >= 2u) {
        fill.to += first - 2u;
    } else if (n + first >= 2u) {
        n -= 2u - first;
    } else { /* a single cell, and nothing before it */
        for (uint32_t k = 0; k < channels; k++, to += row->apart / sizeof *to) {
            *to = (uint32_t)row->from[k] - FQT_PLANE_ZERO + (fill.zero << 16);
        }
        return;
    }
    fill.odd = n & 1u;
    fill.bytes = (n & ~1u) * (uint32_t)sizeof *to;
    put_windows(&fill);
}

void fqt_fill_plane(void *plane, const struct fqt_plane_row *row)
{
    if (row->from == NULL) {
        fqt_clear_planes(plane, row->cells, row->zero, true);
    } else {
        fill_windows(plane, row, 1u);
    }
}

/* --- planes of cells by themselves ------------------------------------------------------------------------------------ */

/* Words of n bytes, of FQT_PLANES channels; CELL, TWO, SUM: what becomes of a byte in r3, of two in r3 and r4, and of a row's
 * sum in r7. */
#define FILL(CELL, TWO, SUM)                                                                                        \
    ".syntax unified\n"                                                                                             \
    "1:\n\t"                                                                                                        \
    "mov r0, r9\n\t"                                                                                                \
    "mov r1, r8\n\t"                                                                                                \
    "mov r6, r10\n\t"                                                                                               \
    "adds r6, r6, r0\n\t"                                                                                           \
    "movs r7, #0\n\t"                                                                                               \
    "cmp r0, r6\n\t"                                                                                                \
    "beq 3f\n"                                                                                                      \
    "2:\n\t"                                                                                                        \
    "ldrb r3, [r1]\n\t"                                                                                             \
    "ldrb r4, [r1, r2]\n\t"                                                                                         \
    "adds r1, r1, r5\n\t" TWO "stmia r0!, {r3, r4}\n\t"                                                             \
    "cmp r0, r6\n\t"                                                                                                \
    "bne 2b\n"                                                                                                      \
    "3:\n\t"                                                                                                        \
    "mov r3, r12\n\t"                                                                                               \
    "lsrs r3, r3, #1\n\t" /* carry: an odd number */                                                                \
    "bcc 4f\n\t"                                                                                                    \
    "ldrb r3, [r1]\n\t" CELL "str r3, [r0]\n"                                                                       \
    "4:\n\t" SUM                                                                                                    \
    "mov r0, r9\n\t"                                                                                                \
    "add r0, r11\n\t"                                                                                               \
    "mov r9, r0\n\t"                                                                                                \
    "mov r1, r8\n\t"                                                                                                \
    "adds r1, #1\n\t"                                                                                               \
    "mov r8, r1\n\t"                                                                                                \
    "lsls r1, r1, #30\n\t" /* bytes of a pixel lie at a multiple of 4 */                                            \
    "bne 1b"

#define FILL_REGISTERS(planes, row)                                                                                 \
    register uint32_t pitch __asm__("r2") = (row)->pitch;                                                           \
    register uint32_t twice __asm__("r5") = 2u * (row)->pitch;                                                      \
    register const uint8_t *from __asm__("r8") = (row)->from;                                                       \
    register uint32_t *to __asm__("r9") = (uint32_t *)(planes) + (row)->before;                                     \
    register uint32_t bytes __asm__("r10") = ((row)->n & ~1u) * 4u;                                                 \
    register uint32_t apart __asm__("r11") = (row)->apart;                                                          \
    register uint32_t n __asm__("r12") = (row)->n

/* Bytes as they are: 3 instructions a cell, 19 a row. */
static __attribute__((noinline)) void put_cells(void *planes, const struct fqt_plane_row *row)
{
    FILL_REGISTERS(planes, row);
    __asm__ volatile(FILL("", "", "")
                     : "+r"(from), "+r"(to)
                     : "r"(pitch), "r"(twice), "r"(bytes), "r"(apart), "r"(n)
                     : "r0", "r1", "r3", "r4", "r6", "r7", "cc", "memory");
}

#define ERROR "subs r3, #128\n\tadds r7, r7, r3\n\t"
#define TWO_ERRORS ERROR "subs r4, #128\n\tadds r7, r7, r4\n\t"
#define ERROR_SUM                                                                                                   \
    "mov r3, lr\n\t"                                                                                                \
    "ldr r4, [r3]\n\t"                                                                                              \
    "adds r4, r4, r7\n\t"                                                                                           \
    "stmia r3!, {r4}\n\t"                                                                                           \
    "mov lr, r3\n\t"

/* 5 instructions an error, 24 a row. */
__attribute__((noinline)) void fqt_fill_errors(void *planes, const struct fqt_plane_row *row, int32_t *sums)
{
    FILL_REGISTERS(planes, row);
    register int32_t *sum __asm__("lr") = sums;
    _Static_assert(FQT_ERROR_ZERO == 128, "ERROR");
    __asm__ volatile(FILL(ERROR, TWO_ERRORS, ERROR_SUM)
                     : "+r"(from), "+r"(to), "+r"(sum)
                     : "r"(pitch), "r"(twice), "r"(bytes), "r"(apart), "r"(n)
                     : "r0", "r1", "r3", "r4", "r6", "r7", "cc", "memory");
}

void fqt_fill_planes(void *planes, const struct fqt_plane_row *row)
{
    if (row->from == NULL) {
        uint8_t *to = planes;
        for (uint32_t k = 0; k < FQT_PLANES; k++, to += row->apart) {
            fqt_clear_planes(to, row->cells, row->zero, row->for_windows);
        }
    } else if (row->for_windows) {
        fill_windows(planes, row, FQT_PLANES);
    } else {
        put_cells(planes, row);
    }
}

#endif
