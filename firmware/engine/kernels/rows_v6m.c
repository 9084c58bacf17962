/* For Armv6-M: bytes keep their zero points in the products (dot_v6m.h), which are accounted for apart: sum (w - z_w)(x - z_x)
 * = sum w*x - z_x * sum w - z_w * sum (x - z_x). */
#include "rows.h"

#include "dot_v6m.h"
#include "scale_v6m.h"

#if FQT_ARMV6M

/* --- windows ------------------------------------------------------------------------------------------ */

static int32_t byte_sum(const uint8_t *bytes, uint32_t n)
{
    int32_t sum = 0;
    for (; n != 0; n -= 4u, bytes += 4) {
        sum += bytes[0] + bytes[1] + bytes[2] + bytes[3];
    }
    return sum;
}

void fqt_start_rows(const struct fqt_rows *rows, int32_t x_zero, int32_t *starts)
{
    const uint8_t *weights = rows->weights;
    for (uint32_t i = 0; i < rows->count; i++, weights += rows->n) {
        starts[i] = (rows->bias != NULL ? rows->bias[i] : 0) - x_zero * byte_sum(weights, rows->n);
    }
}

struct fqt_window fqt_lay_out(void *to, const uint8_t *x, uint32_t n, uint8_t x_zero)
{
    int32_t *values = to, sum = 0;
    for (; n != 0; n -= 4u, x += 4, values += 4) {
        int32_t x0 = x[0] - x_zero, x1 = x[1] - x_zero, x2 = x[2] - x_zero, x3 = x[3] - x_zero;
        values[0] = x0;
        values[1] = x1;
        values[2] = x2;
        values[3] = x3;
        sum += x0 + x1 + x2 + x3;
    }
    return (struct fqt_window){to, sum};
}

#define BLOCK 256u /* as many bytes' sum fits a halfword */

/* A row of both windows. */
static uint32_t *lay_out_row(uint32_t *pairs, const uint8_t *first, const uint8_t *second, uint32_t n,
                             struct fqt_windows *windows)
{
    while (n != 0) {
        uint32_t sums = 0, left = n < BLOCK ? n : BLOCK;
        n -= left;
        for (; left != 0; left -= 4u, first += 4, second += 4, pairs += 4) {
#pragma GCC unroll 4
            for (uint32_t i = 0; i < 4u; i++) {
                pairs[i] = first[i] | (uint32_t)second[i] << 16;
                sums += pairs[i];
            }
        }
        windows->first_sum += (int32_t)(sums & 0xFFFFu);
        windows->second_sum += (int32_t)(sums >> 16);
    }
    return pairs;
}

struct fqt_windows fqt_lay_out_pair(void *to, const uint8_t *first, const uint8_t *second, struct fqt_area area,
                                    uint8_t x_zero)
{
    uint32_t *pairs = to;
    int32_t less = (int32_t)(area.rows * area.n) * x_zero;
    struct fqt_windows windows = {to, -less, -less};
    for (; area.rows != 0; area.rows--, first += area.pitch, second += area.pitch) {
        pairs = lay_out_row(pairs, first, second, area.n, &windows);
    }
    return windows;
}

/* --- two rows, two windows ---------------------------------------------------------------------------- */

/* The rows that are left: two at a time, an odd last one twice. */
struct cursor {
    const uint8_t *weights;
    const int32_t *starts;
    const uint32_t *pairs;
    uint32_t n, left;
    int32_t correction0, correction1;
};

static struct cursor cursor_of(const struct fqt_rows *rows, const struct fqt_windows *windows)
{
    return (struct cursor){rows->weights, rows->starts, windows->pair, rows->n, rows->count,
                           rows->zero * windows->first_sum, rows->zero * windows->second_sum};
}

/* Sums of the next two rows. Returns how far the second is from the first: 1, or 0. */
static inline uint32_t next(struct cursor *c, struct fqt_dots *to)
{
    uint32_t other = c->left > 1u ? 1u : 0u;
    struct fqt_dots d = fqt_dot_2x2(c->weights, c->weights + (other != 0 ? c->n : 0u), c->pairs, c->n);
    int32_t a = c->starts[0], b = c->starts[other];
    *to = (struct fqt_dots){a + d.a0 - c->correction0, a + d.a1 - c->correction1, b + d.b0 - c->correction0,
                        b + d.b1 - c->correction1};
    c->weights += 2u * c->n;
    c->starts += 2;
    c->left -= 1u + other;
    return other;
}

