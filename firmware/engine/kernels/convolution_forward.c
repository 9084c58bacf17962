#include "convolution.h"

#include "dot.h"
#include "patch.h"
#include "rows.h"

#define ROW_BLOCK 16u /* filters whose sums lie on the stack */

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

/* Fill `values` with the centred input of a window. Returns their sum. */
static int32_t gather(const struct fqt_patches *patches, const struct fqt_geometry *g, const struct window *w,
                      int16_t *values)
{
    uint8_t *bytes = (uint8_t *)values + g->stored; /* fqt_widen allows it */
    int32_t top = (int32_t)(w->oy * g->stride_h) - (int32_t)g->pad_top;
    int32_t left = (int32_t)(w->ox * g->stride_w) - (int32_t)g->pad_left;
    return fqt_widen(values, fqt_patch(patches, top, left, bytes), g->stored, patches->fill);
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

/* The filters of a group on windows w[0] and, if n_windows is 2, w[1]. */
static void multiply(const struct fqt_geometry *g, const struct fqt_forward_job *job, uint32_t first_filter,
                     const struct fqt_windows *values, const struct window w[2], uint32_t n_windows)
{
    int32_t acc0[ROW_BLOCK], acc1[ROW_BLOCK];
    uint32_t end = first_filter + g->group_filters;
    for (uint32_t f = first_filter; f < end; f += ROW_BLOCK) {
        uint32_t n = end - f < ROW_BLOCK ? end - f : ROW_BLOCK;
        const struct fqt_rows rows = {job->weights + f * g->stored, job->bias + f, job->weight_zero, g->stored, n};
        if (n_windows == 1u) {
            fqt_multiply_row(&rows, values->first, values->first_sum, acc0);
        } else {
            fqt_multiply_rows(&rows, values, acc0, acc1);
        }
        finish(job, acc0, n, &w[0], f);
        if (n_windows == 2u) { /* second: a fused pool takes the places of a window in their order */
            finish(job, acc1, n, &w[1], f);
        }
    }
}

static void forward_group(const struct fqt_geometry *g, const struct fqt_forward_job *job, uint32_t first_filter,
                          uint32_t first_channel)
{
    int16_t *values0 = job->scratch, *values1 = job->scratch + g->stored;
    const struct fqt_patches patches = {
        .map = job->x + first_channel, .h = g->h, .w = g->w, .c = g->c, .rows = g->kernel_h,
        .columns = g->kernel_w, .stored = g->stored, .fill = (uint8_t)job->x_zero, .cell = g->group_channels,
    };
    struct window w[2] = {window_at(g, 0, 0)};
    for (uint32_t left = g->out_h * g->out_w; left != 0; w[0] = next_window(g, &w[1])) {
        uint32_t n_windows = left > 1u ? 2u : 1u;
        struct fqt_windows values = {values0, values1, gather(&patches, g, &w[0], values0), 0};
        if (n_windows == 2u) {
            w[1] = next_window(g, &w[0]);
            values.second_sum = gather(&patches, g, &w[1], values1);
        }
        multiply(g, job, first_filter, &values, w, n_windows);
        left -= n_windows;
    }
}

void fqt_convolution_forward(const struct fqt_geometry *g, const struct fqt_forward_job *job)
{
    uint32_t channel = 0;
    for (uint32_t f = 0; f < g->filters; f += g->group_filters, channel += g->group_channels) {
        forward_group(g, job, f, channel);
    }
}
