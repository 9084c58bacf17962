#include "convolution.h"

#include "patch.h"
#include "planar.h"
#include "rows.h"
#include "simd.h"

#define ROW_BLOCK 32u /* filters whose sums lie on the stack */

/* A window over the map, and where its results go: output `at` of its first filter, behind a fused pool in place `place`
 * of four. */
struct window {
    uint32_t oy, ox;
    uint32_t at, place;
};

static struct window window_at(const struct fqt_geometry *g, uint32_t oy, uint32_t ox)
{
    if (g->pool == 1u) {
        return (struct window){oy, ox, (oy * g->out_w + ox) * g->filters, 0};
    }
    return (struct window){oy, ox, (oy / 2u * (g->out_w / 2u) + ox / 2u) * g->filters, (oy & 1u) << 1 | (ox & 1u)};
}

static FQT_NOINLINE struct window next_window(const struct fqt_geometry *g, const struct window *w)
{
    return w->ox + 1u < g->out_w ? window_at(g, w->oy, w->ox + 1u) : window_at(g, w->oy + 1u, 0);
}

static struct fqt_corner corner_of(const struct fqt_geometry *g, const struct window *w)
{
    return (struct fqt_corner){(int32_t)(w->oy * g->stride_h) - (int32_t)g->pad_top,
                               (int32_t)(w->ox * g->stride_w) - (int32_t)g->pad_left};
}

static void track(struct fqt_layer_state *state, const int32_t *acc, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        fqt_track(state, acc[i]);
    }
}

#if FQT_DSP

/* Four outputs, whose places are a byte of argmax, from `at` on, a multiple of 4. */
static inline void keep_larger_four(const struct fqt_forward_job *job, uint32_t at, uint32_t place, const uint8_t *q)
{
    uint8_t *out = (uint8_t *)job->out + at, *places = job->argmax + at / 4u;
    uint32_t new = fqt_word(q), old = fqt_word(out);
    uint32_t kept = place == 0 ? 0 : fqt_select_bytes(old, new, 0xFFFFFFFFu, 0);
    uint32_t result = fqt_select_bytes(kept, 0xFFFFFFFFu, old, new);
    memcpy(out, &result, sizeof result);
    kept &= 0xC0300C03u;
    kept |= kept >> 16;
    kept |= kept >> 8;
    *places = (uint8_t)((*places & kept) | (place * 0x55u & ~kept));
}

#endif

static FQT_SMALL void keep_larger(const struct fqt_forward_job *job, uint32_t at, uint32_t place, const uint8_t *q,
                                  uint32_t n)
{
    uint8_t *out = job->out;
    uint32_t i = 0;
#if FQT_DSP
    for (; (at & 3u) == 0 && i + 4u <= n; i += 4u, at += 4u) {
        keep_larger_four(job, at, place, q + i);
    }
#endif
    for (; i < n; i++, at++) {
        uint32_t shift = 2u * (at & 3u);
        if (place == 0 || q[i] > out[at]) {
            out[at] = q[i];
            uint8_t *word = &job->argmax[at >> 2];
            *word = (uint8_t)((*word & ~(3u << shift)) | place << shift);
        }
    }
}

/* Memory of a block of filters: their widened weights, the windows' values, the bytes under two of them, and what the sums
 * begin with. */
struct scratch {
    uint32_t *wide; /* or NULL */
    void *values;
    uint8_t *bytes;
    int32_t *starts;
};

/* Filters that can be widened at once; 0 if it doesn't pay: a weight takes 2 cycles, and saves a third of one or more a
 * window; and for few filters at a time windows are laid out too often. */
static FQT_SMALL uint32_t wide_filters(const struct fqt_geometry *g, const struct fqt_forward_job *job)
{
    uint32_t least = (FQT_WINDOW_BYTES + 2u) * g->stored + (uint32_t)sizeof(int32_t) * g->group_filters;
    if (!FQT_WIDENS || g->group_filters < 4u || g->out_h * g->out_w < FQT_LEAST_WINDOWS || job->scratch_bytes < least) {
        return 0;
    }
    uint32_t n = (job->scratch_bytes - least) / (FQT_WIDE_BYTES * g->stored) & ~3u;
    return n >= (g->group_filters & ~3u) ? g->group_filters : n >= FQT_LEAST_WIDE ? n : 0u;
}

static FQT_SMALL struct scratch scratch_of(const struct fqt_geometry *g, const struct fqt_forward_job *job, uint32_t n_wide)
{
    uint8_t *values = (uint8_t *)job->scratch + FQT_WIDE_BYTES * g->stored * (n_wide & ~3u);
    uint8_t *bytes = values + FQT_WINDOW_BYTES * g->stored;
    return (struct scratch){n_wide != 0 ? job->scratch : NULL, values, bytes,
                            (int32_t *)(void *)(bytes + 2u * g->stored)};
}