void fqt_multiply_rows(const struct fqt_rows *rows, const struct fqt_windows *windows, int32_t *first,
                       int32_t *second)
{
    struct fqt_dots d;
    for (struct cursor c = cursor_of(rows, windows); c.left != 0; first += 2, second += 2) {
        uint32_t other = next(&c, &d);
        first[0] = d.a0;
        second[0] = d.a1;
        first[other] = d.b0;
        second[other] = d.b1;
    }
}

void fqt_requantize(const struct fqt_requantization *q, const int32_t *acc, uint32_t n, uint8_t *out)
{
    const struct fqt_scale s = fqt_scale_of(q->by, q->zero, q->lowest, q->highest);
    for (uint32_t i = 0; i < n; i++) {
        out[i] = (uint8_t)fqt_scaled(s, acc[i]);
    }
}

int32_t fqt_finish_errors(const struct fqt_masked *to, const int32_t *acc, uint32_t n, bool tracking)
{
    const struct fqt_scale s = fqt_scale_of(to->by, FQT_ERROR_ZERO, 0, 255);
    const uint8_t *x = to->x;
    uint8_t *out = to->out;
    uint32_t first = (uint32_t)(to->mask.low + 1), shown = (uint32_t)(to->mask.high - to->mask.low - 1);
    int32_t largest = 0;
#pragma GCC unroll 4
    for (uint32_t i = 0; i < n; i++) { /* fqt_hides, in one comparison */
        out[i] = (uint8_t)(x[i] - first < shown ? fqt_scaled(s, acc[i]) : FQT_ERROR_ZERO);
    }
    for (uint32_t i = 0; i < n && tracking; i++) {
        int32_t magnitude = acc[i] < 0 ? -acc[i] : acc[i];
        if (x[i] - first < shown && magnitude > largest) {
            largest = magnitude;
        }
    }
    return largest;
}

/* What the loops over rows work on; offsets are in the assembly. */
struct loop {
    const uint32_t *pairs, *end;      /* 0, 4 */
    const uint8_t *weights;           /* 8 */
    uint32_t n;                       /* 12 */
    const int32_t *starts;            /* 16 */
    int32_t correction0, correction1; /* 20, 24 */
    uint8_t *first, *second;          /* 28, 32 */
    uint32_t left;                    /* 36: pairs of rows, not 0 */
    struct fqt_scale scale;               /* 40 */
    const uint8_t *x0, *x1;           /* 60, 64 */
    int32_t mask_low;                 /* 68 */
};

/* low, high = the sums of a row's F and H: + start - correction. */
#define FINISH_SUMS(f, h, start)                                                                                    \
    "mov r1, " h "\n\t"                                                                                             \
    "lsls r6, r1, #16\n\t"                                                                                          \
    "mov r7, " f "\n\t"                                                                                             \
    "subs r7, r7, r6\n\t"                                                                                           \
    "adds r7, r7, " start "\n\t"                                                                                    \
    "subs r7, r7, r4\n\t"                                                                                           \
    "mov " f ", r7\n\t"                                                                                             \
    "adds r1, r1, " start "\n\t"                                                                                    \
    "subs r1, r1, r5\n\t"                                                                                           \
    "mov " h ", r1\n\t"

/* r1 = clamp(v, 0, span) as of fqt_scaled; m, shift, added, span in r2 to r5. */
#define SCALE(sum)                                                                                                  \
    "mov r1, " sum "\n\t"                                                                                           \
    "uxth r7, r1\n\t"                                                                                               \
    "asrs r1, r1, #16\n\t"                                                                                          \
    "muls r7, r2\n\t"                                                                                               \
    "muls r1, r2\n\t"                                                                                               \
    "lsrs r7, r7, #16\n\t"                                                                                          \
    "adds r1, r1, r7\n\t"                                                                                           \
    "adds r1, r1, r4\n\t"                                                                                           \
    "asrs r1, r3\n\t"                                                                                               \
    "cmp r1, r5\n\t"                                                                                                \
    "bls 4f\n\t"                                                                                                    \
    "mvns r1, r1\n\t"                                                                                               \
    "asrs r1, r1, #31\n\t"                                                                                          \
    "ands r1, r5\n\t"

