/* For the DSP extension: SMLAD takes two taps at once.
 *
 * Windows are centred int16, each group of four taps in the order 0, 2, 1, 3: two words, the even taps and the odd ones. Of a
 * pair each word of the first window has that of the second behind it. */
#include "rows.h"

#include "simd.h"

#if FQT_DSP

struct dots4 {
    int32_t a, b, c, d; /* four rows of weights times one window */
};

/* Four taps of two rows, whose sums are in r10 to lr: 15 instructions, 20 cycles, 16 MACs. */
#define STEP_2X2                                                                                                    \
    "ldr r3, [r1], #4\n\t"                                                                                          \
    "ldr r4, [r2], #4\n\t"                                                                                          \
    "ldmia r0!, {r5, r6, r7, r8}\n\t"                                                                               \
    "uxtb16 r9, r3\n\t"                                                                                             \
    "smlad r10, r9, r5, r10\n\t"                                                                                    \
    "smlad r11, r9, r6, r11\n\t"                                                                                    \
    "uxtb16 r9, r4\n\t"                                                                                             \
    "smlad r12, r9, r5, r12\n\t"                                                                                    \
    "smlad lr, r9, r6, lr\n\t"                                                                                      \
    "uxtb16 r3, r3, ror #8\n\t"                                                                                     \
    "smlad r10, r3, r7, r10\n\t"                                                                                    \
    "smlad r11, r3, r8, r11\n\t"                                                                                    \
    "uxtb16 r4, r4, ror #8\n\t"                                                                                     \
    "smlad r12, r4, r7, r12\n\t"                                                                                    \
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

/* Four taps of one row: 5 instructions, 6 cycles, 4 MACs. */
#define FQT_DOT_4X1_STEP(row, sum)                                                                                  \
    "ldr %[w], [%[" row "]], #4\n\t"                                                                                \
    "uxtb16 %[pair], %[w]\n\t"                                                                                      \
    "smlad %[" sum "], %[pair], %[even], %[" sum "]\n\t"                                                            \
    "uxtb16 %[w], %[w], ror #8\n\t"                                                                                 \
    "smlad %[" sum "], %[w], %[odd], %[" sum "]\n\t"

/* n is not 0. 24 instructions, 31 cycles per 16 MACs. */
static inline struct dots4 dot_4x1(const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d,
                                           const int16_t *window, uint32_t n)
{
    struct dots4 sums = {0, 0, 0, 0};
    uint32_t even, odd, w, pair;
    __asm__ volatile("1:\n\t"
                     "ldr %[even], [%[p]], #4\n\t"
                     "ldr %[odd], [%[p]], #4\n\t" FQT_DOT_4X1_STEP("a", "sum_a") FQT_DOT_4X1_STEP("b", "sum_b")
                         FQT_DOT_4X1_STEP("c", "sum_c") FQT_DOT_4X1_STEP("d", "sum_d") "subs %[n], #4\n\t"
                     "bne 1b"
                     : [sum_a] "+r"(sums.a), [sum_b] "+r"(sums.b), [sum_c] "+r"(sums.c), [sum_d] "+r"(sums.d),
                       [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [p] "+r"(window), [n] "+r"(n),
                       [even] "=&r"(even), [odd] "=&r"(odd), [w] "=&r"(w), [pair] "=&r"(pair)
                     :
                     : "cc", "memory");
    return sums;
}

void fqt_start_rows(const struct fqt_rows *rows, int32_t x_zero, int32_t *starts)
{
    (void)x_zero;
    for (uint32_t i = 0; i < rows->count; i++) {
        starts[i] = rows->bias != NULL ? rows->bias[i] : 0;
    }
}

/* 2.75 instructions a value. */
struct fqt_window fqt_lay_out(void *to, const uint8_t *x, uint32_t n, uint8_t x_zero)
{
    uint32_t zeros = x_zero * FQT_PAIR_OF_ONES, *pairs = to;
    int32_t sum = 0;
    for (const uint8_t *end = x + n; x != end; x += 4, pairs += 2) {
        uint32_t word = fqt_word(x);
        pairs[0] = fqt_subtract_pairs(fqt_even_bytes(word), zeros);
        pairs[1] = fqt_subtract_pairs(fqt_odd_bytes(word), zeros);
        sum = fqt_smlad(pairs[0], FQT_PAIR_OF_ONES, sum);
        sum = fqt_smlad(pairs[1], FQT_PAIR_OF_ONES, sum);
    }
    return (struct fqt_window){to, sum};
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
static void hide_high(const struct fqt_masked *to, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        to->out[i] = to->x[i] >= to->mask.high ? FQT_ERROR_ZERO : to->out[i];
    }
}

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
    uint32_t n = rows->n, last = rows->count - 1u;
    int32_t correction = rows->zero * window->sum;
    for (uint32_t i = 0; i < rows->count; i += 4u) { /* missing rows are the last one again */
        uint32_t j = i + 1u < last ? i + 1u : last, k = i + 2u < last ? i + 2u : last, l = i + 3u < last ? i + 3u : last;
        const uint8_t *weights = rows->weights;
        struct dots4 dots =
            dot_4x1(weights + i * n, weights + j * n, weights + k * n, weights + l * n, window->values, n);
        out[i] = rows->bias[i] + dots.a - correction;
        out[j] = rows->bias[j] + dots.b - correction;
        out[k] = rows->bias[k] + dots.c - correction;
        out[l] = rows->bias[l] + dots.d - correction;
    }
}

#endif
