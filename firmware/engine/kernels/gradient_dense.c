#include "dense.h"
#include "patch.h"
#include "simd.h"

#define BLOCK 8u         /* output pixels at a time */
#define LEAST_PIXELS 64u /* on Armv6-M */

static uint64_t even(uint64_t n)
{
    return n + (n & 1u);
}

uint64_t fqt_dense_gradient_bytes(const struct fqt_geometry *g, uint32_t n_filters)
{
    uint64_t windows = (2u * BLOCK + 2u) * (uint64_t)g->stored + 6u * LEAST_PIXELS;
    return windows + (4u * (uint64_t)g->stored + 4u + LEAST_PIXELS) * even(n_filters);
}

uint32_t fqt_count_errors(const uint8_t *error, uint32_t n)
{
    uint32_t i = 0, zeros = 0;
#if FQT_DSP
    for (; i + 4u <= n; i += 4u) {
        zeros = fqt_count_zero_bytes(fqt_word(error + i) ^ 0x80808080u, zeros);
    }
#endif
    for (; i < n; i++) {
        zeros += error[i] == FQT_ERROR_ZERO ? 1u : 0u;
    }
    return n - zeros;
}

#if !FQT_ARMV6M

/* Scratch: rows, sums, windows of a block, and the bytes under two windows. */
struct work {
    const struct fqt_geometry *g;
    const struct fqt_dense_gradient_job *job;
    int32_t *rows;
    int32_t *sums;
    void *windows;
    uint8_t *patches;
};

static struct work work_of(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    uint32_t n = (uint32_t)even(job->selection.n);
    int32_t *rows = job->scratch, *sums = rows + n * g->stored;
    uint8_t *windows = (uint8_t *)(sums + n);
    return (struct work){g, job, rows, sums, windows, windows + 2u * BLOCK * g->stored};
}

static struct fqt_patches patches_of(const struct work *work)
{
    const struct fqt_geometry *g = work->g;
    return (struct fqt_patches){
        .map = work->job->x, .h = g->h, .w = g->w, .c = g->c, .rows = g->kernel_h, .columns = g->kernel_w,
        .stored = g->stored, .fill = (uint8_t)work->job->x_zero, .cell = g->c,
    };
}

#if FQT_DSP

/* The centred errors of two filters at BLOCK pixels, two pixels a word. */
struct errors {
    uint32_t a[BLOCK / 2u], b[BLOCK / 2u];
};

/* Errors of one filter at BLOCK pixels, `stride` apart. Adds them to *sum; 0 if all are zero. */
static inline uint32_t centre(uint32_t to[BLOCK / 2u], const uint8_t *error, uint32_t stride, int32_t *sum)
{
    uint32_t any = 0;
    int32_t total = *sum;
#pragma GCC unroll 4
    for (uint32_t k = 0; k < BLOCK / 2u; k++, error += 2u * stride) {
        uint32_t pair = fqt_subtract_pairs(error[0] | (uint32_t)error[stride] << 16, FQT_ERROR_ZERO * FQT_PAIR_OF_ONES);
        to[k] = pair;
        total = fqt_smlad(pair, FQT_PAIR_OF_ONES, total);
        any |= pair;
    }
    *sum = total;
    return any;
}

/* Of fewer than BLOCK pixels; the rest is zero. */
static uint32_t centre_last(uint32_t to[BLOCK / 2u], const uint8_t *error, uint32_t stride, uint32_t left, int32_t *sum)
{
    uint8_t errors[BLOCK];
    for (uint32_t k = 0; k < BLOCK; k++) {
        errors[k] = k < left ? error[k * stride] : (uint8_t)FQT_ERROR_ZERO;
    }
    return centre(to, errors, 1u, sum);
}

/* The errors at BLOCK pixels, or at the `left` last ones. */
struct block {
    const uint8_t *error;
    uint32_t left, stride;
};

/* Of two filters; the second one may be the first again. False = all are zero. */
static inline bool errors_of(const struct block *block, uint32_t first, uint32_t second, int32_t *sums,
                             struct errors *errors)
{
    const uint8_t *a = block->error + first, *b = block->error + second;
    uint32_t left = block->left, stride = block->stride;
    if (left < BLOCK) {
        return (centre_last(errors->a, a, stride, left, &sums[0]) | centre_last(errors->b, b, stride, left, &sums[1])) != 0;
    }
    return (centre(errors->a, a, stride, &sums[0]) | centre(errors->b, b, stride, &sums[1])) != 0;
}

/* to[tap * BLOCK/2] = x_p | x_q << 16 of each tap of two pixels' windows. */
static void interleave(uint32_t *to, const uint8_t *p, const uint8_t *q, uint32_t taps)
{
    for (const uint8_t *end = p + taps; p != end; p += 4, q += 4, to += 4u * BLOCK / 2u) {
        uint32_t word_p = fqt_word(p), word_q = fqt_word(q);
        uint32_t low = fqt_low_halves(word_p, word_q), high = fqt_high_halves(word_p, word_q);
        to[0] = fqt_even_bytes(low);
        to[BLOCK / 2u] = fqt_odd_bytes(low);
        to[BLOCK] = fqt_even_bytes(high);
        to[3u * BLOCK / 2u] = fqt_odd_bytes(high);
    }
}

