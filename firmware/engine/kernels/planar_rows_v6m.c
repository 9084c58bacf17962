/* Planes for Armv6-M: a word holds a cell and the one `stride` further, bytes as they are, so that one multiplication makes
 * products of two windows side by side (dot_v6m.h). */
#include "planar_rows.h"

#if FQT_ARMV6M

void fqt_clear_planes(void *planes, uint32_t n_cells, uint8_t zero)
{
    (void)planes; /* each row writes its padding, which has a half of a cell beside it */
    (void)n_cells;
    (void)zero;
}

/* From the right, so that a cell's neighbour is there when it is put. */
void fqt_fill_plane(void *plane, const struct fqt_plane_row *row)
{
    uint32_t stride = row->stride;
    uint32_t *begin = plane, *to = begin + row->cells, zero = row->zero, both = zero | zero << 16, pitch = row->pitch;
    uint32_t n = row->from != NULL ? row->n : 0u, before = row->from != NULL ? row->before : 0u;
    const uint8_t *from = row->from + n * pitch;
    for (uint32_t *end = begin + before + n; to != end;) {
        *--to = both;
    }
    for (uint32_t i = 0; i < stride && n != 0; i++, n--) {
        from -= pitch;
        *--to = *from | zero << 16;
    }
    const uint8_t *next = from + (stride - 1u) * pitch;
    for (; n != 0; n--) {
        from -= pitch;
        *--to = *from | (uint32_t)next[0] << 16;
        next -= pitch;
    }
    while (to != begin) {
        to--;
        *to = zero | (to[stride] & 0xFFFFu) << 16;
    }
}

/* Bytes as they are. */
int32_t fqt_lay_out_weights(int16_t *to, const uint8_t *weights, const struct fqt_geometry *g, int32_t step, int32_t zero,
                            int32_t x_zero)
{
    uint8_t *bytes = (uint8_t *)to;
    uint32_t n = g->kernel_h * g->kernel_w;
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i++, weights += step) {
        bytes[i] = *weights;
        sum += *weights - zero;
    }
    for (uint32_t i = 0; i < n - g->kernel_w; i++) {
        bytes[n + i] = bytes[i];
    }
    return -x_zero * sum;
}

/* Sums of w*x modulo 2^32, of their upper halves, and of both windows' cells, that of the second above. */
struct sums {
    uint32_t f, h, x;
};

static struct sums sums_of_two(const struct fqt_planar_row *row, const uint8_t *w, const uint8_t *plane)
{
    struct sums s = {0, 0, 0};
    for (uint32_t ky = 0; ky < row->rows; ky++, plane += row->pitch) {
        const uint32_t *x = (const uint32_t *)(const void *)plane;
        for (uint32_t column = 0; column < row->columns; column++) {
            uint32_t pair = x[column], product = *w++ * pair;
            s.f += product;
            s.h += product >> 16;
            s.x += pair;
        }
    }
    return s;
}

/* A cell of two windows: 7 instructions, 2 MACs. */
#define TAP(plane, at, weight)                                                                                      \
    "ldr r6, [" plane ", #" at "]\n\t"                                                                              \
    "ldrb r5, [r3, #" weight "]\n\t"                                                                                \
    "add r10, r6\n\t"                                                                                               \
    "muls r5, r6\n\t"                                                                                               \
    "add r8, r5\n\t"                                                                                                \
    "lsrs r5, r5, #16\n\t"                                                                                          \
    "add r9, r5\n\t"

struct loop {
    uint32_t step, end; /* 0, 4: bytes from two windows to the next, on the first plane */
    int32_t start, zero; /* 8, 12 */
};