/* To byte `offset` behind r0; `lowest` in r6. */
#define PUT_BYTE(sum, offset)                                                                                       \
    SCALE(sum)                                                                                                      \
    "4:\n\t"                                                                                                        \
    "adds r1, r1, r6\n\t"                                                                                           \
    "strb r1, [r0, #" offset "]\n\t"

/* 128 where x, at the same byte behind r6, is masked; mask_low in r12. */
#define PUT_ERROR(sum, offset)                                                                                      \
    "movs r1, #128\n\t"                                                                                             \
    "ldrb r7, [r6, #" offset "]\n\t"                                                                                \
    "cmp r7, r12\n\t"                                                                                               \
    "ble 4f\n\t" SCALE(sum) "4:\n\t"                                                                               \
    "strb r1, [r0, #" offset "]\n\t"

/* The sums of two rows, to r8 to r11. The job is in lr. */
#define SUMS_OF_TWO_ROWS                                                                                            \
    "mov r3, lr\n\t"                                                                                                \
    "ldmia r3!, {r0, r1, r2, r4}\n\t"                                                                               \
    "mov r12, r1\n\t"                                                                                               \
    "mov r1, r2\n\t"                                                                                                \
    "adds r2, r2, r4\n\t"                                                                                           \
    "adds r5, r2, r4\n\t"                                                                                           \
    "subs r3, #8\n\t"                                                                                               \
    "str r5, [r3]\n\t"                                                                                              \
    "lsrs r4, r4, #3\n\t" /* carry: an odd number of fours */                                                      \
    "movs r4, #0\n\t" FQT_CLEAR_SUMS "bcc 2f\n\t"                                                                  \
    "subs r1, #4\n\t"                                                                                               \
    "subs r2, #4\n\t"                                                                                               \
    "b 3f\n"                                                                                                        \
    "2:\n\t" FQT_FOUR_TAPS("0", "1", "2", "3") "3:\n\t" FQT_FOUR_TAPS("4", "5", "6", "7")                          \
    "adds r1, #8\n\t"                                                                                               \
    "adds r2, #8\n\t"                                                                                               \
    "cmp r0, r12\n\t"                                                                                               \
    "bne 2b\n\t"                                                                                                    \
    "mov r0, lr\n\t"                                                                                                \
    "ldr r1, [r0, #16]\n\t"                                                                                         \
    "ldmia r1!, {r2, r3}\n\t"                                                                                       \
    "str r1, [r0, #16]\n\t"                                                                                         \
    "ldr r4, [r0, #20]\n\t"                                                                                         \
    "ldr r5, [r0, #24]\n\t" FINISH_SUMS("r8", "r9", "r2") FINISH_SUMS("r10", "r11", "r3")                           \
    "adds r0, #40\n\t"                                                                                              \
    "ldmia r0!, {r2, r3, r4, r5, r6}\n\t"                                                                           \
    "mov r0, lr\n\t"

/* Two bytes further in a pointer of the job. */
#define ADVANCE(pointer, at)                                                                                        \
    "adds " pointer ", #2\n\t"                                                                                      \
    "mov r1, lr\n\t"                                                                                                \
    "str " pointer ", [r1, #" at "]\n\t"

#define COUNT_ROWS                                                                                                  \
    "mov r1, lr\n\t"                                                                                                \
    "ldr r0, [r1, #36]\n\t"                                                                                         \
    "subs r0, #1\n\t"                                                                                               \
    "str r0, [r1, #36]\n\t"                                                                                         \
    "beq 5f\n\t"                                                                                                    \
    "b 1b\n"                                                                                                        \
    "5:"

#define EVERYTHING                                                                                                  \
    "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory"

/* All pairs of rows: 110 instructions a pair, and the taps. The compiler would keep most of it on the stack. */
static __attribute__((noinline)) void put_bytes(struct loop *l)
{
    register struct loop *loop __asm__("r0") = l;
    __asm__ volatile(".syntax unified\n\t"
                     "mov lr, r0\n"
                     "1:\n\t" SUMS_OF_TWO_ROWS
                     "ldr r0, [r0, #28]\n\t" PUT_BYTE("r8", "0") PUT_BYTE("r10", "1") ADVANCE("r0", "28")
                     "ldr r0, [r1, #32]\n\t" PUT_BYTE("r9", "0") PUT_BYTE("r11", "1") ADVANCE("r0", "32") COUNT_ROWS
                     : "+r"(loop)
                     :
                     : EVERYTHING);
}

