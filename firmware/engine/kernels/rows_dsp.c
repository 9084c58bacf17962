/* For the DSP extension: SMLAD takes two taps at once.
 *
 * Windows are centred int16, each group of four taps in the order 0, 2, 1, 3: two words, the even taps and the odd ones. Of a
 * pair each word of the first window has that of the second behind it. */
#include "rows_dsp.h"

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

/* The sums of two rows; the job's address lies on the stack, the end of the windows above it. A round makes two steps;
 * an odd first one enters it late. */
#define SUMS_OF_TWO_ROWS                                                                                            \
    "ldr r9, [sp]\n\t"                                                                                              \
    "ldr r8, [r9, #20]\n\t"                                                                                         \
    "ldrd r5, r6, [r9, #56]\n\t"                                                                                    \
    "ldrd r3, r4, [r8], #8\n\t"                                                                                     \
    "str r8, [r9, #20]\n\t"                                                                                         \
    "sub r10, r3, r5\n\t"                                                                                           \
    "sub r11, r3, r6\n\t"                                                                                           \
    "sub r12, r4, r5\n\t"                                                                                           \
    "sub lr, r4, r6\n\t"                                                                                            \
    "ldr r0, [r9, #16]\n\t"                                                                                         \
    "ldrd r3, r1, [r9, #4]\n\t"                                                                                     \
    "add r2, r1, r3\n\t"                                                                                            \
    "lsrs r4, r3, #3\n\t" /* carry: an odd number of steps */                                                       \
    "bcs 4f\n"                                                                                                      \
    "2:\n\t" STEP_2X2 "4:\n\t" STEP_2X2                                                                            \
    "ldr r3, [sp, #4]\n\t"                                                                                          \
    "cmp r0, r3\n\t"                                                                                                \
    "bne 2b\n\t"                                                                                                    \
    "ldr r9, [sp]\n\t"                                                                                              \
    "str r2, [r9, #8]\n\t" /* behind the second row */

#define SCALE(sum)                                                                                                  \
    "smmlar " sum ", " sum ", r3, r4\n\t"

#define CLAMP(sum)                                                                                                  \
    "usat " sum ", #8, " sum "\n\t"

/* 128 where x is masked. */
#define HIDE(sum, x)                                                                                                \
    "ldrb r5, [" x "]\n\t"                                                                                          \
    "cmp r5, r8\n\t"                                                                                                \
    "it lo\n\t"                                                                                                     \
    "movlo " sum ", #128\n\t"

/* All pairs of rows: 36 instructions a pair, with errors' masks 22 more, and the taps. The compiler would keep most of it on
 * the stack. */