/* As above for `rows` rows of n taps, `pitch` bytes apart: windows that lie on the map. */
static void interleave_rows(uint32_t *to, const uint8_t *p, const uint8_t *q, struct fqt_area area)
{
    for (; area.rows != 0; area.rows--, p += area.pitch, q += area.pitch, to += area.n * BLOCK / 2u) {
        interleave(to, p, q, area.n);
    }
}

static struct fqt_corner corner_of(const struct fqt_geometry *g, uint32_t p)
{
    uint32_t oy = p / g->out_w, ox = p - oy * g->out_w;
    return (struct fqt_corner){(int32_t)(oy * g->stride_h) - (int32_t)g->pad_top,
                               (int32_t)(ox * g->stride_w) - (int32_t)g->pad_left};
}

static void fill_windows(const struct work *work, uint32_t p)
{
    const struct fqt_geometry *g = work->g;
    uint32_t stored = g->stored, last = g->out_h * g->out_w - 1u, n = g->kernel_w * g->c;
    const struct fqt_patches patches = patches_of(work);
    const struct fqt_area rows = {g->kernel_h, n, g->w * g->c};
    for (uint32_t k = 0; k < BLOCK / 2u; k++) { /* behind the last pixel that one again: its errors there are 0 */
        uint32_t first = p + 2u * k, second = first + 1u;
        struct fqt_corner c = corner_of(g, first < last ? first : last), d = corner_of(g, second < last ? second : last);
        uint32_t *to = (uint32_t *)work->windows + k;
        if ((n & 3u) == 0 && fqt_is_inside(&patches, c) && fqt_is_inside(&patches, d)) {
            interleave_rows(to, fqt_map_at(&patches, c), fqt_map_at(&patches, d), rows);
        } else {
            interleave(to, fqt_patch(&patches, c.top, c.left, work->patches),
                       fqt_patch(&patches, d.top, d.left, work->patches + stored), stored);
        }
    }
}

/* One tap of two filters and BLOCK pixels: 16 instructions, 18 cycles, 16 MACs. */
#define STEP                                                                                                        \
    "ldr %[a], [%[rows]]\n\t"                                                                                       \
    "ldr %[b], [%[rows], #4]\n\t"                                                                                   \
    "ldr %[x], [%[windows]], #4\n\t"                                                                                \
    "ldr %[y], [%[windows]], #4\n\t"                                                                                \
    "smlad %[a], %[a0], %[x], %[a]\n\t"                                                                             \
    "smlad %[b], %[b0], %[x], %[b]\n\t"                                                                             \
    "smlad %[a], %[a1], %[y], %[a]\n\t"                                                                             \
    "smlad %[b], %[b1], %[y], %[b]\n\t"                                                                             \
    "ldr %[x], [%[windows]], #4\n\t"                                                                                \
    "ldr %[y], [%[windows]], #4\n\t"                                                                                \
    "smlad %[a], %[a2], %[x], %[a]\n\t"                                                                             \
    "smlad %[b], %[b2], %[x], %[b]\n\t"                                                                             \
    "smlad %[a], %[a3], %[y], %[a]\n\t"                                                                             \
    "smlad %[b], %[b3], %[y], %[b]\n\t"                                                                             \
    "str %[a], [%[rows]], #4\n\t"                                                                                   \
    "str %[b], [%[rows]], #4\n\t"

/* rows(taps,2) += errors times windows(taps,BLOCK), taps a multiple of 4 and not 0. It takes all fourteen registers: the
 * rows' end comes in a's and goes to the stack, and nothing is inlined around it that may want one. */
static __attribute__((noinline)) void accumulate(int32_t *rows, const uint32_t *windows, uint32_t taps,
                                                 const struct errors *e)
{
    int32_t *a = rows + 2u * taps;
    uint32_t b, x, y;
    __asm__ volatile("push {%[a]}\n\t"
                     "sub %[x], %[a], %[rows]\n\t"
                     "lsls %[x], %[x], #27\n\t" /* carry: an odd number of fours, the first of which enters late */
                     "bcs 2f\n"
                     "1:\n\t" STEP STEP STEP STEP "2:\n\t" STEP STEP STEP STEP "ldr %[x], [sp]\n\t"
                     "cmp %[rows], %[x]\n\t"
                     "bne 1b\n\t"
                     "add sp, #4"
                     : [rows] "+r"(rows), [windows] "+r"(windows), [a] "+r"(a), [b] "=&r"(b), [x] "=&r"(x),
                       [y] "=&r"(y)
                     : [a0] "r"(e->a[0]), [a1] "r"(e->a[1]), [a2] "r"(e->a[2]), [a3] "r"(e->a[3]),
                       [b0] "r"(e->b[0]), [b1] "r"(e->b[1]), [b2] "r"(e->b[2]), [b3] "r"(e->b[3])
                     : "cc", "memory");
}

/* Of pairs(taps,2) the first column to `first`, which may be `pairs`, the other to `second`, each `less`; taps a multiple
 * of 4. */
