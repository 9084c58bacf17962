/* For the DSP extension: SMLAD takes two taps at once.
 *
 * Windows are centred int16, each group of four taps in the order 0, 2, 1, 3: two words, the even taps and the odd ones. Of a
 * pair each word of the first window has that of the second behind it. */
#include "rows.h"

#include "simd.h"

#if FQT_DSP

/* Four taps of two rows, whose sums are in r10 to lr: 15 instructions, 16 MACs; 20 cycles on a Cortex-M4. The order is one that
 * a Cortex-M7 issues best: of those tried, 9 % fewer cycles than row by row. */
#define STEP_2X2                                                                                                    \
    "ldr r3, [r1], #4\n\t"                                                                                          \
    "ldr r4, [r2], #4\n\t"                                                                                          \
    "ldmia r0!, {r5, r6, r7, r8}\n\t"                                                                               \
    "uxtb16 r9, r3\n\t"                                                                                             \
    "uxtb16 r3, r3, ror #8\n\t"                                                                                     \
    "smlad r10, r9, r5, r10\n\t"                                                                                    \
    "smlad r10, r3, r7, r10\n\t"                                                                                    \
    "smlad r11, r9, r6, r11\n\t"                                                                                    \
    "uxtb16 r9, r4\n\t"                                                                                             \
    "uxtb16 r4, r4, ror #8\n\t"                                                                                     \
    "smlad lr, r9, r6, lr\n\t"                                                                                      \
    "smlad r12, r9, r5, r12\n\t"                                                                                    \
    "smlad r12, r4, r7, r12\n\t"                                                                                    \
    "smlad r11, r3, r8, r11\n\t"                                                                                    \
    "smlad lr, r4, r8, lr\n\t"

/* What the loops over rows work on; offsets are in the assembly. */
struct loop {
    const void *pair, *end;           /* 0, 4 */
    const uint8_t *weights;           /* 8 */
    uint32_t n;                       /* 12: of a row */
    const int32_t *starts;            /* 16 */
    int32_t correction0, correction1; /* 20, 24 */
    uint8_t *first, *second;          /* 28, 32 */
    const uint8_t *first_end;         /* 36: of the last pair of rows; there is one */
    int32_t m, zero;                  /* 40, 44 */
    const uint8_t *x0, *x1;           /* 48, 52 */
    int32_t mask_low;                 /* 56 */
};

/* The sums of two rows; the job's address lies on the stack, the end of the windows above it. A round makes four steps:
 * of a number that is no multiple, the first one, or two, enter it late. */
#define SUMS_OF_TWO_ROWS                                                                                            \
    "ldr r9, [sp]\n\t"                                                                                              \
    "ldr r8, [r9, #16]\n\t"                                                                                         \
    "ldrd r5, r6, [r9, #20]\n\t"                                                                                    \
    "ldrd r3, r4, [r8], #8\n\t"                                                                                     \
    "str r8, [r9, #16]\n\t"                                                                                         \
    "sub r10, r3, r5\n\t"                                                                                           \
    "sub r11, r3, r6\n\t"                                                                                           \
    "sub r12, r4, r5\n\t"                                                                                           \
    "sub lr, r4, r6\n\t"                                                                                            \
    "ldr r0, [r9]\n\t"                                                                                              \
    "ldrd r1, r3, [r9, #8]\n\t"                                                                                     \
    "add r2, r1, r3\n\t"                                                                                            \
    "lsrs r4, r3, #3\n\t" /* carry: an odd number of steps */                                                      \
    "bcc 3f\n\t" STEP_2X2                                                                                          \
    "ldr r3, [sp, #4]\n\t"                                                                                          \
    "cmp r0, r3\n\t"                                                                                                \
    "beq 5f\n\t"                                                                                                    \
    "ldr r4, [sp]\n\t"                                                                                              \
    "ldr r4, [r4, #12]\n\t"                                                                                         \
    "lsrs r4, r4, #3\n"                                                                                             \
    "3:\n\t"                                                                                                        \
    "lsrs r4, r4, #1\n\t"                                                                                           \
    "bcs 4f\n"                                                                                                      \
    "2:\n\t" STEP_2X2 STEP_2X2 "4:\n\t" STEP_2X2 STEP_2X2                                                          \
    "ldr r3, [sp, #4]\n\t"                                                                                          \
    "cmp r0, r3\n\t"                                                                                                \
    "bne 2b\n"                                                                                                      \
    "5:\n\t"                                                                                                        \
    "ldr r9, [sp]\n\t"                                                                                              \
    "str r2, [r9, #8]\n\t" /* behind the second row */

