/* Weight gradient for Armv6-M: products of errors and inputs summed over a block of output pixels, two filters and two
 * taps at a time (dot_v6m.h). Zero points stay in the products: sum (e - 128)(x - z_x) = sum e*x - z_x * sum (e - 128) -
 * 128 * sum x. */
#include "dense.h"

#include "dot_v6m.h"
#include "patch.h"
#include "rows.h"

#if FQT_ARMV6M

#define MOST_PIXELS 256u /* of a block */
#define MOST_PAIRS 512u  /* of filters at once */

/* Scratch: rows, sums, then of a block of `pixels`: errors(n,pixels), pairs(pixels) of two taps, inputs(2,pixels). */
struct work {
    const struct fqt_geometry *g;
    const struct fqt_dense_gradient_job *job;
    int32_t *rows, *sums;
    uint32_t *pairs;
    uint8_t *inputs, *errors;
    uint32_t n, pixels; /* filters, an even number */
};

static struct work work_of(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    uint32_t n = job->selection.n + (job->selection.n & 1u), all = (g->out_h * g->out_w + 3u) & ~3u;
    struct work work = {.g = g, .job = job, .rows = job->scratch, .n = n};
    uint32_t bytes = (uint32_t)fqt_dense_gradient_bytes(g, n) - 4u * n * (g->stored + 1u);
    uint32_t pixels = bytes / (n + 6u) & ~3u;
    pixels = pixels < MOST_PIXELS ? pixels : MOST_PIXELS;
    uint32_t blocks = (all + pixels - 1u) / pixels; /* about equal ones */
    work.pixels = ((all + blocks - 1u) / blocks + 3u) & ~3u;
    work.sums = work.rows + n * g->stored;
    work.pairs = (uint32_t *)(void *)(work.sums + n);
    work.inputs = (uint8_t *)(work.pairs + work.pixels);
    work.errors = work.inputs + 2u * work.pixels;
    return work;
}

/* Errors of filter i at the pixels from p, the rest without effect; adds them to its sum. True if any is not zero. */
static bool transpose_filter(const struct work *work, uint32_t i, uint32_t p)
{
    uint32_t filters = work->g->filters, left = work->g->out_h * work->g->out_w - p, k = 0;
    uint32_t chosen = i < work->job->selection.n ? i : i - 1u; /* an odd last one is taken twice */
    const uint8_t *error = work->job->error + p * filters + fqt_selected(&work->job->selection, chosen);
    uint8_t *to = work->errors + i * work->pixels;
    uint32_t sum = 0, any = 0;
    left = left < work->pixels ? left : work->pixels;
    for (; k < left; k++, error += filters) {
        uint32_t e = *error;
        to[k] = (uint8_t)e;
        sum += e;
        any |= e ^ FQT_ERROR_ZERO;
    }
    for (; k < work->pixels; k++) {
        to[k] = FQT_ERROR_ZERO;
    }
    work->sums[i] += (int32_t)sum - (int32_t)(left * FQT_ERROR_ZERO);
    return any != 0;
}

static uint8_t *fill(uint8_t *to, uint32_t n, uint8_t value)
{
    for (; n != 0; n--) {
        *to++ = value;
#if defined(__GNUC__)
        __asm__("" : : : "memory"); /* or the loop becomes a call of memset */
#endif
    }
    return to;
}

static uint8_t *copy_each(uint8_t *to, const uint8_t *from, uint32_t n, uint32_t pitch)
{
#pragma GCC unroll 4
    for (; n != 0; n--, from += pitch) {
        *to++ = *from;
    }
    return to;
}

/* Of a row's windows: those whose input lies left of the map, and on it from x on. The others' lies right of it. */
struct span {
    uint32_t before, inside, x;
};

/* Windows ox to ox + n. */
static struct span span_of(const struct fqt_geometry *g, uint32_t kx, uint32_t ox, uint32_t n)
{
    uint32_t x = ox * g->stride_w + kx - g->pad_left; /* wraps left of the map */
    struct span s = {0, 0, x};
    for (; s.before != n && s.x >= g->w; s.before++) {
        s.x += g->stride_w;
    }
    for (x = s.x; s.before + s.inside != n && x < g->w; s.inside++) {
        x += g->stride_w;
    }
    return s;
}

/* Where a tap lies in the kernel, and what a whole row's windows meet there. */
struct tap {
    uint32_t ky, kx, channel;
    struct span whole;
};

static struct tap first_tap(const struct fqt_geometry *g)
{
    return (struct tap){0, 0, 0, span_of(g, 0, 0, g->out_w)};
}

