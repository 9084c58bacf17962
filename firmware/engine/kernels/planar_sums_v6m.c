/* Sums of planes for Armv6-M. A word of a plane is x + (x' << 16), cells of two windows less FQT_PLANE_ZERO, and times a weight
 * less its zero point it gives both products, modulo 2^32.
 *
 * A product, or the sum of two, is a word g = low + (high << 16), |low| and |high| < 2^15. F sums these words modulo 2^32 and
 * H their upper parts: g >> 16 is one less than `high` where low < 0, and then the bit that ASRS shifts out last, which is the
 * carry that ADCS adds, is one. So H is the second window's sum and F - (H << 16) the first one's, both exact. */
#include "planes_v6m.h"

#if FQT_ARMV6M

#define WORD_BYTES 4u
#define LARGEST_OF_TWO 255 /* of two weights' magnitudes, so that the sum of their products is below 2^15: x is at most 128 */

/* Words. Of 3x3 kernels a tenth says whether any two products may be added: `is_narrow`. */
int32_t fqt_lay_out_weights(int16_t *to, const uint8_t *weights, const struct fqt_geometry *g, int32_t step, int32_t zero,
                            int32_t x_zero)
{
    int32_t *words = (int32_t *)(void *)to;
    int32_t sum = 0, largest = 0, second = 0;
    for (uint32_t n = g->kernel_h * g->kernel_w; n != 0; n--, weights += step) {
        int32_t w = *weights - zero, magnitude = w < 0 ? -w : w;
        *words++ = w;
        sum += w;
        if (magnitude > second) {
            second = magnitude < largest ? magnitude : largest;
            largest = magnitude < largest ? largest : magnitude;
        }
    }
    if (g->kernel_h == 3u && g->kernel_w == 3u) {
        *words = largest + second <= LARGEST_OF_TWO;
    }
    return (FQT_PLANE_ZERO - x_zero) * sum;
}

static bool is_narrow(const int32_t *weights)
{
    return weights[9] != 0;
}

/* Adds the word g, a product or two, to the sums. */
#define ADD(g, f, h)                                                                                                \
    "add " f ", " g "\n\t"                                                                                          \
    "asrs " g ", " g ", #16\n\t"                                                                                    \
    "adcs " h ", " g "\n\t"

/* --- 3x3 kernels ------------------------------------------------------------------------------------------------------- */

/* What the loops over filters begin and go on with. */
struct loop {
    const uint8_t *planes;      /* 0: of the next filter, the one that the kernel's first row meets */
    const int32_t *weights;     /* 4 */
    const int32_t *starts;      /* 8 */
    int32_t *acc;               /* 12 */
    uint32_t acc_bytes;         /* 16: of a filter */
    uint32_t to_second, to_third; /* 20: from behind a plane's words to the next plane */
    uint32_t to_first;          /* 28: to the next turn's */
    uint32_t planes_apart, weights_apart; /* 32 */
    uint32_t left;              /* 40: filters */
};

/* The next filter, if it is narrow. On the stack: the sum's start, the same for both windows of F, the end of acc, the loop. In
 * registers: planes r0, weights r1, acc lr. 24 instructions a filter with END. */
#define BEGIN                                                                                                       \
    ".syntax unified\n\t"                                                                                           \
    "sub sp, #16\n\t"                                                                                               \
    "str r0, [sp, #12]\n\t"                                                                                         \
    "adds r0, #20\n\t"                                                                                              \
    "ldmia r0!, {r1, r2, r3}\n\t"                                                                                   \
    "mov r10, r1\n\t"                                                                                               \
    "mov r11, r2\n\t"                                                                                               \
    "mov r12, r3\n"                                                                                                 \
    "1:\n\t"                                                                                                        \
    "ldr r7, [sp, #12]\n\t"                                                                                         \
    "ldmia r7!, {r0, r1, r2, r3, r4}\n\t"                                                                           \
    "ldr r5, [r1, #36]\n\t"                                                                                         \
    "cmp r5, #0\n\t"                                                                                                \
    "beq 3f\n\t"                                                                                                    \
    "mov lr, r3\n\t"                                                                                                \
    "adds r4, r4, r3\n\t"                                                                                           \
    "str r4, [sp, #8]\n\t"                                                                                          \
    "ldmia r2!, {r3}\n\t"                                                                                           \
    "str r3, [sp]\n\t"                                                                                              \
    "lsls r5, r3, #16\n\t"                                                                                          \
    "adds r5, r5, r3\n\t"                                                                                           \
    "str r5, [sp, #4]\n\t"                                                                                          \
    "ldr r5, [r7, #12]\n\t"                                                                                         \
    "adds r5, r5, r0\n\t"                                                                                           \
    "ldr r6, [r7, #16]\n\t"                                                                                         \
    "adds r6, r6, r1\n\t"                                                                                           \
    "subs r7, #20\n\t"                                                                                              \
    "str r5, [r7]\n\t"                                                                                              \
    "str r6, [r7, #4]\n\t"                                                                                          \
    "str r2, [r7, #8]\n\t"                                                                                          \
    "str r4, [r7, #12]\n"                                                                                           \
    "2:\n\t"