/* The sums, requantized, as bytes. */
#define BYTES_OF_SUMS                                                                                               \
    "ldrd r3, r4, [r9, #40]\n\t"                                                                                    \
    "smmlar r10, r10, r3, r4\n\t"                                                                                   \
    "smmlar r11, r11, r3, r4\n\t"                                                                                   \
    "smmlar r12, r12, r3, r4\n\t"                                                                                   \
    "smmlar lr, lr, r3, r4\n\t"                                                                                     \
    "usat r10, #8, r10\n\t"                                                                                         \
    "usat r11, #8, r11\n\t"                                                                                         \
    "usat r12, #8, r12\n\t"                                                                                         \
    "usat lr, #8, lr\n\t"

/* 128 where x, the next byte of [pointer], is masked. */
#define HIDE(sum, pointer)                                                                                          \
    "ldrb r5, [" pointer "], #1\n\t"                                                                                \
    "cmp r5, r8\n\t"                                                                                                \
    "it le\n\t"                                                                                                     \
    "movle " sum ", #128\n\t"

#define PUT_AND_COUNT                                                                                               \
    "ldrd r3, r4, [r9, #28]\n\t"                                                                                    \
    "strb r10, [r3], #1\n\t"                                                                                        \
    "strb r12, [r3], #1\n\t"                                                                                        \
    "strb r11, [r4], #1\n\t"                                                                                        \
    "strb lr, [r4], #1\n\t"                                                                                         \
    "ldr r5, [r9, #36]\n\t"                                                                                         \
    "strd r3, r4, [r9, #28]\n\t"                                                                                    \
    "cmp r3, r5\n\t"                                                                                                \
    "bne 1b\n\t"                                                                                                    \
    "add sp, #8"

#define BEGIN                                                                                                       \
    "ldr r1, [r0, #4]\n\t"                                                                                          \
    "push {r0, r1}\n"                                                                                               \
    "1:\n\t"

#define EVERYTHING                                                                                                  \
    "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory"

/* All pairs of rows: 37 instructions a pair, and the taps. The compiler would keep most of it on the stack. */
static __attribute__((noinline)) void put_bytes(struct loop *l)
{
    register struct loop *loop __asm__("r0") = l;
    __asm__ volatile(BEGIN SUMS_OF_TWO_ROWS BYTES_OF_SUMS PUT_AND_COUNT : "+r"(loop) : : EVERYTHING);
}

static __attribute__((noinline)) void put_errors(struct loop *l)
{
    register struct loop *loop __asm__("r0") = l;
    __asm__ volatile(BEGIN SUMS_OF_TWO_ROWS BYTES_OF_SUMS
                     "ldrd r6, r7, [r9, #48]\n\t"
                     "ldr r8, [r9, #56]\n\t" HIDE("r10", "r6") HIDE("r12", "r6") HIDE("r11", "r7") HIDE("lr", "r7")
                     "strd r6, r7, [r9, #48]\n\t" PUT_AND_COUNT
                     : "+r"(loop)
                     :
                     : EVERYTHING);
}