static __attribute__((noinline)) void put_errors(struct loop *l)
{
    register struct loop *loop __asm__("r0") = l;
    __asm__ volatile(".syntax unified\n\t"
                     "mov lr, r0\n"
                     "1:\n\t" SUMS_OF_TWO_ROWS
                     "mov r1, r0\n\t"
                     "adds r1, #60\n\t"
                     "ldr r6, [r1]\n\t"
                     "ldr r7, [r1, #8]\n\t"
                     "mov r12, r7\n\t"
                     "ldr r0, [r0, #28]\n\t" PUT_ERROR("r8", "0") PUT_ERROR("r10", "1") ADVANCE("r0", "28") ADVANCE("r6", "60")
                     "ldr r0, [r1, #32]\n\t"
                     "adds r1, #60\n\t"
                     "ldr r6, [r1, #4]\n\t" PUT_ERROR("r9", "0") PUT_ERROR("r11", "1") ADVANCE("r0", "32") ADVANCE("r6", "64")
                         COUNT_ROWS
                     : "+r"(loop)
                     :
                     : EVERYTHING);
}

static struct loop loop_of(const struct cursor *c, struct fqt_scale scale)
{
    return (struct loop){.pairs = c->pairs, .end = c->pairs + c->n, .weights = c->weights, .n = c->n, .starts = c->starts,
                         .correction0 = c->correction0, .correction1 = c->correction1, .left = c->left / 2u,
                         .scale = scale};
}

/* Sums of the odd last row. */
static struct fqt_dots last_row(const struct loop *l, struct cursor *c)
{
    struct fqt_dots d;
    c->weights = l->weights;
    c->starts = l->starts;
    c->left = 1u;
    next(c, &d);
    return d;
}

void fqt_multiply_rows_to_bytes(const struct fqt_rows *rows, const struct fqt_windows *windows,
                                const struct fqt_requantization *q, uint8_t *first, uint8_t *second)
{
    const struct fqt_scale s = fqt_scale_of(q->by, q->zero, q->lowest, q->highest);
    struct cursor c = cursor_of(rows, windows);
    struct loop loop = loop_of(&c, s);
    loop.first = first;
    loop.second = second;
    if (loop.left != 0) {
        put_bytes(&loop);
    }
    if ((c.left & 1u) != 0) {
        struct fqt_dots d = last_row(&loop, &c);
        *loop.first = (uint8_t)fqt_scaled(s, d.a0);
        *loop.second = (uint8_t)fqt_scaled(s, d.a1);
    }
}

static uint8_t error_of(struct fqt_scale s, struct fqt_mask mask, uint8_t x, int32_t acc)
{
    return (uint8_t)(fqt_hides(mask, x) ? FQT_ERROR_ZERO : fqt_scaled(s, acc));
}

/* put_errors looks at the mask's lower bound only. */
static void hide_high(const struct fqt_masked *to, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        to->out[i] = to->x[i] >= to->mask.high ? FQT_ERROR_ZERO : to->out[i];
    }
}

void fqt_multiply_rows_to_errors(const struct fqt_rows *rows, const struct fqt_windows *windows,
                                 const struct fqt_masked *first, const struct fqt_masked *second)
{
    const struct fqt_scale s = fqt_scale_of(first->by, FQT_ERROR_ZERO, 0, 255);
    struct cursor c = cursor_of(rows, windows);
    struct loop loop = loop_of(&c, s);
    loop.first = first->out;
    loop.second = second->out;
    loop.x0 = first->x;
    loop.x1 = second->x;
    loop.mask_low = first->mask.low;
    if (loop.left != 0) {
        put_errors(&loop);
    }
    if ((c.left & 1u) != 0) {
        struct fqt_dots d = last_row(&loop, &c);
        *loop.first = error_of(s, first->mask, *loop.x0, d.a0);
        *loop.second = error_of(s, first->mask, *loop.x1, d.a1);
    }
    if (first->mask.high <= 255) {
        hide_high(first, rows->count);
        hide_high(second, rows->count);
    }
}

/* --- four rows, one window ---------------------------------------------------------------------------- */