/* A turn has put its sums; the next one's go to `to`. */
#define END(to)                                                                                                     \
    "mov lr, " to "\n\t"                                                                                            \
    "ldr r3, [sp, #8]\n\t"                                                                                          \
    "cmp " to ", r3\n\t"                                                                                            \
    "bne 2b\n\t"                                                                                                    \
    "ldr r7, [sp, #12]\n\t"                                                                                         \
    "ldr r2, [r7, #40]\n\t"                                                                                         \
    "subs r2, #1\n\t"                                                                                               \
    "str r2, [r7, #40]\n\t"                                                                                         \
    "beq 3f\n\t"                                                                                                    \
    "b 1b\n"                                                                                                        \
    "3:\n\t"                                                                                                        \
    "add sp, #16"

#define CLOBBERED "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory"

/* Windows 0 and 2 are sums r8, r6, windows 1 and 3 r9, r7. A row's four words meet its three weights twice; each multiplication
 * overwrites the operand that is not needed any more. A row leaves its third products in r2 and r3. 18 instructions. */
#define FIRST_ROW                                                                                                   \
    "ldmia r0!, {r2, r3}\n\t"                                                                                       \
    "ldmia r1!, {r4, r5}\n\t"                                                                                       \
    "muls r2, r4, r2\n\t"                                                                                           \
    "muls r4, r3, r4\n\t"                                                                                           \
    "muls r3, r5, r3\n\t"                                                                                           \
    "adds r2, r2, r3\n\t" ADD("r2", "r8", "r6")                                                                     \
    "ldmia r0!, {r2, r3}\n\t"                                                                                       \
    "muls r5, r2, r5\n\t"                                                                                           \
    "adds r4, r4, r5\n\t" ADD("r4", "r9", "r7")                                                                     \
    "ldmia r1!, {r4}\n\t"                                                                                           \
    "muls r2, r4, r2\n\t"                                                                                           \
    "muls r3, r4, r3\n\t"

/* Takes the row before's third products. 27 instructions. */
#define SECOND_ROW                                                                                                  \
    "ldmia r0!, {r4}\n\t"                                                                                           \
    "ldmia r1!, {r5}\n\t"                                                                                           \
    "muls r4, r5, r4\n\t"                                                                                           \
    "adds r2, r2, r4\n\t" ADD("r2", "r8", "r6")                                                                     \
    "ldmia r0!, {r2, r4}\n\t"                                                                                       \
    "muls r5, r2, r5\n\t"                                                                                           \
    "adds r3, r3, r5\n\t" ADD("r3", "r9", "r7")                                                                     \
    "ldmia r1!, {r3, r5}\n\t"                                                                                       \
    "muls r2, r3, r2\n\t"                                                                                           \
    "muls r3, r4, r3\n\t"                                                                                           \
    "muls r4, r5, r4\n\t"                                                                                           \
    "adds r2, r2, r4\n\t" ADD("r2", "r8", "r6")                                                                     \
    "ldmia r0!, {r2}\n\t"                                                                                           \
    "muls r5, r2, r5\n\t"                                                                                           \
    "adds r3, r3, r5\n\t" ADD("r3", "r9", "r7")

/* Windows side by side, four a turn: 91 instructions, 36 MACs. */
static __attribute__((noinline)) void sums_side_by_side(struct loop *l)
{
    register struct loop *loop __asm__("r0") = l;
    __asm__ volatile(BEGIN
                     "ldr r6, [sp]\n\t"
                     "ldr r2, [sp, #4]\n\t"
                     "mov r7, r6\n\t"
                     "mov r8, r2\n\t"
                     "mov r9, r2\n\t" FIRST_ROW
                     "add r0, r10\n\t" SECOND_ROW
                     "add r0, r11\n\t" FIRST_ROW ADD("r2", "r8", "r6") ADD("r3", "r9", "r7")
                     "add r0, r12\n\t"
                     "subs r1, #36\n\t"
                     "lsls r4, r6, #16\n\t"
                     "mov r2, r8\n\t"
                     "subs r2, r2, r4\n\t"
                     "lsls r4, r7, #16\n\t"
                     "mov r3, r9\n\t"
                     "subs r3, r3, r4\n\t"
                     "mov r5, lr\n\t"
                     "stmia r5!, {r2, r3, r6, r7}\n\t" END("r5")
                     : "+r"(loop)
                     :
                     : CLOBBERED);
}

