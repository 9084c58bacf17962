/* Portable planes of centred int16, and those of the DSP extension, which are the same. */
#include "planar_rows.h"

#include "simd.h"

#if !FQT_ARMV6M

#if defined(__GNUC__)
#define NO_CALL __asm__("" : : : "memory") /* or the loop becomes a call of memset */
#else
#define NO_CALL
#endif

void fqt_fill_plane(void *plane, const struct fqt_plane_row *row, uint32_t stride)
{
    int16_t *to = plane, *end = to + row->cells;
    const uint8_t *from = row->from;
    int32_t zero = row->x_zero;
    uint32_t n = from != NULL ? row->n : 0u, pitch = row->pitch;
    (void)stride;
    for (uint32_t i = from != NULL ? row->before : 0u; i != 0; i--) {
        *to++ = 0;
        NO_CALL;
    }
    for (; n >= 4u; n -= 4u, from += 4u * pitch, to += 4) {
        int32_t x0 = from[0], x1 = from[pitch], x2 = from[2u * pitch], x3 = from[3u * pitch];
        to[0] = (int16_t)(x0 - zero);
        to[1] = (int16_t)(x1 - zero);
        to[2] = (int16_t)(x2 - zero);
        to[3] = (int16_t)(x3 - zero);
    }
    for (; n != 0; n--, from += pitch) {
        *to++ = (int16_t)(*from - zero);
    }
    while (to != end) {
        *to++ = 0;
        NO_CALL;
    }
}

/* Centred, a row's columns filled up with a zero to an even number. */
uint32_t fqt_planar_pitch(uint32_t columns)
{
    return 2u * ((columns + 1u) & ~1u);
}

int32_t fqt_lay_out_weights(int16_t *to, const uint8_t *weights, uint32_t rows, uint32_t columns, int32_t zero,
                            int32_t x_zero)
{
    (void)x_zero;
    for (uint32_t row = 0; row < 2u * rows - 1u; row++) {
        const uint8_t *from = weights + (row < rows ? row : row - rows) * columns;
        for (uint32_t i = 0; i < columns; i++) {
            *to++ = (int16_t)(*from++ - zero);
        }
        if ((columns & 1u) != 0) {
            *to++ = 0;
        }
    }
    return 0;
}

#if FQT_DSP

/* Two windows of a kernel row of three, whose cells are in r9 and r10; w0 w1 in `a`, w2 0 in `b`: 5 instructions, 6 MACs. */
#define ROW(a, b, first, second)                                                                                    \
    "smlad r11, r9, " a ", " first "\n\t"                                                                           \
    "smlatb r12, r9, " a ", " second "\n\t"                                                                         \
    "smlabb r11, r10, " b ", r11\n\t"                                                                               \
    "smlabt r12, r10, " a ", r12\n\t"                                                                               \
    "smlatb r12, r10, " b ", r12\n\t"

struct loop {
    const void *planes, *end;
    uint32_t pitch;
};

/* acc(n rounded up to 2) of 3x3 kernels, windows side by side: 25 instructions, 18 MACs. Weights stay in registers; the
 * end of the first plane's windows lies on the stack. */
static __attribute__((noinline)) void sums_3x3(const uint32_t *weights, int32_t start, const struct loop *l, int32_t *acc)
{
    register const void *p __asm__("r0") = l->planes;
    register uint32_t pitch __asm__("r1") = l->pitch;
    register const uint32_t *w __asm__("r2") = weights;
    register const void *end __asm__("r3") = l->end;
    register int32_t begin __asm__("r8") = start;
    register int32_t *to __asm__("lr") = acc;
    __asm__ volatile("push {r3}\n\t"
                     "ldmia r2, {r2, r3, r4, r5, r6, r7}\n"
                     "1:\n\t"
                     "ldr r9, [r0]\n\t"
                     "ldr r10, [r0, #4]\n\t" ROW("r2", "r3", "r8", "r8")
                     "add r9, r0, r1\n\t"
                     "ldr r10, [r9, #4]\n\t"
                     "ldr r9, [r9]\n\t" ROW("r4", "r5", "r11", "r12")
                     "add r9, r0, r1, lsl #1\n\t"
                     "ldr r10, [r9, #4]\n\t"
                     "ldr r9, [r9]\n\t" ROW("r6", "r7", "r11", "r12")
                     "add r0, r0, #4\n\t"
                     "ldr r9, [sp]\n\t"
                     "strd r11, r12, [lr], #8\n\t"
                     "cmp r0, r9\n\t"
                     "bne 1b\n\t"
                     "add sp, #4"
                     : "+r"(p), "+r"(pitch), "+r"(w), "+r"(end), "+r"(to)
                     : "r"(begin)
                     : "r4", "r5", "r6", "r7", "r9", "r10", "r11", "r12", "cc", "memory");
}

/* Two columns at a time; weights behind a row's last one are zero. */
static int32_t window_sum(const struct fqt_planar_row *row, const uint32_t *w, const uint8_t *plane, int32_t sum)
{
    for (uint32_t ky = 0; ky < row->rows; ky++, plane += row->pitch) {
        for (uint32_t column = 0; column < row->columns; column += 2u) {
            sum = fqt_smlad(fqt_word(plane + 2u * column), *w++, sum);
        }
    }
    return sum;
}

void fqt_planar_sums(const struct fqt_planar_row *row, const struct fqt_planar_filter *f, uint32_t first, int32_t *acc)
{
    const uint32_t *w = (const uint32_t *)(const void *)f->weights + first * (fqt_planar_pitch(row->columns) / 4u);
    const uint8_t *plane = row->planes;
    if (row->rows == 3u && row->columns == 3u && row->stride == 1u) {
        const struct loop loop = {plane, plane + 2u * ((row->n + 1u) & ~1u), row->pitch};
        sums_3x3(w, f->start, &loop, acc);
        return;
    }
    for (uint32_t i = 0; i < row->n; i++, plane += 2u * row->stride) {
        acc[i] = window_sum(row, w, plane, f->start);
    }
}

#else

void fqt_planar_sums(const struct fqt_planar_row *row, const struct fqt_planar_filter *f, uint32_t first, int32_t *acc)
{
    uint32_t pitch = fqt_planar_pitch(row->columns) / 2u;
    for (uint32_t i = 0; i < row->n; i++) {
        const int16_t *w = f->weights + first * pitch;
        int32_t sum = f->start;
        for (uint32_t ky = 0; ky < row->rows; ky++, w += pitch) {
            const int16_t *x = (const int16_t *)(const void *)((const uint8_t *)row->planes + ky * row->pitch) + i * row->stride;
            for (uint32_t column = 0; column < row->columns; column++) {
                sum += w[column] * x[column];
            }
        }
        acc[i] = sum;
    }
}

#endif

#endif
