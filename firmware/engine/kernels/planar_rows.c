/* Portable planes of int16: bytes as they are, or errors less their zero point; those of the DSP extension are the same. */
#include "planar_rows.h"

#include "simd.h"

#if !FQT_ARMV6M

#if defined(__GNUC__)
#define NO_CALL __asm__("" : : : "memory") /* or the loop becomes a call of memset */
#else
#define NO_CALL
#endif

void fqt_clear_planes(void *planes, uint32_t n_cells, uint8_t zero, bool for_windows)
{
    uint32_t *to = planes, pair = zero | (uint32_t)zero << 16;
    (void)for_windows;
    for (uint32_t *end = to + n_cells; to != end;) { /* a cell's room is that of two */
        *to++ = pair;
        NO_CALL;
    }
}

void fqt_fill_plane(void *plane, const struct fqt_plane_row *row)
{
    int16_t *to = (int16_t *)plane + row->before;
    const uint8_t *from = row->from != NULL ? row->from : &row->zero;
    uint32_t pitch = row->from != NULL ? row->pitch : 0u;
    for (int16_t *end = to + row->n; to != end; from += pitch) {
        *to++ = *from;
    }
}

#endif

#if FQT_DSP

/* Cells of two pixels, a word each, of a plane: from c or b, whose bytes are a0 a1 b0 b1 or a2 a3 b2 b3. Errors are centred, and
 * added to a sum. */
#define CELLS(to, from, sum) "uxtb16 " to ", " from "\n\t"
#define ERRORS(to, from, sum) CELLS(to, from, sum) "ssub16 " to ", " to ", r12\n\t" "smlad " sum ", " to ", lr, " sum "\n\t"

/* r4 pairs of pixels from r0, r1 bytes apart, to r2 and three planes r3 bytes further each: 16 instructions a pair. */
#define FILL(PUT)                                                                                                   \
    "1:\n\t"                                                                                                        \
    "ldr r5, [r0]\n\t"                                                                                             \
    "ldr r6, [r0, r1]\n\t"                                                                                         \
    "add r0, r0, r1, lsl #1\n\t"                                                                                   \
    "pkhbt r7, r5, r6, lsl #16\n\t"                                                                                \
    "pkhtb r6, r6, r5, asr #16\n\t" PUT("r5", "r7", "r8") "str r5, [r2]\n\t" PUT("r7", "r7, ror #8", "r9")      \
    "str r7, [r2, r3]\n\t" PUT("r5", "r6", "r10") "str r5, [r2, r3, lsl #1]\n\t"                                \
    "add r7, r2, r3, lsl #1\n\t" PUT("r6", "r6, ror #8", "r11")                                                   \
    "str r6, [r7, r3]\n\t"                                                                                         \
    "adds r2, #4\n\t"                                                                                              \
    "subs r4, #1\n\t"                                                                                              \
    "bne 1b"

static void put_last(uint8_t *to, uint32_t apart, const uint8_t *from, uint32_t less)
{
    for (uint32_t k = 0; k < FQT_PLANES; k++, to += apart) {
        int16_t cell = (int16_t)(from[k] - less);
        memcpy(to, &cell, sizeof cell);
    }
}

static __attribute__((noinline)) void fill_pairs(uint8_t *planes, const uint8_t *bytes, uint32_t n, uint32_t pitch,
                                                 uint32_t planes_apart)
{
    register const uint8_t *from __asm__("r0") = bytes;
    register uint32_t bytes_apart __asm__("r1") = pitch;
    register uint8_t *to __asm__("r2") = planes;
    register uint32_t apart __asm__("r3") = planes_apart;
    register uint32_t left __asm__("r4") = n;
    __asm__ volatile(FILL(CELLS)
                     : "+r"(from), "+r"(to), "+r"(left)
                     : "r"(bytes_apart), "r"(apart)
                     : "r5", "r6", "r7", "cc", "memory");
}

void fqt_fill_planes(void *planes, const struct fqt_plane_row *row)
{
    uint32_t n = row->n, fill = row->zero * 0x01010101u, pitch = row->from != NULL ? row->pitch : 0u;
    const uint8_t *from = row->from != NULL ? row->from : (const uint8_t *)&fill;
    uint8_t *to = (uint8_t *)planes + 2u * row->before;
    if (n > 1u) {
        fill_pairs(to, from, n / 2u, pitch, row->apart);
    }
    if ((n & 1u) != 0) {
        put_last(to + 2u * (n - 1u), row->apart, from + (n - 1u) * pitch, 0);
    }
}