/* Two windows are sums r8, r7; a row leaves its third product in r4. 10 instructions and 15. */
#define FIRST_ROW_OF_TWO                                                                                            \
    "ldmia r0!, {r2, r3, r4}\n\t"                                                                                   \
    "ldmia r1!, {r5, r6}\n\t"                                                                                       \
    "muls r2, r5, r2\n\t"                                                                                           \
    "muls r3, r6, r3\n\t"                                                                                           \
    "adds r2, r2, r3\n\t" ADD("r2", "r8", "r7")                                                                     \
    "ldmia r1!, {r5}\n\t"                                                                                           \
    "muls r4, r5, r4\n\t"

#define SECOND_ROW_OF_TWO                                                                                           \
    "ldmia r0!, {r2, r3}\n\t"                                                                                       \
    "ldmia r1!, {r5, r6}\n\t"                                                                                       \
    "muls r2, r5, r2\n\t"                                                                                           \
    "adds r4, r4, r2\n\t" ADD("r4", "r8", "r7")                                                                     \
    "muls r3, r6, r3\n\t"                                                                                           \
    "ldmia r0!, {r4}\n\t"                                                                                           \
    "ldmia r1!, {r5}\n\t"                                                                                           \
    "muls r4, r5, r4\n\t"                                                                                           \
    "adds r3, r3, r4\n\t" ADD("r3", "r8", "r7")

/* Windows two cells apart, two a turn: 54 instructions, 18 MACs. */
static __attribute__((noinline)) void sums_two_apart(struct loop *l)
{
    register struct loop *loop __asm__("r0") = l;
    __asm__ volatile(BEGIN
                     "ldr r7, [sp]\n\t"
                     "ldr r2, [sp, #4]\n\t"
                     "mov r8, r2\n\t" FIRST_ROW_OF_TWO
                     "add r0, r10\n\t" SECOND_ROW_OF_TWO
                     "add r0, r11\n\t" FIRST_ROW_OF_TWO ADD("r4", "r8", "r7")
                     "add r0, r12\n\t"
                     "subs r1, #36\n\t"
                     "lsls r2, r7, #16\n\t"
                     "mov r6, r8\n\t"
                     "subs r6, r6, r2\n\t"
                     "mov r2, lr\n\t"
                     "stmia r2!, {r6, r7}\n\t" END("r2")
                     : "+r"(loop)
                     :
                     : CLOBBERED);
}

/* --- any kernel -------------------------------------------------------------------------------------------------------- */

struct any {
    const uint8_t *x;            /* 0: the first plane, which meets the kernel's row `first` */
    const int32_t *first;        /* 4 */
    uint32_t row_bytes, to_next; /* 8: of a kernel row's words; from behind them to the next plane */
    const int32_t *weights_end;  /* 16 */
    int32_t *acc;                /* 20 */
    const int32_t *weights;      /* 24 */
    int32_t start;               /* 28: what the sums begin with */
    uint32_t second;             /* 32: from a window's sum to that of the other one in its words */
    uint32_t to_turn;            /* 36: from behind the last plane's words */
    int32_t *acc_end;            /* 40 */
};

/* Every fourth window from x on, with the other one in its words; products by themselves, so that any weights will do. Two taps
 * of both windows: 12 instructions, 4 MACs; 10 more a kernel row, 8 an odd tap, 21 both windows. */