static __attribute__((noinline)) void separate(const int32_t *pairs, uint32_t taps, int32_t *first, int32_t *second,
                                               const int32_t less[2])
{
    register const int32_t *from __asm__("r0") = pairs;
    register const int32_t *end __asm__("r1") = pairs + 2u * taps;
    register int32_t *to __asm__("r2") = first;
    register int32_t *other __asm__("r3") = second;
    register int32_t less_first __asm__("r7") = less[0];
    register int32_t less_second __asm__("lr") = less[1];
    __asm__ volatile("1:\n\t"
                     "ldmia r0!, {r4, r5, r6, r8, r9, r10, r11, r12}\n\t"
                     "subs r4, r4, r7\n\t"
                     "sub r5, r5, lr\n\t"
                     "subs r6, r6, r7\n\t"
                     "sub r8, r8, lr\n\t"
                     "sub r9, r9, r7\n\t"
                     "sub r10, r10, lr\n\t"
                     "sub r11, r11, r7\n\t"
                     "sub r12, r12, lr\n\t"
                     "stmia r2!, {r4, r6, r9, r11}\n\t"
                     "cmp r0, r1\n\t"
                     "stmia r3!, {r5, r8, r10, r12}\n\t"
                     "bne 1b"
                     : "+r"(from), "+r"(to), "+r"(other)
                     : "r"(end), "r"(less_first), "r"(less_second)
                     : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "cc", "memory");
}

/* To (2,taps), of x - z_x: the first filter's in place, the second's by way of the windows' memory. */
static void finish_rows(const struct work *work, int32_t *rows, const int32_t *sums)
{
    uint32_t taps = work->g->stored;
    const int32_t less[2] = {sums[0] * work->job->x_zero, sums[1] * work->job->x_zero};
    int32_t *copy = work->windows;
    separate(rows, taps, rows, copy, less);
    for (uint32_t k = 0; k < taps; k += 4u) {
        rows[taps + k] = copy[k];
        rows[taps + k + 1u] = copy[k + 1u];
        rows[taps + k + 2u] = copy[k + 2u];
        rows[taps + k + 3u] = copy[k + 3u];
    }
}

static void add_block(const struct work *work, uint32_t p, uint32_t pixels)
{
    const struct fqt_selection selection = work->job->selection;
    const struct block block = {work->job->error + p * work->g->filters, pixels - p, work->g->filters};
    uint32_t stored = work->g->stored;
    int32_t *rows = work->rows, *sums = work->sums;
    struct errors errors;
    bool filled = false;
    for (uint32_t i = 0; i < selection.n; i += 2u, rows += 2u * stored, sums += 2) {
        uint32_t first = fqt_selected(&selection, i);
        uint32_t second = i + 1u < selection.n ? fqt_selected(&selection, i + 1u) : first;
        if (!errors_of(&block, first, second, sums, &errors)) {
            continue;
        }
        if (!filled) {
            fill_windows(work, p);
            filled = true;
        }
        accumulate(rows, work->windows, stored, &errors);
    }
}

struct fqt_dense_gradient fqt_dense_gradient(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    const struct work work = work_of(g, job);
    uint32_t n = (uint32_t)even(job->selection.n), pixels = g->out_h * g->out_w;
    fqt_clear(work.rows, n * g->stored + n);
    for (uint32_t p = 0; p < pixels; p += BLOCK) {
        add_block(&work, p, pixels);
    }
    for (uint32_t i = 0; i < n; i += 2u) {
        finish_rows(&work, work.rows + i * g->stored, work.sums + i);
    }
    return (struct fqt_dense_gradient){work.rows, work.sums};
}

#else

static uint32_t filter_of(const struct fqt_dense_gradient_job *job, uint32_t i)
{
    return fqt_selected(&job->selection, i);
}

static void add_scaled(int32_t *row, const uint8_t *window, uint32_t n, int32_t e, int32_t zero)
{
    for (uint32_t tap = 0; tap < n; tap++) {
        row[tap] += e * (window[tap] - zero);
    }
}

struct fqt_dense_gradient fqt_dense_gradient(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    const struct work work = work_of(g, job);
    const struct fqt_patches patches = patches_of(&work);
    uint32_t pixels = g->out_h * g->out_w;
    fqt_clear(work.rows, (uint32_t)even(job->selection.n) * (g->stored + 1u));
    for (uint32_t p = 0; p < pixels; p++) {
        int32_t top = (int32_t)(p / g->out_w * g->stride_h) - (int32_t)g->pad_top;
        int32_t left = (int32_t)(p % g->out_w * g->stride_w) - (int32_t)g->pad_left;
        const uint8_t *window = fqt_patch(&patches, top, left, work.patches);
        for (uint32_t i = 0; i < job->selection.n; i++) {
            int32_t e = job->error[p * g->filters + filter_of(job, i)] - FQT_ERROR_ZERO;
            work.sums[i] += e;
            if (e != 0) {
                add_scaled(work.rows + i * g->stored, window, g->stored, e, job->x_zero);
            }
        }
    }
    return (struct fqt_dense_gradient){work.rows, work.sums};
}

#endif

#endif
