/* Planes for Armv6-M: a word holds a cell and the one `stride` further, bytes as they are, so that one multiplication makes
 * products of two windows side by side (dot_v6m.h). */
#include "planar_rows.h"

#include "scale_v6m.h"

#if FQT_ARMV6M

void fqt_clear_planes(void *planes, uint32_t n_cells, uint8_t zero)
{
    uint32_t *to = planes, both = zero | (uint32_t)zero << 16;
    for (uint32_t *end = to + n_cells; to != end;) {
        *to++ = both;
    }
}

/* to[i] = x[i] | x[i + 1] << 16 of n cells, n even and not 0, which `cell`, x[0], begins; x[1] is at `from`. Returns x[n]. 13
 * instructions for two. */
static __attribute__((noinline)) uint32_t put_neighbours(uint32_t *to, const uint8_t *from, uint32_t pitch, uint32_t cell,
                                                         uint32_t n)
{
    uint32_t *end = to + n;
    uint32_t next, word;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t"
                     "ldrb %[next], [%[from]]\n\t"
                     "adds %[from], %[pitch]\n\t"
                     "lsls %[word], %[next], #16\n\t"
                     "orrs %[word], %[cell]\n\t"
                     "ldrb %[cell], [%[from]]\n\t"
                     "stmia %[to]!, {%[word]}\n\t"
                     "adds %[from], %[pitch]\n\t"
                     "lsls %[word], %[cell], #16\n\t"
                     "orrs %[word], %[next]\n\t"
                     "stmia %[to]!, {%[word]}\n\t"
                     "cmp %[to], %[end]\n\t"
                     "bne 1b"
                     : [to] "+l"(to), [from] "+l"(from), [cell] "+l"(cell), [next] "=&l"(next), [word] "=&l"(word)
                     : [pitch] "l"(pitch), [end] "h"(end)
                     : "cc", "memory");
    return cell;
}

/* Windows side by side. */
static void fill_neighbours(uint32_t *to, const struct fqt_plane_row *row)
{
    const uint8_t *from = row->from;
    uint32_t zero = row->zero, pitch = row->pitch, left = row->n, cell = *from;
    to += row->before;
    from += pitch;
    if (row->before != 0) {
        to[-1] = zero | cell << 16;
    }
    if (left > 2u) {
        uint32_t pairs = (left - 1u) & ~1u;
        cell = put_neighbours(to, from, pitch, cell, pairs);
        to += pairs;
        from += pairs * pitch;
        left -= pairs;
    }
    if (left > 1u) {
        *to++ = cell | (uint32_t)*from << 16;
        cell = *from;
    }
    *to = cell | zero << 16;
}