static __attribute__((noinline)) void sums_of_any(const struct any *a)
{
    register const struct any *any __asm__("r0") = a;
    __asm__ volatile(".syntax unified\n\t"
                     "push {r0}\n\t"
                     "adds r0, #4\n\t"
                     "ldmia r0!, {r1, r2, r3, r4, r5}\n\t"
                     "mov r12, r1\n\t"
                     "mov r9, r2\n\t"
                     "mov r10, r3\n\t"
                     "mov r11, r4\n\t"
                     "mov lr, r5\n\t"
                     "subs r0, #24\n\t"
                     "ldr r0, [r0]\n"
                     "1:\n\t"
                     "ldr r7, [sp]\n\t"
                     "ldr r6, [r7, #28]\n\t"
                     "lsls r2, r6, #16\n\t"
                     "adds r2, r2, r6\n\t"
                     "mov r8, r2\n"
                     "2:\n\t"
                     "mov r7, r9\n\t"
                     "lsrs r2, r7, #3\n\t" /* carry: an odd number of taps */
                     "add r7, r0\n\t"
                     "bcc 3f\n\t"
                     "ldmia r0!, {r2}\n\t"
                     "ldmia r1!, {r4}\n\t"
                     "muls r2, r4, r2\n\t" ADD("r2", "r8", "r6")
                     "cmp r0, r7\n\t"
                     "beq 4f\n"
                     "3:\n\t"
                     "ldmia r0!, {r2, r3}\n\t"
                     "ldmia r1!, {r4, r5}\n\t"
                     "muls r2, r4, r2\n\t"
                     "muls r3, r5, r3\n\t" ADD("r2", "r8", "r6") ADD("r3", "r8", "r6")
                     "cmp r0, r7\n\t"
                     "bne 3b\n"
                     "4:\n\t"
                     "add r0, r10\n\t"
                     "ldr r7, [sp]\n\t"
                     "cmp r1, r11\n\t"
                     "bne 5f\n\t"
                     "ldr r1, [r7, #24]\n"
                     "5:\n\t"
                     "cmp r1, r12\n\t"
                     "bne 2b\n\t"
                     "mov r5, lr\n\t"
                     "ldr r3, [r7, #32]\n\t"
                     "str r6, [r5, r3]\n\t"
                     "lsls r2, r6, #16\n\t"
                     "mov r3, r8\n\t"
                     "subs r3, r3, r2\n\t"
                     "str r3, [r5]\n\t"
                     "adds r5, #16\n\t"
                     "mov lr, r5\n\t"
                     "ldr r2, [r7, #36]\n\t"
                     "adds r0, r0, r2\n\t"
                     "ldr r2, [r7, #40]\n\t"
                     "cmp r5, r2\n\t"
                     "blo 1b\n\t"
                     "add sp, #4"
                     : "+r"(any)
                     :
                     : CLOBBERED);
}

/* The sums of the loop's next filter, whose first plane meets the kernel's row `first`. The windows of a word lie two cells
 * apart: next but one with a stride of 1, neighbours with 2; with more there is no use for the second one. */
static __attribute__((noinline)) void filter_sums(const struct fqt_planar_row *row, struct loop *loop, const uint8_t *x,
                                                  uint32_t first)
{
    uint32_t stride = row->stride, second = stride == 1u ? 2u : stride == 2u;
    struct any any;
    any.first = loop->weights + first * row->columns;
    any.row_bytes = WORD_BYTES * row->columns;
    any.to_next = row->pitch - any.row_bytes;
    any.weights_end = loop->weights + row->rows * row->columns;
    any.weights = loop->weights;
    any.start = *loop->starts++;
    any.second = 4u * second;
    any.to_turn = 4u * WORD_BYTES * stride - row->rows * row->pitch;
    any.acc_end = loop->acc + loop->acc_bytes / 4u;
    for (uint32_t i = 0; i < 4u; i++) {
        if ((i & second) == 0) {
            any.x = x + WORD_BYTES * stride * i;
            any.acc = loop->acc + i;
            sums_of_any(&any);
        }
    }
    loop->planes += loop->planes_apart;
    loop->weights += loop->weights_apart / 4u;
    loop->acc = any.acc_end;
    loop->left--;
}

/* ----------------------------------------------------------------------------------------------------------------------- */

void fqt_planar_sums(const struct fqt_planar_row *row, const struct fqt_planar_filters *f, int32_t *acc)
{
    uint32_t pitch = row->pitch, to_first = f->first == 0 ? 0u : (row->rows - f->first) * pitch;
    uint32_t taken = row->stride == 1u ? 16u : 12u; /* bytes of a row's words */
    bool is_3x3 = row->rows == 3u && row->columns == 3u && row->stride <= 2u;
    struct loop loop;
    loop.planes = f->planes + to_first;
    loop.weights = (const int32_t *)(const void *)f->weights;
    loop.starts = f->starts;
    loop.acc = acc;
    loop.acc_bytes = 4u * ((row->n + 3u) & ~3u);
    loop.to_second = loop.to_third = pitch - taken;
    loop.to_first = 16u - taken - 2u * pitch;
    if (f->first != 0) { /* a step in between goes back, and the last one forward */
        loop.to_first += 3u * pitch;
        *(f->first == 1u ? &loop.to_second : &loop.to_third) -= 3u * pitch;
    }
    loop.planes_apart = f->planes_apart;
    loop.weights_apart = f->weights_apart;
    loop.left = f->count;
    do {
        if (!is_3x3 || !is_narrow(loop.weights)) {
            filter_sums(row, &loop, loop.planes - to_first, f->first);
        } else if (row->stride == 1u) {
            sums_side_by_side(&loop);
        } else {
            sums_two_apart(&loop);
        }
    } while (loop.left != 0);
}

#endif