/* acc of 3x3 kernels, two windows a round: 90 instructions, 18 MACs. */
static __attribute__((noinline)) void sums_3x3(const uint8_t *planes, uint32_t pitch, const uint8_t *weights,
                                               const struct loop *l, int32_t *acc)
{
    register const uint8_t *p __asm__("r0") = planes;
    register const uint8_t *q __asm__("r1") = p + pitch;
    register const uint8_t *r __asm__("r2") = q + pitch;
    register const uint8_t *w __asm__("r3") = weights;
    register const struct loop *loop __asm__("r12") = l;
    register int32_t *to __asm__("r4") = acc;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t"
                     "movs r5, #0\n\t"
                     "mov r8, r5\n\t"
                     "mov r9, r5\n\t"
                     "mov r10, r5\n\t" TAP("r0", "0", "0") TAP("r0", "4", "1") TAP("r0", "8", "2") TAP("r1", "0", "3")
                         TAP("r1", "4", "4") TAP("r1", "8", "5") TAP("r2", "0", "6") TAP("r2", "4", "7")
                             TAP("r2", "8", "8")
                     "mov r7, r12\n\t"
                     "ldr r6, [r7, #12]\n\t" /* zero * both sums of cells */
                     "mov r5, r10\n\t"
                     "lsrs r5, r5, #16\n\t"
                     "muls r5, r6\n\t"
                     "mov r11, r5\n\t"
                     "mov r5, r10\n\t"
                     "uxth r5, r5\n\t"
                     "muls r5, r6\n\t"
                     "ldr r7, [r7, #8]\n\t"
                     "mov r6, r9\n\t"
                     "lsls r6, r6, #16\n\t"
                     "add r6, r5\n\t"
                     "mov r5, r8\n\t"
                     "subs r5, r5, r6\n\t"
                     "adds r5, r5, r7\n\t"
                     "add r7, r9\n\t"
                     "mov r6, r11\n\t"
                     "subs r6, r7, r6\n\t"
                     "stmia r4!, {r5, r6}\n\t"
                     "mov r7, r12\n\t"
                     "ldr r5, [r7]\n\t"
                     "ldr r6, [r7, #4]\n\t"
                     "adds r0, r0, r5\n\t"
                     "adds r1, r1, r5\n\t"
                     "adds r2, r2, r5\n\t"
                     "cmp r0, r6\n\t"
                     "beq 2f\n\t"
                     "b 1b\n"
                     "2:"
                     : "+r"(p), "+r"(q), "+r"(r), "+r"(to)
                     : "r"(w), "r"(loop)
                     : "r5", "r6", "r7", "r8", "r9", "r10", "r11", "cc", "memory");
}

static void filter_sums(const struct fqt_planar_row *row, const uint8_t *w, const uint8_t *plane, int32_t start, int32_t *acc)
{
    uint32_t step = 8u * row->stride, pairs = (row->n + 1u) / 2u;
    if (row->rows == 3u && row->columns == 3u) {
        const struct loop loop = {step, (uint32_t)(uintptr_t)plane + pairs * step, start, row->weight_zero};
        sums_3x3(plane, row->pitch, w, &loop, acc);
        return;
    }
    for (; pairs != 0; pairs--, plane += step, acc += 2) {
        struct sums s = sums_of_two(row, w, plane);
        acc[0] = start + (int32_t)(s.f - (s.h << 16)) - row->weight_zero * (int32_t)(s.x & 0xFFFFu);
        acc[1] = start + (int32_t)s.h - row->weight_zero * (int32_t)(s.x >> 16);
    }
}

void fqt_planar_sums(const struct fqt_planar_row *row, const struct fqt_planar_filters *f, int32_t *acc)
{
    const uint8_t *w = f->weights + f->first * row->columns, *plane = f->planes;
    for (uint32_t k = 0; k < f->count; k++, w += f->weights_apart, plane += f->planes_apart) {
        filter_sums(row, w, plane, f->starts[k], acc);
        acc += (row->n + 3u) & ~3u;
    }
}

void fqt_fill_planes(void *planes, const struct fqt_plane_row *row)
{
    struct fqt_plane_row channel = *row;
    for (uint32_t k = 0; k < FQT_PLANES; k++) {
        fqt_fill_plane((uint8_t *)planes + k * row->apart, &channel);
        channel.from = row->from != NULL ? channel.from + 1 : NULL;
    }
}

/* As words. */
void fqt_fill_errors(void *planes, const struct fqt_plane_row *row, int32_t *sums)
{
    for (uint32_t k = 0; k < FQT_PLANES; k++) {
        int32_t *to = (int32_t *)(void *)((uint8_t *)planes + k * row->apart), sum = sums[k];
        const uint8_t *from = row->from + k;
        for (int32_t *end = to + row->n; to != end; from += row->pitch) {
            int32_t e = *from - FQT_ERROR_ZERO;
            *to++ = e;
            sum += e;
        }
        sums[k] = sum;
    }
}

void fqt_planar_gradients(const struct fqt_planar_gradient *g, int32_t *acc)
{
    for (uint32_t k = 0; k < FQT_PLANES; k++, acc += g->acc_pitch) {
        const int32_t *errors = (const int32_t *)(const void *)(g->errors + k * g->errors_apart);
        for (uint32_t ky = 0; ky < g->rows; ky++) {
            const uint32_t *x = (const uint32_t *)(const void *)(g->x + k * g->x_apart + g->offsets[ky]);
            for (uint32_t kx = 0; kx < g->columns; kx++) {
                int32_t sum = acc[ky * g->columns + kx];
                for (uint32_t i = 0; i < g->n; i++) {
                    sum += errors[i] * (int32_t)(x[i * g->stride + kx] & 0xFFFFu);
                }
                acc[ky * g->columns + kx] = sum;
            }
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