/* From the right, so that a cell's neighbour is there when it is put. */
static void fill_from_right(uint32_t *begin, const struct fqt_plane_row *row)
{
    uint32_t stride = row->stride, *to = begin + row->cells, zero = row->zero, both = zero | zero << 16;
    uint32_t pitch = row->pitch, n = row->from != NULL ? row->n : 0u, before = row->from != NULL ? row->before : 0u;
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

void fqt_fill_plane(void *plane, const struct fqt_plane_row *row)
{
    if (row->stride == 1u && row->from != NULL) {
        fill_neighbours(plane, row);
    } else {
        fill_from_right(plane, row);
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

/* A cell of two windows, whose sums are in three registers: 6 instructions. The first one sets the sums. */
#define PAIR(cell, set, f, h, x)                                                                                    \
    "ldr r3, [" cell "]\n\t" set " " x ", r3\n\t"                                                                  \
    "muls r3, r2\n\t" set " " f ", r3\n\t"                                                                         \
    "lsrs r3, r3, #16\n\t" set " " h ", r3\n\t"

/* A tap of two pairs of windows: 13 instructions, 4 MACs. */
#define TAP(column, weight, set)                                                                                    \
    "ldrb r2, [r1, #" weight "]\n\t" PAIR("r0, #" column, set, "r8", "r9", "r10")                                  \
        PAIR("r6, #" column, set, "r11", "r12", "lr")

#define NEXT_PLANE                                                                                                  \
    "adds r0, r0, r4\n\t"                                                                                          \
    "adds r6, r6, r4\n\t"

/* A pair's sums: f - (h << 16) - zero * (low half of x), h - zero * (high half of x), + start. */
#define PUT_PAIR(f, h, x)                                                                                           \
    "mov r3, " x "\n\t"                                                                                            \
    "uxth r2, r3\n\t"                                                                                              \
    "lsrs r3, r3, #16\n\t"                                                                                         \
    "ldr r7, [sp, #4]\n\t"                                                                                         \
    "muls r2, r7\n\t"                                                                                              \
    "muls r3, r7\n\t"                                                                                              \
    "ldr r7, [sp]\n\t"                                                                                             \
    "subs r2, r7, r2\n\t"                                                                                          \
    "subs r3, r7, r3\n\t"                                                                                          \
    "mov r7, " h "\n\t"                                                                                            \
    "adds r3, r3, r7\n\t"                                                                                          \
    "lsls r7, r7, #16\n\t"                                                                                         \
    "subs r2, r2, r7\n\t"                                                                                          \
    "ldr r7, [sp, #8]\n\t"                                                                                         \
    "add r2, " f "\n\t"                                                                                            \
    "stmia r7!, {r2, r3}\n\t"                                                                                      \
    "str r7, [sp, #8]\n\t"

struct loop {
    int32_t start, zero;           /* 0, 4 */
    int32_t *acc, *end;            /* 8, 12 */
    const uint8_t *planes;         /* 16 */
    uint32_t pairs_apart, turn;    /* 20, 24: bytes to the second pair of windows; to the next turn's, from the last plane */
    uint32_t pitch;                /* 28 */
    const uint8_t *weights;        /* 32 */
};

/* acc of 3x3 kernels, four windows a turn: 161 instructions, 36 MACs. What the turns need lies on the stack. */
static __attribute__((noinline)) void sums_3x3(const struct loop *l)
{
    register const struct loop *loop __asm__("r0") = l;
    __asm__ volatile(".syntax unified\n\t"
                     "sub sp, #16\n\t"
                     "mov r7, sp\n\t"
                     "ldmia r0!, {r1, r2, r3, r4}\n\t"
                     "stmia r7!, {r1, r2, r3, r4}\n\t"
                     "ldmia r0!, {r2, r3, r5}\n\t"
                     "ldmia r0!, {r4, r6}\n\t"
                     "mov r0, r2\n\t"
                     "mov r1, r6\n\t"
                     "adds r6, r0, r3\n"
                     "1:\n\t" TAP("0", "0", "mov") TAP("4", "1", "add") TAP("8", "2", "add") NEXT_PLANE
                         TAP("0", "3", "add") TAP("4", "4", "add") TAP("8", "5", "add") NEXT_PLANE
                             TAP("0", "6", "add") TAP("4", "7", "add") TAP("8", "8", "add")
                     "adds r0, r0, r5\n\t"
                     "adds r6, r6, r5\n\t" PUT_PAIR("r8", "r9", "r10") PUT_PAIR("r11", "r12", "lr")
                     "ldr r2, [sp, #12]\n\t"
                     "cmp r7, r2\n\t"
                     "beq 2f\n\t"
                     "b 1b\n"
                     "2:\n\t"
                     "add sp, #16"
                     : "+r"(loop)
                     :
                     : "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* Any kernel. */
static void filter_sums(const struct fqt_planar_row *row, const uint8_t *w, const uint8_t *plane, int32_t start, int32_t *acc)
{
    for (uint32_t pairs = (row->n + 1u) / 2u; pairs != 0; pairs--, plane += 8u * row->stride, acc += 2) {
        struct sums s = sums_of_two(row, w, plane);
        acc[0] = start + (int32_t)(s.f - (s.h << 16)) - row->weight_zero * (int32_t)(s.x & 0xFFFFu);
        acc[1] = start + (int32_t)s.h - row->weight_zero * (int32_t)(s.x >> 16);
    }
}

void fqt_planar_sums(const struct fqt_planar_row *row, const struct fqt_planar_filters *f, int32_t *acc)
{
    uint32_t n = (row->n + 3u) & ~3u, step = 8u * row->stride;
    struct loop loop = {.zero = row->weight_zero, .acc = acc, .planes = f->planes, .pairs_apart = step,
                        .turn = 2u * step - 2u * row->pitch, .pitch = row->pitch,
                        .weights = f->weights + f->first * row->columns};
    bool is_3x3 = row->rows == 3u && row->columns == 3u;
    for (uint32_t k = 0; k < f->count; k++) {
        loop.start = f->starts[k];
        loop.end = loop.acc + n;
        if (is_3x3) {
            sums_3x3(&loop);
        } else {
            filter_sums(row, loop.weights, loop.planes, loop.start, loop.acc);
        }
        loop.acc = loop.end;
        loop.planes += f->planes_apart;
        loop.weights += f->weights_apart;
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
    uint32_t pitch = row->pitch;
    for (uint32_t k = 0; k < FQT_PLANES; k++) {
        int32_t *to = (int32_t *)(void *)((uint8_t *)planes + k * row->apart), sum = sums[k];
        const uint8_t *from = row->from + k;
#pragma GCC unroll 2
        for (int32_t *end = to + row->n; to != end; from += pitch) {
            int32_t e = *from - FQT_ERROR_ZERO;
            *to++ = e;
            sum += e;
        }
        sums[k] = sum;
    }
}

#define WINDOW(e, first, second, third)                                                                             \
    "ldrh r3, [r0, #" first "]\n\t"                                                                                \
    "muls r3, " e "\n\t"                                                                                           \
    "add r8, r3\n\t"                                                                                               \
    "ldrh r3, [r0, #" second "]\n\t"                                                                               \
    "muls r3, " e "\n\t"                                                                                           \
    "add r9, r3\n\t"                                                                                               \
    "ldrh r3, [r0, #" third "]\n\t"                                                                                \
    "muls r3, " e "\n\t"                                                                                           \
    "add r10, r3\n\t"

/* 3x3 kernels, windows side by side, two a turn: 22 instructions, 6 MACs; 20 more a kernel row. The end of the offsets lies on
 * the stack. */
static __attribute__((noinline)) void gradients_3x3(const uint32_t *first, const uint8_t *planes, const uint8_t *errors,
                                                    uint32_t error_bytes, int32_t *acc)
{
    register const uint32_t *offsets __asm__("r0") = first;
    register const uint8_t *error __asm__("r1") = errors;
    register const uint8_t *error_end __asm__("r2") = errors + error_bytes;
    register const uint32_t *offsets_end __asm__("r3") = first + 3;
    register int32_t *sums __asm__("r4") = acc;
    register const uint8_t *base __asm__("r5") = planes;
    __asm__ volatile(".syntax unified\n\t"
                     "push {r3}\n\t"
                     "mov r11, r0\n\t"
                     "mov r12, r5\n\t"
                     "mov lr, r1\n"
                     "1:\n\t"
                     "mov r3, r11\n\t"
                     "ldmia r3!, {r0}\n\t"
                     "mov r11, r3\n\t"
                     "add r0, r12\n\t"
                     "mov r1, lr\n\t"
                     "ldmia r4!, {r5, r6, r7}\n\t"
                     "mov r8, r5\n\t"
                     "mov r9, r6\n\t"
                     "mov r10, r7\n"
                     "2:\n\t"
                     "ldmia r1!, {r5, r6}\n\t" WINDOW("r5", "0", "4", "8") WINDOW("r6", "4", "8", "12")
                     "adds r0, #8\n\t"
                     "cmp r1, r2\n\t"
                     "bne 2b\n\t"
                     "mov r5, r8\n\t"
                     "mov r6, r9\n\t"
                     "mov r7, r10\n\t"
                     "subs r4, #12\n\t"
                     "stmia r4!, {r5, r6, r7}\n\t"
                     "ldr r5, [sp]\n\t"
                     "cmp r11, r5\n\t"
                     "bne 1b\n\t"
                     "add sp, #4"
                     : "+r"(offsets), "+r"(error), "+r"(offsets_end), "+r"(sums), "+r"(base)
                     : "r"(error_end)
                     : "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

static int32_t tap_sum(const struct fqt_planar_gradient *g, const uint8_t *errors, const uint8_t *x, int32_t sum)
{
    for (uint32_t i = 0; i < g->n; i++, errors += 4, x += 4u * g->stride) {
        sum += *(const int32_t *)(const void *)errors * *(const uint16_t *)(const void *)x;
    }
    return sum;
}

void fqt_planar_gradients(const struct fqt_planar_gradient *g, int32_t *acc)
{
    const uint8_t *x = g->x, *errors = g->errors;
    bool is_3x3 = g->rows == 3u && g->columns == 3u && g->stride == 1u;
    for (uint32_t k = 0; k < FQT_PLANES; k++, acc += g->acc_pitch, errors += g->errors_apart, x += g->x_apart) {
        if (is_3x3) {
            gradients_3x3(g->offsets, x, errors, 4u * ((g->n + 1u) & ~1u), acc);
            continue;
        }
        for (uint32_t tap = 0; tap < g->rows * g->columns; tap++) {
            acc[tap] = tap_sum(g, errors, x + g->offsets[tap / g->columns] + 4u * (tap % g->columns), acc[tap]);
        }
    }
}

void fqt_put_planes(const struct fqt_planar_sums *sums, const struct fqt_requantization *q, uint8_t *out)
{
    const struct fqt_scale s = fqt_scale_of(q->by, q->zero, q->lowest, q->highest);
    uint32_t apart = sums->apart;
    for (uint32_t k = 0; k < FQT_PLANES; k++) {
        const int32_t *acc = sums->acc + k * sums->pitch, *end = acc + sums->n;
        for (uint8_t *to = out + k; acc != end; to += apart) {
            *to = (uint8_t)fqt_scaled(s, *acc++);
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
    const struct fqt_requantization q = {to->by, FQT_ERROR_ZERO, 0, 255};
    uint32_t first = (uint32_t)(to->mask.low + 1), shown = (uint32_t)(to->mask.high - to->mask.low - 1);
    uint32_t apart = sums->apart;
    fqt_put_planes(sums, &q, to->out);
    for (uint32_t k = 0; k < FQT_PLANES; k++) {
        const uint8_t *x = to->x + k;
        uint8_t *out = to->out + k;
        for (uint32_t n = sums->n; n != 0; n--, x += apart, out += apart) {
            if (*x - first >= shown) { /* fqt_hides, in one comparison */
                *out = FQT_ERROR_ZERO;
            }
        }
    }
    return tracking ? largest_shown(sums, to) : 0;
}

#endif