static __attribute__((noinline)) void put_rows(struct fqt_row_loop *l)
{
    register struct fqt_row_loop *loop __asm__("r0") = l;
    __asm__ volatile("ldr r1, [r0]\n\t"
                     "push {r0, r1}\n"
                     "1:\n\t" SUMS_OF_TWO_ROWS "ldrd r0, r1, [r9, #24]\n\t"
                     "ldrd r2, r3, [r9, #32]\n\t"
                     "ldr r4, [r9, #40]\n\t"
                     "add r1, r1, r0\n\t"
                     "cmp r2, #1\n\t"
                     "beq 8f\n\t" SCALE("r10") SCALE("r11") SCALE("r12") SCALE("lr")
                     CLAMP("r10") CLAMP("r11") CLAMP("r12") CLAMP("lr")
                     "blo 7f\n\t"
                     "ldr r6, [r9, #48]\n\t"
                     "ldrb r8, [r9, #52]\n\t"
                     "add r7, r1, r6\n\t"
                     "add r6, r0, r6\n\t" HIDE("r10", "r6") HIDE("r12", "r6, #1") HIDE("r11", "r7") HIDE("lr", "r7, #1")
                     "7:\n\t"
                     "strb r10, [r0], #1\n\t"
                     "strb r12, [r0], #1\n\t"
                     "strb r11, [r1]\n\t"
                     "strb lr, [r1, #1]\n"
                     "9:\n\t"
                     "ldr r5, [r9, #44]\n\t"
                     "str r0, [r9, #24]\n\t"
                     "cmp r0, r5\n\t"
                     "bne 1b\n\t"
                     "b 6f\n"
                     "8:\n\t"
                     "strd r10, r12, [r0], #8\n\t"
                     "strd r11, lr, [r1]\n\t"
                     "b 9b\n"
                     "6:\n\t"
                     "add sp, #8"
                     : "+r"(loop)
                     :
                     : "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
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
    uint32_t minus = fqt_minus_pair(x_zero), *pairs = to, sum = 0;
    for (const uint8_t *end = x + n; x != end; x += 4, pairs += 2) {
        uint32_t word = fqt_word(x);
        sum = fqt_add_bytes(word, sum);
        pairs[0] = fqt_add_even_bytes(minus, word);
        pairs[1] = fqt_add_odd_bytes(minus, word);
    }
    return (struct fqt_window){to, (int32_t)sum - (int32_t)n * x_zero};
}

/* 2.5 instructions a value. */
struct fqt_windows fqt_lay_out_pair(void *to, const uint8_t *first, const uint8_t *second, struct fqt_area area,
                                    uint8_t x_zero)
{
    uint32_t minus = fqt_minus_pair(x_zero), *pairs = to, first_sum = 0, second_sum = 0;
    int32_t less = (int32_t)(area.rows * area.n) * x_zero;
    for (; area.rows != 0; area.rows--) {
        for (uint32_t i = 0; i < area.n; i += 4u, pairs += 4) {
            uint32_t word0 = fqt_word(first + i), word1 = fqt_word(second + i);
            first_sum = fqt_add_bytes(word0, first_sum);
            second_sum = fqt_add_bytes(word1, second_sum);
            pairs[0] = fqt_add_even_bytes(minus, word0);
            pairs[1] = fqt_add_even_bytes(minus, word1);
            pairs[2] = fqt_add_odd_bytes(minus, word0);
            pairs[3] = fqt_add_odd_bytes(minus, word1);
        }
        first += area.pitch;
        second += area.pitch;
    }
    return (struct fqt_windows){to, (int32_t)first_sum - less, (int32_t)second_sum - less};
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

/* Of the rows from `first` on. */
/* A row that has no other, with window `which` of the pair. */
static FQT_SMALL void put_row(const struct fqt_row_loop *l, uint32_t which)
{
    const uint8_t *row = l->weights;
    uint8_t *to = (uint8_t *)l->first + which * l->second;
    int32_t sum = *l->starts - l->corrections[which];
    for (const uint32_t *pairs = (const uint32_t *)l->pair + which; pairs < (const uint32_t *)l->end; pairs += 4, row += 4) {
        uint32_t word = fqt_word(row);
        sum = fqt_smlad(fqt_odd_bytes(word), pairs[2], fqt_smlad(fqt_even_bytes(word), pairs[0], sum));
    }
    if (l->use == FQT_ROW_SUMS) {
        memcpy(to, &sum, sizeof sum);
        return;
    }
    bool hidden = l->use == FQT_ROW_ERRORS && to[l->x] < (uint8_t)l->shown_from;
    *to = (uint8_t)(hidden ? FQT_ERROR_ZERO : fqt_saturate_byte(fqt_add_high(sum, l->m, l->zero)));
}

static uint32_t distance(const void *from, const void *to)
{
    return (uint32_t)((uintptr_t)to - (uintptr_t)from);
}

/* Widened rows, then pairs of those that are bytes, then an odd one. `first`, `second`, `use` and what the use takes are set. */
static void multiply(struct fqt_row_loop *l, const struct fqt_rows *rows, const struct fqt_windows *windows)
{
    uint32_t wide = rows->wide != NULL ? rows->count & ~3u : 0u, left = rows->count - wide;
    uint32_t bytes = l->use == FQT_ROW_SUMS ? (uint32_t)sizeof(int32_t) : 1u;
    l->pair = windows->pair;
    l->end = (const uint8_t *)windows->pair + 4u * rows->n;
    l->n = rows->n;
    l->late = (0u - rows->n / 4u) & 3u;
    l->starts = rows->starts;
    if (wide != 0) {
        l->weights = rows->wide;
        l->first_end = (const uint8_t *)l->first + wide * bytes;
        fqt_put_wide_rows(l);
    }
    if (left == 0) {
        return;
    }
    l->weights = rows->weights + wide * rows->n;
    l->corrections[0] = rows->zero * windows->first_sum;
    l->corrections[1] = rows->zero * windows->second_sum;
    if (left > 1u) {
        l->first_end = (const uint8_t *)l->first + (left & ~1u) * bytes;
        put_rows(l);
    }
    if ((left & 1u) != 0) {
        put_row(l, 0);
        put_row(l, 1u);
    }
}

void fqt_multiply_rows(const struct fqt_rows *rows, const struct fqt_windows *windows, int32_t *first,
                       int32_t *second)
{
    struct fqt_row_loop loop; /* not initialized as a whole, which would be a call of memset */
    loop.first = first;
    loop.second = distance(first, second);
    loop.use = FQT_ROW_SUMS;
    multiply(&loop, rows, windows);
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
    struct fqt_row_loop loop;
    loop.first = first;
    loop.second = distance(first, second);
    loop.use = FQT_ROW_BYTES;
    loop.m = q->by.m << (32 - q->by.shift);
    loop.zero = q->zero;
    multiply(&loop, rows, windows);
    if (q->lowest > 0 || q->highest < 255) {
        clamp_bytes(first, rows->count, q->lowest, q->highest);
        clamp_bytes(second, rows->count, q->lowest, q->highest);
    }
}

void fqt_multiply_rows_to_errors(const struct fqt_rows *rows, const struct fqt_windows *windows,
                                 const struct fqt_masked *first, const struct fqt_masked *second)
{
    int32_t low = first->mask.low;
    struct fqt_row_loop loop;
    loop.first = first->out;
    loop.second = distance(first->out, second->out);
    loop.use = FQT_ROW_ERRORS;
    loop.m = low < 255 ? first->by.m << (32 - first->by.shift) : 0; /* 255 masks every x, which no byte says */
    loop.zero = FQT_ERROR_ZERO;
    loop.x = distance(first->out, first->x);
    loop.shown_from = (uint32_t)(low + 1) * 0x01010101u;
    multiply(&loop, rows, windows);
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
