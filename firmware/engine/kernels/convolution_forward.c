#include "convolution.h"

#include "patch.h"
#include "planar.h"
#include "rows.h"

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

static struct window next_window(const struct fqt_geometry *g, const struct window *w)
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

static void keep_larger(const struct fqt_forward_job *job, uint32_t at, uint32_t place, const uint8_t *q, uint32_t n)
{
    uint8_t *out = job->out;
    for (uint32_t i = 0; i < n; i++, at++) {
        uint32_t shift = 2u * (at & 3u);
        if (place == 0 || q[i] > out[at]) {
            out[at] = q[i];
            uint8_t *word = &job->argmax[at >> 2];
            *word = (uint8_t)((*word & ~(3u << shift)) | place << shift);
        }
    }
}

/* Memory of a group: the windows' values, the bytes under two of them, and what the sums begin with. */
struct scratch {
    void *values;
    uint8_t *bytes;
    int32_t *starts;
};

static struct scratch scratch_of(const struct fqt_geometry *g, const struct fqt_forward_job *job)
{
    uint8_t *bytes = (uint8_t *)job->scratch + FQT_WINDOW_BYTES * g->stored;
    return (struct scratch){job->scratch, bytes, (int32_t *)(void *)(bytes + 2u * g->stored)};
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
                             rows->n, count};
}

static uint32_t block(uint32_t left)
{
    return left < ROW_BLOCK ? left : ROW_BLOCK;
}

/* The filters of `rows`, the first of which is `filter`, on an odd last window. */
static void one_window(const struct fqt_forward_job *job, const struct fqt_rows *rows, const struct fqt_window *values,
                       const struct window *w, uint32_t filter)
{
    int32_t acc[ROW_BLOCK];
    for (uint32_t i = 0; i < rows->count; i += ROW_BLOCK) {
        const struct fqt_rows part = part_of(rows, i, block(rows->count - i));
        fqt_multiply_row(&part, values, acc);
        finish(job, acc, part.count, w, filter + i);
    }
}

/* Two windows whose sums are kept. */
static void two_sums(const struct fqt_forward_job *job, const struct fqt_rows *rows, const struct fqt_windows *values,
                     const struct window w[2], uint32_t filter)
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
static uint32_t forward_pixels(const struct fqt_geometry *g, const struct fqt_forward_job *job, const struct fqt_rows *rows,
                               void *values)
{
    const struct fqt_area pixel = {1u, g->c, 0};
    const uint8_t *x = job->x;
    struct window w[2] = {{.at = 0}, {.at = g->filters}};
    uint32_t left = g->out_h * g->out_w;
    for (; left > 1u; left -= 2u, x += 2u * g->c, w[0].at += 2u * g->filters, w[1].at += 2u * g->filters) {
        const struct fqt_windows pair = fqt_lay_out_pair(values, x, x + g->c, pixel, (uint8_t)job->x_zero);
        two(job, rows, &pair, w, 0);
    }
    return left;
}

/* Whether every window is a pixel, of whole words. */
static bool has_pixels(const struct fqt_geometry *g)
{
    return g->kernel_h * g->kernel_w * g->stride_h * g->stride_w * g->pool == 1u && g->group_channels == g->c &&
           g->stored == g->c && g->out_h == g->h && g->out_w == g->w;
}

static void forward_group(const struct fqt_geometry *g, const struct fqt_forward_job *job, uint32_t first_filter,
                          uint32_t first_channel)
{
    const struct scratch scratch = scratch_of(g, job);
    const struct fqt_rows rows = {job->weights + first_filter * g->stored, job->bias + first_filter, scratch.starts,
                                  job->weight_zero, g->stored, g->group_filters};
    const struct fqt_patches patches = {
        .map = job->x + first_channel, .h = g->h, .w = g->w, .c = g->c, .rows = g->kernel_h,
        .columns = g->kernel_w, .stored = g->stored, .fill = (uint8_t)job->x_zero, .cell = g->group_channels,
    };
    struct window w[2] = {window_at(g, 0, 0)};
    uint32_t left = g->out_h * g->out_w;
    if (left > 1u) {
        fqt_start_rows(&rows, job->x_zero, scratch.starts);
    }
    if (has_pixels(g)) {
        left = forward_pixels(g, job, &rows, scratch.values);
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

void fqt_convolution_forward(const struct fqt_geometry *g, const struct fqt_forward_job *job)
{
    uint32_t channel = 0;
    if (fqt_is_planar(g)) {
        fqt_planar_forward(g, job);
        return;
    }
    for (uint32_t f = 0; f < g->filters; f += g->group_filters, channel += g->group_channels) {
        forward_group(g, job, f, channel);
    }
}