static __attribute__((noinline)) void fill_error_pairs(uint8_t *planes, const struct fqt_plane_row *row, int32_t *sums)
{
    register const uint8_t *from __asm__("r0") = row->from;
    register uint32_t bytes_apart __asm__("r1") = row->pitch;
    register uint8_t *to __asm__("r2") = planes;
    register uint32_t apart __asm__("r3") = row->apart;
    register uint32_t left __asm__("r4") = row->n / 2u;
    register int32_t *s __asm__("r5") = sums;
    __asm__ volatile("push {r5}\n\t"
                     "mov r12, #0x00800080\n\t"
                     "mov lr, #0x00010001\n\t"
                     "ldmia r5, {r8, r9, r10, r11}\n" FILL(ERRORS) "\n\t"
                     "pop {r5}\n\t"
                     "stmia r5, {r8, r9, r10, r11}"
                     : "+r"(from), "+r"(to), "+r"(left), "+r"(s)
                     : "r"(bytes_apart), "r"(apart)
                     : "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

void fqt_fill_errors(void *planes, const struct fqt_plane_row *row, int32_t *sums)
{
    uint32_t last = row->n - 1u;
    if (row->n > 1u) {
        fill_error_pairs(planes, row, sums);
    }
    if ((row->n & 1u) != 0) {
        const uint8_t *error = row->from + last * row->pitch;
        put_last((uint8_t *)planes + 2u * last, row->apart, error, FQT_ERROR_ZERO);
        for (uint32_t k = 0; k < FQT_PLANES; k++) {
            sums[k] += error[k] - FQT_ERROR_ZERO;
        }
    }
}

static uint32_t weights_pitch(uint32_t columns)
{
    return 2u * ((columns + 1u) & ~1u);
}

/* A row of three weights, centred, is w0 w1, w1 w2; another one's are filled up with a zero to an even number. */
static int32_t lay_out_row(int16_t *to, const uint8_t *weights, uint32_t columns, int32_t step, int32_t zero)
{
    int32_t sum = 0;
    if (columns == 3u) {
        int32_t w0 = weights[0] - zero, w1 = weights[step] - zero, w2 = weights[2 * step] - zero;
        to[0] = (int16_t)w0;
        to[1] = to[2] = (int16_t)w1;
        to[3] = (int16_t)w2;
        return w0 + w1 + w2;
    }
    for (uint32_t i = 0; i < columns; i++, weights += step) {
        int32_t w = *weights - zero;
        sum += w;
        *to++ = (int16_t)w;
    }
    if ((columns & 1u) != 0) {
        *to = 0;
    }
    return sum;
}

int32_t fqt_lay_out_weights(int16_t *to, const uint8_t *weights, const struct fqt_geometry *g, int32_t step, int32_t zero,
                            int32_t x_zero)
{
    uint32_t rows = g->kernel_h, columns = g->kernel_w, pitch = weights_pitch(columns) / 2u, n = (rows - 1u) * pitch / 2u;
    const uint32_t *pair = (const uint32_t *)(const void *)to;
    int32_t sum = 0;
    for (uint32_t row = 0; row < rows; row++, to += pitch, weights += (int32_t)columns * step) {
        sum += lay_out_row(to, weights, columns, step, zero);
    }
    for (uint32_t *again = (uint32_t *)(void *)to; n != 0; n--) {
        *again++ = *pair++;
    }
    return -x_zero * sum;
}

/* Four windows of a kernel row of three, side by side: 10 instructions, 12 MACs. */
#define ROW_OF_FOUR(at, a, b, c, d)                                                                                 \
    "ldrd r3, r4, [r2, #" at "]\n\t"                                                                                \
    "ldmia r0, {r5, r6, r7}\n\t"                                                                                    \
    "smlad r9, r5, r3, " a "\n\t"                                                                                   \
    "smlatb r10, r5, r3, " b "\n\t"                                                                                 \
    "smlad r11, r6, r3, " c "\n\t"                                                                                  \
    "smlatb r12, r6, r3, " d "\n\t"                                                                                 \
    "smlabt r9, r6, r4, r9\n\t"                                                                                     \
    "smlad r10, r6, r4, r10\n\t"                                                                                    \
    "smlabt r11, r7, r4, r11\n\t"                                                                                   \
    "smlad r12, r7, r4, r12\n\t"

/* Two windows two cells apart: 6 instructions, 6 MACs. */
#define ROW_OF_TWO(at, a, b)                                                                                        \
    "ldrd r3, r4, [r2, #" at "]\n\t"                                                                                \
    "ldmia r0, {r5, r6, r7}\n\t"                                                                                    \
    "smlad r9, r5, r3, " a "\n\t"                                                                                   \
    "smlad r10, r6, r3, " b "\n\t"                                                                                  \
    "smlabt r9, r6, r4, r9\n\t"                                                                                     \
    "smlabt r10, r7, r4, r10\n\t"

struct sums_loop {
    const int32_t *starts;                /* 0 */
    const uint8_t *planes, *weights;      /* 4, 8: of the next filter */
    uint32_t planes_apart, weights_apart; /* 12, 16 */
    uint32_t acc_bytes;                   /* 20: of a filter */
    const int32_t *end;                   /* 24: of all sums */
};

/* On the stack: the loop's address, the end of a filter's sums, and how far it is from a turn's last plane to the next one's
 * first. */
#define FILTERS(first, second, third, sums)                                                                         \
    "rsb r4, r1, #4\n\t"                                                                                           \
    "sub sp, #12\n\t"                                                                                               \
    "lsls r4, r4, #1\n\t"                                                                                          \
    "str r3, [sp]\n\t"                                                                                             \
    "str r4, [sp, #8]\n"                                                                                            \
    "1:\n\t"                                                                                                        \
    "ldr r4, [r3]\n\t"                                                                                             \
    "ldrd r0, r2, [r3, #4]\n\t"                                                                                    \
    "ldrd r5, r6, [r3, #12]\n\t"                                                                                   \
    "ldr r7, [r3, #20]\n\t"                                                                                        \
    "ldr r8, [r4], #4\n\t"                                                                                         \
    "add r5, r5, r0\n\t"                                                                                           \
    "add r6, r6, r2\n\t"                                                                                           \
    "add r7, r7, lr\n\t"                                                                                           \
    "stmia r3, {r4, r5, r6}\n\t"                                                                                   \
    "str r7, [sp, #4]\n"                                                                                            \
    "2:\n\t" first "add r0, r0, r1\n\t" second "add r0, r0, r1\n\t" third                                         \
    "ldrd r3, r4, [sp, #4]\n\t"                                                                                    \
    "stmia lr!, {" sums "}\n\t"                                                                                    \
    "add r0, r0, r4\n\t"                                                                                           \
    "cmp lr, r3\n\t"                                                                                               \
    "bne 2b\n\t"                                                                                                   \
    "ldr r3, [sp]\n\t"                                                                                             \
    "ldr r4, [r3, #24]\n\t"                                                                                        \
    "cmp lr, r4\n\t"                                                                                               \
    "bne 1b\n\t"                                                                                                   \
    "add sp, #12"

#define CLOBBERED                                                                                                   \
    "r0", "r2", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "cc", "memory"

/* acc(count,n rounded up to 4) of 3x3 kernels: 38 instructions a turn of 36 MACs, or 26 of 18 with a stride of 2; 16 more
 * a filter. */
static __attribute__((noinline)) void sums_3x3(const struct fqt_planar_row *row, const struct fqt_planar_filters *f,
                                               int32_t *acc)
{
    uint32_t n = (row->n + 3u) & ~3u;
    struct sums_loop loop = {f->starts, f->planes, f->weights + 8u * f->first, f->planes_apart, f->weights_apart, 4u * n,
                             acc + f->count * n};
    register uint32_t pitch __asm__("r1") = row->pitch;
    register struct sums_loop *l __asm__("r3") = &loop;
    register int32_t *to __asm__("lr") = acc;
    if (row->stride == 1u) {
        __asm__ volatile(FILTERS(ROW_OF_FOUR("0", "r8", "r8", "r8", "r8"), ROW_OF_FOUR("8", "r9", "r10", "r11", "r12"),
                                 ROW_OF_FOUR("16", "r9", "r10", "r11", "r12"), "r9, r10, r11, r12")
                         : "+r"(l), "+r"(to)
                         : "r"(pitch)
                         : CLOBBERED);
    } else {
        __asm__ volatile(FILTERS(ROW_OF_TWO("0", "r8", "r8"), ROW_OF_TWO("8", "r9", "r10"),
                                 ROW_OF_TWO("16", "r9", "r10"), "r9, r10")
                         : "+r"(l), "+r"(to)
                         : "r"(pitch)
                         : CLOBBERED);
    }
}

/* Two columns at a time; weights behind a row's last one are zero, and of three the second stands twice. */
static int32_t window_sum(const struct fqt_planar_row *row, const uint32_t *w, const uint8_t *plane, int32_t sum)
{
    for (uint32_t ky = 0; ky < row->rows; ky++, plane += row->pitch) {
        if (row->columns == 3u) {
            sum = fqt_smlabt(fqt_word(plane + 4), w[1], fqt_smlad(fqt_word(plane), w[0], sum));
            w += 2;
            continue;
        }
        for (uint32_t column = 0; column < row->columns; column += 2u) {
            sum = fqt_smlad(fqt_word(plane + 2u * column), *w++, sum);
        }
    }
    return sum;
}

void fqt_planar_sums(const struct fqt_planar_row *row, const struct fqt_planar_filters *f, int32_t *acc)
{
    if (row->rows == 3u && row->columns == 3u && row->stride <= 2u) {
        sums_3x3(row, f, acc);
        return;
    }
    for (uint32_t k = 0; k < f->count; k++, acc += (row->n + 3u) & ~3u) {
        const uint8_t *weights = f->weights + k * f->weights_apart + f->first * weights_pitch(row->columns);
        const uint8_t *plane = f->planes + k * f->planes_apart;
        for (uint32_t i = 0; i < row->n; i++, plane += 2u * row->stride) {
            acc[i] = window_sum(row, (const uint32_t *)(const void *)weights, plane, f->starts[k]);
        }
    }
}

/* r5 = the bytes of a pixel, of sums at r0 and three times r1 bytes further: 16 instructions. */
#define WORD                                                                                                        \
    "add r8, r0, r1, lsl #1\n\t"                                                                                   \
    "ldr r6, [r0, r1]\n\t"                                                                                         \
    "ldr r7, [r0, r1, lsl #1]\n\t"                                                                                 \
    "ldr r5, [r0], #4\n\t"                                                                                         \
    "ldr r8, [r8, r1]\n\t"                                                                                         \
    "smmlar r5, r5, r3, r4\n\t"                                                                                    \
    "smmlar r6, r6, r3, r4\n\t"                                                                                    \
    "smmlar r7, r7, r3, r4\n\t"                                                                                    \
    "smmlar r8, r8, r3, r4\n\t"                                                                                    \
    "usat r5, #8, r5\n\t"                                                                                          \
    "usat r6, #8, r6\n\t"                                                                                          \
    "usat r7, #8, r7\n\t"                                                                                          \
    "usat r8, #8, r8\n\t"                                                                                          \
    "orr r5, r5, r6, lsl #8\n\t"                                                                                   \
    "orr r7, r7, r8, lsl #8\n\t"                                                                                   \
    "orr r5, r5, r7, lsl #16\n\t"

static __attribute__((noinline)) void put_words(const struct fqt_planar_sums *sums, int32_t multiplier, int32_t out_zero,
                                                uint8_t *bytes)
{
    register const int32_t *acc __asm__("r0") = sums->acc;
    register uint32_t pitch __asm__("r1") = 4u * sums->pitch;
    register uint8_t *out __asm__("r2") = bytes;
    register int32_t m __asm__("r3") = multiplier;
    register int32_t zero __asm__("r4") = out_zero;
    register const int32_t *end __asm__("r9") = acc + sums->n;
    register uint32_t apart __asm__("r10") = sums->apart;
    __asm__ volatile("1:\n\t" WORD "cmp r0, r9\n\t"
                     "str r5, [r2]\n\t"
                     "add r2, r2, r10\n\t"
                     "bne 1b"
                     : "+r"(acc), "+r"(out)
                     : "r"(pitch), "r"(m), "r"(zero), "r"(end), "r"(apart)
                     : "r5", "r6", "r7", "r8", "cc", "memory");
}

/* The same with zeros where x, which lies as far from the output as its first byte, is below r12. */
static __attribute__((noinline)) void put_shown_words(const struct fqt_planar_sums *sums, int32_t multiplier,
                                                      const struct fqt_masked *to)
{
    register const int32_t *acc __asm__("r0") = sums->acc;
    register uint32_t pitch __asm__("r1") = 4u * sums->pitch;
    register uint8_t *out __asm__("r2") = to->out;
    register int32_t m __asm__("r3") = multiplier;
    register int32_t zero __asm__("r4") = FQT_ERROR_ZERO;
    register const int32_t *end __asm__("r9") = acc + sums->n;
    register uint32_t apart __asm__("r10") = sums->apart;
    register uintptr_t to_x __asm__("r11") = (uintptr_t)to->x - (uintptr_t)to->out;
    register uint32_t shown_from __asm__("r12") = (uint32_t)(to->mask.low + 1) * 0x01010101u;
    register uint32_t zeros __asm__("lr") = FQT_ERROR_ZERO * 0x01010101u;
    __asm__ volatile("1:\n\t" WORD "ldr r6, [r2, r11]\n\t"
                     "usub8 r6, r6, r12\n\t" /* GE of a byte: x is not below */
                     "sel r5, r5, lr\n\t"
                     "cmp r0, r9\n\t"
                     "str r5, [r2]\n\t"
                     "add r2, r2, r10\n\t"
                     "bne 1b"
                     : "+r"(acc), "+r"(out)
                     : "r"(pitch), "r"(m), "r"(zero), "r"(end), "r"(apart), "r"(to_x), "r"(shown_from), "r"(zeros)
                     : "r5", "r6", "r7", "r8", "cc", "memory");
}

static inline void put_word(uint8_t *out, uint32_t word)
{
    memcpy(__builtin_assume_aligned(out, 4), &word, sizeof word);
}

void fqt_put_planes(const struct fqt_planar_sums *sums, const struct fqt_requantization *q, uint8_t *out)
{
    put_words(sums, q->by.m << (32 - q->by.shift), q->zero, out);
    if (q->lowest > 0 || q->highest < 255) {
        uint32_t lows = (uint32_t)q->lowest * 0x01010101u, highs = (uint32_t)q->highest * 0x01010101u;
        for (uint32_t i = 0; i < sums->n; i++, out += sums->apart) {
            put_word(out, fqt_smaller_bytes(fqt_larger_bytes(fqt_word(out), lows), highs));
        }
    }
}

static int32_t largest_shown(const struct fqt_planar_sums *sums, const struct fqt_masked *to)
{
    int32_t largest = 0;
    for (uint32_t i = 0; i < FQT_PLANES * sums->n; i++) {
        uint32_t plane = i & 3u, at = i >> 2;
        int32_t acc = sums->acc[plane * sums->pitch + at], magnitude = acc < 0 ? -acc : acc;
        if (magnitude > largest && !fqt_hides(to->mask, to->x[at * sums->apart + plane])) {
            largest = magnitude;
        }
    }
    return largest;
}

int32_t fqt_put_plane_errors(const struct fqt_planar_sums *sums, const struct fqt_masked *to, bool tracking)
{
    put_shown_words(sums, to->by.m << (32 - to->by.shift), to);
    if (to->mask.high <= 255) {
        uint32_t hidden_from = (uint32_t)to->mask.high * 0x01010101u, zeros = FQT_ERROR_ZERO * 0x01010101u;
        for (uint32_t i = 0, at = 0; i < sums->n; i++, at += sums->apart) {
            put_word(to->out + at, fqt_select_bytes(fqt_word(to->x + at), hidden_from, zeros, fqt_word(to->out + at)));
        }
    }
    return tracking ? largest_shown(sums, to) : 0;
}

#define FOUR_WINDOWS                                                                                                \
    "ldmia r5!, {r9, r10}\n\t"                                                                                      \
    "ldmia r4, {r11, r12, lr}\n\t"                                                                                  \
    "smlad r6, r9, r11, r6\n\t"                                                                                     \
    "smlad r8, r9, r12, r8\n\t"                                                                                     \
    "ldr r11, [r4, #2]\n\t"                                                                                         \
    "smlad r6, r10, r12, r6\n\t"                                                                                    \
    "smlad r8, r10, lr, r8\n\t"                                                                                     \
    "ldr r12, [r4, #6]\n\t"                                                                                         \
    "smlad r7, r9, r11, r7\n\t"                                                                                     \
    "adds r4, #8\n\t"                                                                                               \
    "smlad r7, r10, r12, r7\n\t"

/* 3x3 kernels, windows side by side: 24 instructions a turn of 24 MACs, of which an odd four enters late; 11 more a kernel
 * row. Bytes of errors and the end of the offsets lie on the stack. */
static __attribute__((noinline)) void gradients_3x3(const uint32_t *first, const uint8_t *planes, const uint8_t *errors,
                                                    uint32_t error_bytes, int32_t *acc)
{
    register const uint32_t *offsets __asm__("r0") = first;
    register const uint8_t *x __asm__("r1") = planes;
    register int32_t *sums __asm__("r2") = acc;
    register uint32_t bytes __asm__("r4") = error_bytes;
    register const uint8_t *end __asm__("r3") = errors + bytes;
    register const uint32_t *offsets_end __asm__("r5") = offsets + 3;
    __asm__ volatile("push {r4, r5}\n"
                     "1:\n\t"
                     "ldr r5, [sp]\n\t"
                     "ldr r4, [r0], #4\n\t"
                     "ldmia r2, {r6, r7, r8}\n\t"
                     "lsrs r9, r5, #4\n\t" /* carry: an odd number of fours */
                     "sub r5, r3, r5\n\t"
                     "add r4, r4, r1\n\t"
                     "bcs 3f\n"
                     "2:\n\t" FOUR_WINDOWS "3:\n\t" FOUR_WINDOWS
                     "cmp r5, r3\n\t"
                     "bne 2b\n\t"
                     "ldr r5, [sp, #4]\n\t"
                     "stmia r2!, {r6, r7, r8}\n\t"
                     "cmp r0, r5\n\t"
                     "bne 1b\n\t"
                     "add sp, #8"
                     : "+r"(offsets), "+r"(sums), "+r"(bytes), "+r"(offsets_end)
                     : "r"(x), "r"(end)
                     : "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* A tap over two windows at a time. */
static int32_t tap_sum(const struct fqt_planar_gradient *g, const int16_t *e, const int16_t *x, int32_t sum)
{
    uint32_t stride = g->stride;
    for (const int16_t *end = e + ((g->n + 1u) & ~1u); e != end; e += 2, x += 2u * stride) {
        uint32_t pair = stride == 1u ? fqt_word(x) : fqt_low_halves((uint32_t)x[0], (uint32_t)x[stride]);
        sum = fqt_smlad(fqt_word(e), pair, sum);
    }
    return sum;
}

void fqt_planar_gradients(const struct fqt_planar_gradient *g, int32_t *acc)
{
    const uint8_t *x = g->x, *errors = g->errors;
    uint32_t bytes = 2u * ((g->n + 3u) & ~3u), acc_pitch = g->acc_pitch;
    bool is_3x3 = g->rows == 3u && g->columns == 3u && g->stride == 1u;
    for (uint32_t k = 0; k < FQT_PLANES; k++, acc += acc_pitch, x += g->x_apart, errors += g->errors_apart) {
        if (is_3x3) {
            gradients_3x3(g->offsets, x, errors, bytes, acc);
            continue;
        }
        for (uint32_t tap = 0; tap < g->rows * g->columns; tap++) {
            const uint8_t *from = x + g->offsets[tap / g->columns] + 2u * (tap % g->columns);
            acc[tap] = tap_sum(g, (const int16_t *)(const void *)errors, (const int16_t *)(const void *)from, acc[tap]);
        }
    }
}

#elif !FQT_ARMV6M

int32_t fqt_lay_out_weights(int16_t *to, const uint8_t *weights, const struct fqt_geometry *g, int32_t step, int32_t zero,
                            int32_t x_zero)
{
    uint32_t taps = g->kernel_h * g->kernel_w;
    int32_t sum = 0;
    for (uint32_t i = 0; i < taps; i++, weights += step) {
        to[i] = (int16_t)(*weights - zero);
        sum += to[i];
    }
    for (uint32_t i = taps; i < 2u * taps - g->kernel_w; i++) {
        to[i] = to[i - taps];
    }
    return -x_zero * sum;
}

void fqt_planar_sums(const struct fqt_planar_row *row, const struct fqt_planar_filters *f, int32_t *acc)
{
    for (uint32_t k = 0; k < f->count; k++, acc += (row->n + 3u) & ~3u) {
        const uint8_t *planes = f->planes + k * f->planes_apart;
        for (uint32_t i = 0; i < row->n; i++) {
            const int16_t *w = (const int16_t *)(const void *)(f->weights + k * f->weights_apart) + f->first * row->columns;
            int32_t sum = f->starts[k];
            for (uint32_t ky = 0; ky < row->rows; ky++, w += row->columns) {
                const int16_t *x = (const int16_t *)(const void *)(planes + ky * row->pitch) + i * row->stride;
                for (uint32_t column = 0; column < row->columns; column++) {
                    sum += w[column] * x[column];
                }
            }
            acc[i] = sum;
        }
    }
}

void fqt_planar_gradients(const struct fqt_planar_gradient *g, int32_t *acc)
{
    for (uint32_t k = 0; k < FQT_PLANES; k++, acc += g->acc_pitch) {
        const int16_t *errors = (const int16_t *)(const void *)(g->errors + k * g->errors_apart);
        for (uint32_t tap = 0; tap < g->rows * g->columns; tap++) {
            const uint8_t *row = g->x + k * g->x_apart + g->offsets[tap / g->columns];
            const int16_t *x = (const int16_t *)(const void *)row + tap % g->columns;
            for (uint32_t i = 0; i < g->n; i++) {
                acc[tap] += errors[i] * x[i * g->stride];
            }
        }
    }
}

#endif

#if !FQT_DSP && !FQT_ARMV6M

void fqt_fill_planes(void *planes, const struct fqt_plane_row *row)
{
    struct fqt_plane_row channel = *row;
    for (uint32_t k = 0; k < FQT_PLANES; k++) {
        fqt_fill_plane((uint8_t *)planes + k * row->apart, &channel);
        channel.from = row->from != NULL ? channel.from + 1 : NULL;
    }
}

void fqt_fill_errors(void *planes, const struct fqt_plane_row *row, int32_t *sums)
{
    fqt_fill_planes(planes, row);
    for (uint32_t k = 0; k < FQT_PLANES; k++) {
        int16_t *errors = (int16_t *)(void *)((uint8_t *)planes + k * row->apart);
        for (uint32_t i = 0; i < row->n; i++) {
            errors[i] = (int16_t)(errors[i] - FQT_ERROR_ZERO);
            sums[k] += errors[i];
        }
    }
}

/* The sums of a pixel. */
static void gather(const struct fqt_planar_sums *sums, uint32_t i, int32_t acc[FQT_PLANES])
{
    for (uint32_t k = 0; k < FQT_PLANES; k++) {
        acc[k] = sums->acc[k * sums->pitch + i];
    }
}

void fqt_put_planes(const struct fqt_planar_sums *sums, const struct fqt_requantization *q, uint8_t *out)
{
    int32_t acc[FQT_PLANES];
    for (uint32_t i = 0; i < sums->n; i++) {
        gather(sums, i, acc);
        fqt_requantize(q, acc, FQT_PLANES, out + i * sums->apart);
    }
}

int32_t fqt_put_plane_errors(const struct fqt_planar_sums *sums, const struct fqt_masked *to, bool tracking)
{
    int32_t acc[FQT_PLANES], largest = 0;
    for (uint32_t i = 0; i < sums->n; i++) {
        const struct fqt_masked pixel = {to->by, to->mask, to->x + i * sums->apart, to->out + i * sums->apart};
        gather(sums, i, acc);
        int32_t magnitude = fqt_finish_errors(&pixel, acc, FQT_PLANES, tracking);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

#endif
