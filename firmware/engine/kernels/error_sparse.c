/* Error, skipping those of the output that are zero. Also how much scratch the kernels of a layer must have. */
#include "convolution.h"

#include "patch.h"
#include "planar.h"
#include "rows.h"
#include "scatter.h"

#define PLACES 4u /* of a fused pool's window */

static uint32_t ring_rows(const struct fqt_geometry *g)
{
    return g->kernel_h + (g->pool == 2u ? g->stride_h : 0u);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t fqt_scratch_bytes(const struct fqt_geometry *g, bool gradient, bool error)
{
    uint64_t windows = 6u * (uint64_t)g->stored, starts = sizeof(int32_t) * (uint64_t)g->group_filters;
    uint64_t most = fqt_is_planar(g) ? fqt_planar_bytes(g) : windows + starts;
    most = gradient ? larger(most, windows + FQT_LIST_BYTES) : most;
    return error ? larger(most, sizeof(int32_t) * (uint64_t)ring_rows(g) * g->w * g->c) : most;
}

/* A window, and the ring's slot of the first row that it covers; input row y lies in slot y % ring_rows. */
struct target {
    struct fqt_cover cover;
    uint32_t slot;
};

/* Filters of one group whose errors at one place are not zero, up to four, which are added at once. */
struct waiting {
    uint32_t n, channel;
    struct fqt_scaled scaled;
};

struct work {
    const struct fqt_geometry *g;
    const struct fqt_error_job *job;
    struct target targets[PLACES];
    struct waiting waiting[PLACES];
};

static void add_piece(int32_t *acc, const struct fqt_scaled *scaled, uint32_t n_filters, uint32_t n, int32_t zero)
{
    if (n_filters == 1u) {
        fqt_add_scaled(acc, scaled->values[0], n, scaled->factors[0], zero);
    } else if (n_filters == 2u) {
        fqt_add_scaled_two(acc, scaled, n, zero);
    } else {
        fqt_add_scaled_four(acc, scaled, n, zero);
    }
}

static void advance(struct fqt_scaled *scaled, uint32_t n)
{
    for (uint32_t i = 0; i < FQT_SCALED; i++) {
        scaled->values[i] += n;
    }
}

/* Add the waiting filters to the rows that the window covers. */
static void flush(struct work *work, uint32_t place)
{
    const struct fqt_geometry *g = work->g;
    const struct target *target = &work->targets[place];
    const struct fqt_cover *cover = &target->cover;
    struct waiting *waiting = &work->waiting[place];
    struct fqt_scaled *scaled = &waiting->scaled;
    uint32_t columns = cover->columns.end - cover->columns.first, n = g->group_channels, n_rows = ring_rows(g);
    uint32_t slot = target->slot, pieces = n == g->c ? 1u : columns, values = n == g->c ? columns * n : n;
    for (uint32_t i = waiting->n; i < FQT_SCALED; i++) {
        scaled->values[i] = scaled->values[0];
        scaled->factors[i] = 0;
    }
    for (uint32_t row = cover->rows.first; row < cover->rows.end; row++) {
        int32_t *acc = work->job->scratch + (slot * g->w + cover->x) * g->c + waiting->channel;
        slot = slot + 1u < n_rows ? slot + 1u : 0u;
        for (uint32_t i = 0; i < pieces; i++, acc += g->c) {
            add_piece(acc, scaled, waiting->n, values, work->job->weight_zero);
            advance(scaled, values);
        }
        advance(scaled, (g->kernel_w - columns) * n);
    }
    waiting->n = 0;
}

static void add_or_wait(struct work *work, uint32_t place, uint32_t filter, int32_t e)
{
    const struct fqt_geometry *g = work->g;
    const struct fqt_cover *cover = &work->targets[place].cover;
    struct waiting *waiting = &work->waiting[place];
    uint32_t channel = g->group_filters == g->filters ? 0u : filter / g->group_filters * g->group_channels;
    if (waiting->n == FQT_SCALED || (waiting->n != 0 && waiting->channel != channel)) {
        flush(work, place);
    }
    uint32_t tap = (cover->rows.first * g->kernel_w + cover->columns.first) * g->group_channels;
    waiting->scaled.values[waiting->n] = work->job->weights + filter * g->stored + tap;
    waiting->scaled.factors[waiting->n++] = e;
    waiting->channel = channel;
}

static struct target target_of(const struct fqt_geometry *g, uint32_t oy, uint32_t ox)
{
    struct fqt_cover cover = fqt_cover_of(g, oy, ox);
    return (struct target){cover, cover.y % ring_rows(g)};
}

static bool all_zero(const uint8_t *four_errors)
{
    uint32_t word;
    memcpy(&word, __builtin_assume_aligned(four_errors, 4), sizeof word);
    return word == FQT_ERROR_ZERO * 0x01010101u;
}

/* The selected errors of one output pixel, or of one pooled pixel. */
static void scatter_pixel(struct work *work, uint32_t at, bool in_words)
{
    const struct fqt_error_job *job = work->job;
    bool pooled = work->g->pool == 2u;
    for (uint32_t i = 0; i < job->selection.n; i++) {
        if (in_words && (i & 3u) == 0 && all_zero(job->error + at + i)) {
            i += 3u;
            continue;
        }
        uint32_t f = fqt_selected(&job->selection, i);
        int32_t e = job->error[at + f] - FQT_ERROR_ZERO;
        if (e != 0) {
            add_or_wait(work, pooled ? fqt_place(job->argmax, at + f) : 0u, f, e);
        }
    }
    for (uint32_t place = 0; place < PLACES; place++) {
        if (work->waiting[place].n != 0) {
            flush(work, place);
        }
    }
}

/* Scatter the selected errors of output row oy; behind a fused pool those of rows oy and oy + 1. */
static void scatter_row(struct work *work, uint32_t oy)
{
    const struct fqt_geometry *g = work->g;
    uint32_t at = oy / g->pool * (g->out_w / g->pool) * g->filters;
    bool in_words = work->job->selection.list == NULL && (g->filters & 3u) == 0;
    for (uint32_t ox = 0; ox < g->out_w; ox += g->pool, at += g->filters) {
        for (uint32_t place = 0; place < g->pool * g->pool; place++) {
            work->targets[place] = target_of(g, oy + (place >> 1), ox + (place & 1u));
        }
        scatter_pixel(work, at, in_words);
    }
}

/* Requantize a finished row of the input map and clear its accumulators. Returns the largest |acc|, if tracking. */
static FQT_SMALL int32_t finish_row(const struct fqt_geometry *g, const struct fqt_error_job *job, int32_t *acc, uint32_t y)
{
    uint32_t n = g->w * g->c;
    const struct fqt_masked to = {job->by, job->mask, job->x + y * n, job->error_in + y * n};
    int32_t largest = fqt_finish_errors(&to, acc, n, job->tracking);
    fqt_clear(acc, n);
    return largest;
}

int32_t fqt_convolution_error(const struct fqt_geometry *g, const struct fqt_error_job *job)
{
    uint32_t n = g->w * g->c, done = 0, n_rows = ring_rows(g);
    int32_t largest = 0;
    struct work work = {.g = g, .job = job};
    fqt_clear(job->scratch, n_rows * n);
    for (uint32_t oy = 0; oy < g->out_h; oy += g->pool) {
        scatter_row(&work, oy);
        /* rows above the next window are finished; after the last window all are */
        uint32_t next = (oy + g->pool) * g->stride_h;
        uint32_t until = next > g->pad_top ? next - g->pad_top : 0u;
        until = oy + g->pool >= g->out_h || until > g->h ? g->h : until;
        for (; done < until; done++) {
            int32_t row = finish_row(g, job, job->scratch + done % n_rows * n, done);
            largest = row > largest ? row : largest;
        }
    }
    return largest;
}