static void advance(const struct fqt_geometry *g, struct tap *tap)
{
    if (++tap->channel == g->c) {
        tap->channel = 0;
        if (++tap->kx == g->kernel_w) {
            tap->kx = 0;
            tap->ky++;
        }
        tap->whole = span_of(g, tap->kx, 0, g->out_w);
    }
}

/* A tap's inputs at the pixels from (oy,ox); zero points behind the last tap. On to the next tap. */
static void gather(const struct work *work, struct tap *tap, uint32_t oy, uint32_t ox, uint8_t *to)
{
    const struct fqt_geometry *g = work->g;
    const uint8_t *map = work->job->x + tap->channel;
    uint8_t zero = (uint8_t)work->job->x_zero;
    for (const uint8_t *end = to + work->pixels; to != end; oy++, ox = 0) {
        uint32_t y = oy * g->stride_h + tap->ky - g->pad_top; /* wraps above the map */
        uint32_t left = (uint32_t)(end - to), n = g->out_w - ox < left ? g->out_w - ox : left;
        if (y < g->h && tap->ky < g->kernel_h) {
            const struct span s = n == g->out_w ? tap->whole : span_of(g, tap->kx, ox, n);
            to = fill(to, s.before, zero);
            to = copy_each(to, map + (y * g->w + s.x) * g->c, s.inside, g->stride_w * g->c);
            to = fill(to, n - s.before - s.inside, zero);
        } else {
            to = fill(to, n, zero);
        }
    }
    advance(g, tap);
}

/* Pairs of filters of which a block has errors that are not zero, a bit each. */
struct wanted {
    uint32_t bits[MOST_PAIRS / 32u];
    bool any;
};

static struct wanted transpose(const struct work *work, uint32_t p)
{
    struct wanted wanted = {{0}, false};
    for (uint32_t i = 0; i < work->n; i += 2u) {
        bool first = transpose_filter(work, i, p), second = transpose_filter(work, i + 1u, p);
        if (first || second) {
            wanted.bits[i >> 6] |= 1u << (i >> 1 & 31u);
            wanted.any = true;
        }
    }
    return wanted;
}

/* Two rows' taps += what the block's errors of two filters add to them. */
static inline void accumulate(const struct work *work, const uint8_t *errors, int32_t *a, int32_t *b, int32_t less0,
                              int32_t less1)
{
    struct fqt_dots d = fqt_dot_2x2(errors, errors + work->pixels, work->pairs, work->pixels);
    a[0] += d.a0 - less0;
    a[1] += d.a1 - less1;
    b[0] += d.b0 - less0;
    b[1] += d.b1 - less1;
}

static void add_taps(const struct work *work, const struct wanted *wanted, uint32_t t, int32_t less0, int32_t less1)
{
    uint32_t stored = work->g->stored, step = 2u * work->pixels;
    const uint8_t *errors = work->errors;
    int32_t *a = work->rows + t, *end = a + work->n * stored;
    for (const uint32_t *word = wanted->bits; a != end; word++) {
        uint32_t bits = *word;
        for (uint32_t left = 32u; left != 0 && a != end; left--, bits >>= 1, errors += step, a += 2u * stored) {
            if ((bits & 1u) != 0) {
                accumulate(work, errors, a, a + stored, less0, less1);
            }
        }
    }
}

static void add_block(const struct work *work, uint32_t p)
{
    const struct wanted wanted = transpose(work, p);
    uint8_t *second = work->inputs + work->pixels;
    uint32_t oy = p / work->g->out_w, ox = p - oy * work->g->out_w;
    struct tap tap = first_tap(work->g);
    for (uint32_t t = 0; t < work->g->taps && wanted.any; t += 2u) {
        gather(work, &tap, oy, ox, work->inputs);
        gather(work, &tap, oy, ox, second);
        const struct fqt_area area = {1u, work->pixels, 0};
        struct fqt_windows inputs = fqt_lay_out_pair(work->pairs, work->inputs, second, area, 0);
        add_taps(work, &wanted, t, FQT_ERROR_ZERO * inputs.first_sum, FQT_ERROR_ZERO * inputs.second_sum);
    }
}

struct fqt_dense_gradient fqt_dense_gradient(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    const struct work work = work_of(g, job);
    fqt_clear(work.rows, work.n * (g->stored + 1u));
    for (uint32_t p = 0; p < g->out_h * g->out_w; p += work.pixels) {
        add_block(&work, p);
    }
    for (uint32_t i = 0; i < work.n; i++) {
        int32_t less = work.sums[i] * job->x_zero, *row = work.rows + i * g->stored;
        for (uint32_t t = 0; t < g->taps; t++) {
            row[t] -= less;
        }
    }
    return (struct fqt_dense_gradient){work.rows, work.sums};
}

#endif