static bool keeps_sums(const struct fqt_forward_job *job)
{
    return job->out_is_int32 || job->tracked != NULL;
}

/* The sums of n filters from `filter` on, n <= ROW_BLOCK. */
static void finish(const struct fqt_forward_job *job, const int32_t *acc, uint32_t n, const struct window *w,
                   uint32_t filter)
{
    const struct fqt_requantization q = {job->by, job->out_zero, job->lowest, job->highest};
    uint32_t at = w->at + filter;
    if (job->out_is_int32) {
        fqt_copy((uint8_t *)((int32_t *)job->out + at), (const uint8_t *)acc, n * (uint32_t)sizeof *acc);
        return;
    }
    if (job->tracked != NULL) {
        track(job->tracked, acc, n);
    }
    if (job->argmax == NULL) {
        fqt_requantize(&q, acc, n, (uint8_t *)job->out + at);
        return;
    }
    uint8_t values[ROW_BLOCK];
    fqt_requantize(&q, acc, n, values);
    keep_larger(job, at, w->place, values, n);
}

/* `count` rows from `first` on. */
static struct fqt_rows part_of(const struct fqt_rows *rows, uint32_t first, uint32_t count)
{
    return (struct fqt_rows){rows->weights + first * rows->n, rows->bias + first, rows->starts + first, rows->zero,
                             rows->n, count, rows->wide != NULL ? rows->wide + first * rows->n / 2u : NULL};
}

static uint32_t block(uint32_t left)
{
    return left < ROW_BLOCK ? left : ROW_BLOCK;
}

/* The filters of `rows`, the first of which is `filter`, on an odd last window. */
static FQT_SMALL void one_window(const struct fqt_forward_job *job, const struct fqt_rows *rows,
                                 const struct fqt_window *values, const struct window *w, uint32_t filter)
{
    int32_t acc[ROW_BLOCK];
    for (uint32_t i = 0; i < rows->count; i += ROW_BLOCK) {
        const struct fqt_rows part = part_of(rows, i, block(rows->count - i));
        fqt_multiply_row(&part, values, acc);
        finish(job, acc, part.count, w, filter + i);
    }
}

/* Two windows whose sums are kept. */
static FQT_SMALL void two_sums(const struct fqt_forward_job *job, const struct fqt_rows *rows,
                               const struct fqt_windows *values, const struct window w[2], uint32_t filter)
{
    int32_t acc0[ROW_BLOCK], acc1[ROW_BLOCK];
    for (uint32_t i = 0; i < rows->count; i += ROW_BLOCK) {
        const struct fqt_rows part = part_of(rows, i, block(rows->count - i));
        fqt_multiply_rows(&part, values, acc0, acc1);
        finish(job, acc0, part.count, &w[0], filter + i);
        finish(job, acc1, part.count, &w[1], filter + i); /* second: a fused pool takes windows in their order */
    }
}

/* Two windows of which only bytes are wanted. */
static void two_windows(const struct fqt_forward_job *job, const struct fqt_rows *rows,
                        const struct fqt_windows *values, const struct window w[2], uint32_t filter)
{
    const struct fqt_requantization q = {job->by, job->out_zero, job->lowest, job->highest};
    uint8_t *out = (uint8_t *)job->out + filter;
    if (job->argmax == NULL) {
        fqt_multiply_rows_to_bytes(rows, values, &q, out + w[0].at, out + w[1].at);
        return;
    }
    uint8_t first[ROW_BLOCK], second[ROW_BLOCK];
    for (uint32_t i = 0; i < rows->count; i += ROW_BLOCK) {
        const struct fqt_rows part = part_of(rows, i, block(rows->count - i));
        fqt_multiply_rows_to_bytes(&part, values, &q, first, second);
        keep_larger(job, w[0].at + filter + i, w[0].place, first, part.count);
        keep_larger(job, w[1].at + filter + i, w[1].place, second, part.count);
    }
}

static void two(const struct fqt_forward_job *job, const struct fqt_rows *rows, const struct fqt_windows *values,
                const struct window w[2], uint32_t filter)
{
    if (keeps_sums(job)) {
        two_sums(job, rows, values, w, filter);
    } else {
        two_windows(job, rows, values, w, filter);
    }
}

/* 1x1 kernels: a window is a pixel of the map, which needs no look at its borders. Returns how many pixels are left. */
static FQT_NOINLINE uint32_t forward_pixels(const struct fqt_geometry *g, const struct fqt_forward_job *job,
                                            const struct fqt_rows *rows, void *values, uint32_t filter)
{
    const struct fqt_area pixel = {1u, g->c, 0};
    const uint8_t *x = job->x;
    struct window w[2] = {{.at = 0}, {.at = g->filters}};
    uint32_t left = g->out_h * g->out_w;
    for (; left > 1u; left -= 2u, x += 2u * g->c, w[0].at += 2u * g->filters, w[1].at += 2u * g->filters) {
        const struct fqt_windows pair = fqt_lay_out_pair(values, x, x + g->c, pixel, (uint8_t)job->x_zero);
        two(job, rows, &pair, w, filter);
    }
    return left;
}