/* The same without requantization, a pair of rows a call: sums are added to acc(4). */
static __attribute__((noinline)) void add_dots(const uint8_t *row_a, const uint8_t *row_b, const void *pair, const void *pair_end,
                                               int32_t *acc)
{
    register const void *x __asm__("r0") = pair;
    register const uint8_t *a __asm__("r1") = row_a;
    register const uint8_t *b __asm__("r2") = row_b;
    register const void *end __asm__("r3") = pair_end;
    register int32_t *to __asm__("r4") = acc;
    __asm__ volatile("push {r3, r4}\n\t"
                     "ldmia r4, {r10, r11, r12, lr}\n"
                     "1:\n\t" STEP_2X2 "ldr r3, [sp]\n\t"
                     "cmp r0, r3\n\t"
                     "bne 1b\n\t"
                     "pop {r3, r4}\n\t"
                     "stmia r4, {r10, r11, r12, lr}"
                     : "+r"(x), "+r"(a), "+r"(b), "+r"(end), "+r"(to)
                     :
                     : "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* Eight taps of two rows, whose sums are in r11 and r12: 19 instructions, 27 cycles, 16 MACs. */
#define STEP_2X1                                                                                                    \
    "ldrd r3, r4, [r1], #8\n\t"                                                                                     \
    "ldrd r5, r6, [r2], #8\n\t"                                                                                     \
    "ldmia r0!, {r7, r8, r9, r10}\n\t" TWO_OF_ROW("r3", "r7", "r8", "r11") TWO_OF_ROW("r5", "r7", "r8", "r12")      \
        TWO_OF_ROW("r4", "r9", "r10", "r11") TWO_OF_ROW("r6", "r9", "r10", "r12")

#define TWO_OF_ROW(weights, even, odd, sum)                                                                         \
    "uxtb16 lr, " weights "\n\t"                                                                                    \
    "uxtb16 " weights ", " weights ", ror #8\n\t"                                                                   \
    "smlad " sum ", lr, " even ", " sum "\n\t"                                                                      \
    "smlad " sum ", " weights ", " odd ", " sum "\n\t"

/* What add_dots_2x1 works on; offsets are in the assembly. */
struct rows_loop {
    const void *window, *end; /* 0, 4 */
    int32_t *acc, *acc_end;   /* 8, 12: two sums a pair of rows */
    uint32_t pitch, rounds;   /* 16: from a row to the next, 20: steps of eight taps */
};

/* acc += rows times a window of a multiple of 8 values, two rows at a time: 18 instructions a pair, and the taps. */
static __attribute__((noinline)) void add_dots_2x1(const uint8_t *rows, const struct rows_loop *l)
{
    register const uint8_t *a __asm__("r0") = rows;
    register const struct rows_loop *loop __asm__("r1") = l;
    __asm__ volatile("sub sp, #32\n\t"
                     "ldmia r1, {r2, r3, r4, r5, r6, r7}\n\t"
                     "stmia sp, {r2, r3, r4, r5, r6, r7}\n\t"
                     "mov r1, r0\n"
                     "3:\n\t"
                     "ldmia sp, {r0, r3, r4, r5, r6, r7}\n\t"
                     "add r2, r1, r6\n\t"
                     "add r6, r2, r6\n\t"
                     "str r6, [sp, #24]\n\t"
                     "ldrd r11, r12, [r4], #8\n\t"
                     "str r4, [sp, #8]\n\t"
                     "ands r7, r7, #3\n\t"
                     "beq 1f\n\t"
                     "cmp r7, #2\n\t"
                     "blo 5f\n\t"
                     "beq 4f\n\t"
                     "b 2f\n"
                     "1:\n\t" STEP_2X1 "2:\n\t" STEP_2X1 "4:\n\t" STEP_2X1 "5:\n\t" STEP_2X1 "ldr r3, [sp, #4]\n\t"
                     "cmp r0, r3\n\t"
                     "bne 1b\n\t"
                     "ldrd r4, r5, [sp, #8]\n\t"
                     "strd r11, r12, [r4, #-8]\n\t"
                     "ldr r1, [sp, #24]\n\t"
                     "cmp r4, r5\n\t"
                     "bne 3b\n\t"
                     "add sp, #32"
                     : "+r"(a), "+r"(loop)
                     :
                     : "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* Four taps. */
static int32_t add_four(const uint8_t *row, const uint32_t *pairs, int32_t acc)
{
    uint32_t word = fqt_word(row);
    return fqt_smlad(fqt_odd_bytes(word), pairs[1], fqt_smlad(fqt_even_bytes(word), pairs[0], acc));
}

void fqt_start_rows(const struct fqt_rows *rows, int32_t x_zero, int32_t *starts)
{
    (void)x_zero;
    for (uint32_t i = 0; i < rows->count; i++) {
        starts[i] = rows->bias != NULL ? rows->bias[i] : 0;
    }
}

/* 2.5 instructions a value. */
struct fqt_window fqt_lay_out(void *to, const uint8_t *x, uint32_t n, uint8_t x_zero)
{
    uint32_t zeros = x_zero * FQT_PAIR_OF_ONES, *pairs = to, sum = 0;
    for (const uint8_t *end = x + n; x != end; x += 4, pairs += 2) {
        uint32_t word = fqt_word(x);
        sum = fqt_add_bytes(word, sum);
        pairs[0] = fqt_subtract_pairs(fqt_even_bytes(word), zeros);
        pairs[1] = fqt_subtract_pairs(fqt_odd_bytes(word), zeros);
    }
    return (struct fqt_window){to, (int32_t)sum - (int32_t)n * x_zero};
}

/* 2.5 instructions a value. */
struct fqt_windows fqt_lay_out_pair(void *to, const uint8_t *first, const uint8_t *second, struct fqt_area area,
                                    uint8_t x_zero)
{
    uint32_t zeros = x_zero * FQT_PAIR_OF_ONES, *pairs = to, first_sum = 0, second_sum = 0;
    int32_t less = (int32_t)(area.rows * area.n) * x_zero;
    for (; area.rows != 0; area.rows--) {
        for (uint32_t i = 0; i < area.n; i += 4u, pairs += 4) {
            uint32_t word0 = fqt_word(first + i), word1 = fqt_word(second + i);
            first_sum = fqt_add_bytes(word0, first_sum);
            second_sum = fqt_add_bytes(word1, second_sum);
            pairs[0] = fqt_subtract_pairs(fqt_even_bytes(word0), zeros);
            pairs[1] = fqt_subtract_pairs(fqt_even_bytes(word1), zeros);
            pairs[2] = fqt_subtract_pairs(fqt_odd_bytes(word0), zeros);
            pairs[3] = fqt_subtract_pairs(fqt_odd_bytes(word1), zeros);
        }
        first += area.pitch;
        second += area.pitch;
    }
    return (struct fqt_windows){to, (int32_t)first_sum - less, (int32_t)second_sum - less};
}

/* Sums of rows i and i + other. */
static void two_rows(const struct fqt_rows *rows, const struct fqt_windows *windows, uint32_t i, uint32_t other,
                     int32_t acc[4])
{
    int32_t correction0 = rows->zero * windows->first_sum, correction1 = rows->zero * windows->second_sum;
    int32_t a = rows->starts[i], b = rows->starts[i + other];
    const uint8_t *weights = rows->weights + i * rows->n;
    acc[0] = a - correction0;
    acc[1] = a - correction1;
    acc[2] = b - correction0;
    acc[3] = b - correction1;
    add_dots(weights, weights + other * rows->n, windows->pair, (const uint8_t *)windows->pair + 4u * rows->n, acc);
}

void fqt_multiply_rows(const struct fqt_rows *rows, const struct fqt_windows *windows, int32_t *first,
                       int32_t *second)
{
    int32_t acc[4];
    for (uint32_t i = 0; i < rows->count; i += 2u) {
        uint32_t other = i + 1u < rows->count ? 1u : 0u; /* an odd last row is computed twice */
        two_rows(rows, windows, i, other, acc);
        first[i] = acc[0];
        second[i] = acc[1];
        first[i + other] = acc[2];
        second[i + other] = acc[3];
    }
}

static uint32_t error_of(int32_t acc, int32_t m)
{
    return (uint32_t)fqt_saturate_byte(fqt_add_high(acc, m, FQT_ERROR_ZERO));
}

/* The errors of four sums, where x is not masked from below. */
static uint32_t four_errors(const int32_t *acc, uint32_t x, int32_t m, uint32_t shown_from)
{
    uint32_t even = error_of(acc[0], m) | error_of(acc[2], m) << 16, odd = error_of(acc[1], m) | error_of(acc[3], m) << 16;
    return fqt_select_bytes(x, shown_from, even | odd << 8, FQT_ERROR_ZERO * 0x01010101u);
}

static int32_t largest_shown(const struct fqt_masked *to, const int32_t *acc, uint32_t n)
{
    uint32_t first = (uint32_t)(to->mask.low + 1), shown = (uint32_t)(to->mask.high - to->mask.low - 1);
    int32_t largest = 0;
    for (uint32_t i = 0; i < n; i++) {
        int32_t magnitude = acc[i] < 0 ? -acc[i] : acc[i];
        if (to->x[i] - first < shown && magnitude > largest) { /* fqt_hides, in one comparison */
            largest = magnitude;
        }
    }
    return largest;
}

/* What is masked from above is hidden afterwards: no other activation than ReLU6 has it. */
static void hide_high(const struct fqt_masked *to, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        to->out[i] = to->x[i] >= to->mask.high ? FQT_ERROR_ZERO : to->out[i];
    }
}

int32_t fqt_finish_errors(const struct fqt_masked *to, const int32_t *acc, uint32_t n, bool tracking)
{
    const uint8_t *x = to->x;
    uint8_t *out = to->out;
    int32_t m = to->by.m << (32 - to->by.shift), low = to->mask.low;
    uint32_t i = 0, shown_from = (uint32_t)(low + 1) * 0x01010101u;
    for (; i + 4u <= n; i += 4u) {
        uint32_t word = four_errors(acc + i, fqt_word(x + i), m, shown_from);
        memcpy(out + i, &word, sizeof word);
    }
    for (; i < n; i++) {
        out[i] = (uint8_t)(x[i] > low ? error_of(acc[i], m) : FQT_ERROR_ZERO);
    }
    if (to->mask.high <= 255) {
        hide_high(to, n);
    }
    return tracking ? largest_shown(to, acc, n) : 0;
}

static struct loop loop_of(const struct fqt_rows *rows, const struct fqt_windows *windows, struct fqt_multiplier by,
                           int32_t zero)
{
    return (struct loop){
        .pair = windows->pair, .end = (const uint8_t *)windows->pair + 4u * rows->n, .weights = rows->weights,
        .n = rows->n, .starts = rows->starts, .correction0 = rows->zero * windows->first_sum,
        .correction1 = rows->zero * windows->second_sum, .m = by.m << (32 - by.shift),
        .zero = zero,
    };
}

static void clamp_bytes(uint8_t *bytes, uint32_t n, int32_t lowest, int32_t highest)
{
    uint32_t lows = (uint32_t)lowest * 0x01010101u, highs = (uint32_t)highest * 0x01010101u, i = 0;
    for (; i + 4u <= n; i += 4u) {
        uint32_t word = fqt_smaller_bytes(fqt_larger_bytes(fqt_word(bytes + i), lows), highs);
        memcpy(bytes + i, &word, sizeof word);
    }
    for (; i < n; i++) {
        bytes[i] = (uint8_t)fqt_clamp(bytes[i], lowest, highest);
    }
}

void fqt_multiply_rows_to_bytes(const struct fqt_rows *rows, const struct fqt_windows *windows,
                                const struct fqt_requantization *q, uint8_t *first, uint8_t *second)
{
    struct loop loop = loop_of(rows, windows, q->by, q->zero);
    loop.first = first;
    loop.second = second;
    loop.first_end = first + (rows->count & ~1u);
    if (rows->count > 1u) {
        put_bytes(&loop);
    }
    if ((rows->count & 1u) != 0) {
        int32_t acc[4];
        two_rows(rows, windows, rows->count - 1u, 0, acc);
        *loop.first = (uint8_t)fqt_saturate_byte(q->zero + fqt_scale_rounded(acc[0], q->by));
        *loop.second = (uint8_t)fqt_saturate_byte(q->zero + fqt_scale_rounded(acc[1], q->by));
    }
    if (q->lowest > 0 || q->highest < 255) {
        clamp_bytes(first, rows->count, q->lowest, q->highest);
        clamp_bytes(second, rows->count, q->lowest, q->highest);
    }
}

/* put_errors looks at the mask's lower bound only. */
void fqt_multiply_rows_to_errors(const struct fqt_rows *rows, const struct fqt_windows *windows,
                                 const struct fqt_masked *first, const struct fqt_masked *second)
{
    struct loop loop = loop_of(rows, windows, first->by, FQT_ERROR_ZERO);
    loop.first = first->out;
    loop.second = second->out;
    loop.x0 = first->x;
    loop.x1 = second->x;
    loop.mask_low = first->mask.low;
    loop.first_end = first->out + (rows->count & ~1u);
    if (rows->count > 1u) {
        put_errors(&loop);
    }
    if ((rows->count & 1u) != 0) {
        int32_t acc[4];
        const struct fqt_masked last0 = {first->by, first->mask, loop.x0, loop.first};
        const struct fqt_masked last1 = {first->by, first->mask, loop.x1, loop.second};
        two_rows(rows, windows, rows->count - 1u, 0, acc);
        fqt_finish_errors(&last0, &acc[0], 1u, false);
        fqt_finish_errors(&last1, &acc[1], 1u, false);
    }
    if (first->mask.high <= 255) {
        hide_high(first, rows->count);
        hide_high(second, rows->count);
    }
}

void fqt_multiply_row(const struct fqt_rows *rows, const struct fqt_window *window, int32_t *out)
{
    uint32_t n = rows->n, eights = n & ~7u, i = 0;
    const uint32_t *values = window->values;
    int32_t correction = rows->zero * window->sum;
    for (uint32_t k = 0; k < rows->count; k++) {
        out[k] = rows->bias[k] - correction;
    }
    if (eights != 0 && rows->count > 1u) {
        i = rows->count & ~1u;
        const struct rows_loop loop = {values, values + eights / 2u, out, out + i, n, eights / 8u};
        add_dots_2x1(rows->weights, &loop);
    }
    if (i == rows->count && eights == n) {
        return;
    }
    for (uint32_t k = 0; k < rows->count; k++) { /* what is left of the rows, or a whole odd one */
        for (uint32_t tap = k < i ? eights : 0u; tap < n; tap += 4u) {
            out[k] = add_four(rows->weights + k * n + tap, values + tap / 2u, out[k]);
        }
    }
}

#endif