#define FOUR_ROWS(offset)                                                                                           \
    "ldmia r0!, {r5}\n\t"                                                                                           \
    "ldrb r6, [r1, #" offset "]\n\t"                                                                                \
    "muls r6, r5\n\t"                                                                                               \
    "add r8, r6\n\t"                                                                                                \
    "ldrb r6, [r2, #" offset "]\n\t"                                                                                \
    "muls r6, r5\n\t"                                                                                               \
    "add r9, r6\n\t"                                                                                                \
    "ldrb r6, [r3, #" offset "]\n\t"                                                                                \
    "muls r6, r5\n\t"                                                                                               \
    "add r10, r6\n\t"                                                                                               \
    "ldrb r6, [r4, #" offset "]\n\t"                                                                                \
    "muls r6, r5\n\t"                                                                                               \
    "add r11, r6\n\t"

/* Rows `pitch` bytes apart; sums are added to acc(4). Sixteen taps a turn, 212 instructions, 301 cycles, 64 MACs; the first
 * turn is a shorter one: `skipped` taps of it are left out. */
static __attribute__((noinline)) void dot_4x1(const uint8_t *rows, uint32_t pitch, const int32_t *values, uint32_t n,
                                              int32_t *acc)
{
    uint32_t skipped = -n & 15u;
    register const int32_t *x __asm__("r0") = values;
    register const uint8_t *a __asm__("r1") = rows - skipped;
    register const uint8_t *b __asm__("r2") = a + pitch;
    register const uint8_t *c __asm__("r3") = b + pitch;
    register const uint8_t *d __asm__("r4") = c + pitch;
    register int32_t sum_a __asm__("r8") = acc[0];
    register int32_t sum_b __asm__("r9") = acc[1];
    register int32_t sum_c __asm__("r10") = acc[2];
    register int32_t sum_d __asm__("r11") = acc[3];
    register const int32_t *end __asm__("r12") = values + n;
    register uint32_t fours __asm__("r5") = skipped >> 2;
    __asm__ volatile(".syntax unified\n\t"
                     "cmp r5, #1\n\t"
                     "blo 1f\n\t"
                     "beq 2f\n\t"
                     "cmp r5, #2\n\t"
                     "beq 3f\n\t"
                     "b 4f\n"
                     "1:\n\t" FOUR_ROWS("0") FOUR_ROWS("1") FOUR_ROWS("2") FOUR_ROWS("3") "2:\n\t" FOUR_ROWS("4")
                         FOUR_ROWS("5") FOUR_ROWS("6") FOUR_ROWS("7") "3:\n\t" FOUR_ROWS("8") FOUR_ROWS("9")
                             FOUR_ROWS("10") FOUR_ROWS("11") "4:\n\t" FOUR_ROWS("12") FOUR_ROWS("13")
                                 FOUR_ROWS("14") FOUR_ROWS("15")
                     "adds r1, #16\n\t"
                     "adds r2, #16\n\t"
                     "adds r3, #16\n\t"
                     "adds r4, #16\n\t"
                     "cmp r0, r12\n\t"
                     "beq 5f\n\t"
                     "b 1b\n"
                     "5:"
                     : "+r"(x), "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(fours), "+r"(sum_a), "+r"(sum_b), "+r"(sum_c),
                       "+r"(sum_d)
                     : "r"(end)
                     : "r6", "cc", "memory");
    acc[0] = sum_a;
    acc[1] = sum_b;
    acc[2] = sum_c;
    acc[3] = sum_d;
}

static int32_t dot(const uint8_t *row, const int32_t *values, uint32_t n)
{
    int32_t sum = 0;
    for (uint32_t k = 0; k < n; k++) {
        sum += row[k] * values[k];
    }
    return sum;
}

void fqt_multiply_row(const struct fqt_rows *rows, const struct fqt_window *window, int32_t *out)
{
    int32_t correction = rows->zero * window->sum;
    const uint8_t *weights = rows->weights;
    uint32_t i = 0;
    for (; i + 4u <= rows->count; i += 4u, weights += 4u * rows->n) {
        for (uint32_t k = i; k < i + 4u; k++) {
            out[k] = rows->bias[k] - correction;
        }
        dot_4x1(weights, rows->n, window->values, rows->n, out + i);
    }
    for (; i < rows->count; i++, weights += rows->n) {
        out[i] = rows->bias[i] - correction + dot(weights, window->values, rows->n);
    }
}

#endif