/* Whether every window is a pixel, of whole words. */
static bool has_pixels(const struct fqt_geometry *g)
{
    return g->kernel_h * g->kernel_w * g->stride_h * g->stride_w * g->pool == 1u && g->group_channels == g->c &&
           g->stored == g->c && g->out_h == g->h && g->out_w == g->w;
}

#if FQT_WIDENS

/* Widen the rows; and where windows overlap, all rows are widened and the scratch has room, centre the map at its end. */
static FQT_SMALL void widen(const struct fqt_geometry *g, const struct fqt_forward_job *job, const struct fqt_rows *rows,
                            const struct scratch *scratch, struct fqt_patches *patches)
{
    const struct fqt_border border = {g->pad_top, g->pad_left, (g->out_h - 1u) * g->stride_h + g->kernel_h,
                                      (g->out_w - 1u) * g->stride_w + g->kernel_w};
    uint32_t bytes = FQT_CENTRED_BYTES * border.rows * border.columns * g->group_channels;
    uint8_t *to = (uint8_t *)job->scratch + (job->scratch_bytes & ~3u) - bytes;
    fqt_widen_rows(rows, scratch->wide);
    if (((rows->count | g->group_channels) & 3u) == 0 && g->kernel_h * g->kernel_w > g->stride_h * g->stride_w &&
        bytes <= job->scratch_bytes && to >= (uint8_t *)(scratch->starts + rows->count)) {
        fqt_centre_map(patches, border, to);
    }
}

#endif

/* `n_filters` filters of one group; all that are whole fours of them are widened if `wide`. */
static FQT_SMALL void forward_filters(const struct fqt_geometry *g, const struct fqt_forward_job *job,
                                      uint32_t first_filter, uint32_t n_filters, uint32_t first_channel, bool wide)
{
    const struct scratch scratch = scratch_of(g, job, wide ? n_filters : 0u);
    const struct fqt_rows rows = {job->weights + first_filter * g->stored, job->bias + first_filter, scratch.starts,
                                  job->weight_zero, g->stored, n_filters, scratch.wide};
    struct fqt_patches patches = {
        .map = job->x + first_channel, .h = g->h, .w = g->w, .c = g->c, .rows = g->kernel_h,
        .columns = g->kernel_w, .stored = g->stored, .fill = (uint8_t)job->x_zero, .cell = g->group_channels,
    };
    struct window w[2] = {window_at(g, 0, 0)};
    uint32_t left = g->out_h * g->out_w;
    if (left > 1u) {
        fqt_start_rows(&rows, job->x_zero, scratch.starts);
    }
#if FQT_WIDENS
    if (wide) {
        widen(g, job, &rows, &scratch, &patches);
    }
#endif
    if (has_pixels(g)) {
        left = forward_pixels(g, job, &rows, scratch.values, first_filter);
        w[0] = window_at(g, g->out_h - 1u, g->out_w - 1u);
    }
    for (; left > 1u; left -= 2u, w[0] = next_window(g, &w[1])) {
        w[1] = next_window(g, &w[0]);
        struct fqt_windows values =
            fqt_window_pair(&patches, corner_of(g, &w[0]), corner_of(g, &w[1]), scratch.values, scratch.bytes);
        two(job, &rows, &values, w, first_filter);
    }
    if (left != 0) {
        struct fqt_corner corner = corner_of(g, &w[0]);
        const uint8_t *bytes = fqt_patch(&patches, corner.top, corner.left, scratch.bytes);
        struct fqt_window values = fqt_lay_out(scratch.values, bytes, g->stored, patches.fill);
        one_window(job, &rows, &values, &w[0], first_filter);
    }
}

FQT_SMALL void fqt_convolution_forward(const struct fqt_geometry *g, const struct fqt_forward_job *job)
{
    uint32_t channel = 0;
    if (fqt_is_planar(g)) {
        fqt_planar_forward(g, job);
        return;
    }
    uint32_t wide = wide_filters(g, job), block = wide != 0 ? wide : g->group_filters;
    for (uint32_t f = 0; f < g->filters; f += g->group_filters, channel += g->group_channels) {
        for (uint32_t i = 0, n; i < g->group_filters; i += n) {
            n = g->group_filters - i < block + 4u ? g->group_filters - i : block;
            forward_filters(g, job, f + i, n, channel, wide != 0);
        }
    }
}
