#include "convolution.h"

#include "patch.h"

static uint32_t ring_rows(const struct fqt_geometry *g)
{
    return g->kernel_h + (g->pool == 2u ? g->stride_h : 0u);
}

uint64_t fqt_scratch_bytes(const struct fqt_geometry *g)
{
    uint64_t windows = 6u * (uint64_t)g->stored + sizeof(int32_t) * (uint64_t)g->group_filters;
    uint64_t filter = sizeof(int32_t) * (uint64_t)g->taps;
    uint64_t rows = sizeof(int32_t) * (uint64_t)ring_rows(g) * g->w * g->c;
    uint64_t most = windows > filter ? windows : filter;
    return most > rows ? most : rows;
}

/* --- weight gradient ---------------------------------------------------------------------------------- */

/* acc[i] += factor * (values[i] - zero), n values. */
static void add_scaled(int32_t *acc, const uint8_t *values, uint32_t n, int32_t factor, int32_t zero)
{
    uint32_t i = 0;
    for (; i + 4u <= n; i += 4u) {
        acc[i] += factor * (values[i] - zero);
        acc[i + 1u] += factor * (values[i + 1u] - zero);
        acc[i + 2u] += factor * (values[i + 2u] - zero);
        acc[i + 3u] += factor * (values[i + 3u] - zero);
    }
    for (; i < n; i++) {
        acc[i] += factor * (values[i] - zero);
    }
}

/* acc[i] = factor * (values[i] - zero), n values. Returns the factor. */
static int32_t set_scaled(int32_t *acc, const uint8_t *values, uint32_t n, int32_t factor, int32_t zero)
{
    if (factor == 0) {
        fqt_clear(acc, n);
        return 0;
    }
    uint32_t i = 0;
    for (; i + 4u <= n; i += 4u) {
        acc[i] = factor * (values[i] - zero);
        acc[i + 1u] = factor * (values[i + 1u] - zero);
        acc[i + 2u] = factor * (values[i + 2u] - zero);
        acc[i + 3u] = factor * (values[i + 3u] - zero);
    }
    for (; i < n; i++) {
        acc[i] = factor * (values[i] - zero);
    }
    return factor;
}

/* acc += e times the input of window (oy,ox), of the channels from `first_channel`. */
static void add_window(const struct fqt_geometry *g, const struct fqt_gradient_job *job, uint32_t oy, uint32_t ox,
                       uint32_t first_channel, int32_t e)
{
    uint32_t y = oy * g->stride_h, x = ox * g->stride_w, n = g->group_channels;
    struct fqt_span rows = fqt_clip(y, g->pad_top, g->kernel_h, g->h);
    struct fqt_span columns = fqt_clip(x, g->pad_left, g->kernel_w, g->w);
    for (uint32_t ky = rows.first; ky < rows.end; ky++) {
        const uint8_t *row = job->x + (y + ky - g->pad_top) * g->w * g->c + first_channel;
        int32_t *acc = job->acc + ky * g->kernel_w * n;
        if (n == g->c && columns.end > columns.first) {
            add_scaled(acc + columns.first * n, row + (x + columns.first - g->pad_left) * n,
                       (columns.end - columns.first) * n, e, job->x_zero);
            continue;
        }
        for (uint32_t kx = columns.first; kx < columns.end; kx++) {
            add_scaled(acc + kx * n, row + (x + kx - g->pad_left) * g->c, n, e, job->x_zero);
        }
    }
}

int32_t fqt_convolution_gradient(const struct fqt_geometry *g, const struct fqt_gradient_job *job, uint32_t filter)
{
    uint32_t first_channel = filter / g->group_filters * g->group_channels;
    uint32_t at = filter;
    int32_t sum = 0;
    if (g->h * g->w * g->out_h * g->out_w * g->kernel_h * g->kernel_w == 1u) {
        return set_scaled(job->acc, job->x + first_channel, g->taps, job->error[filter] - FQT_ERROR_ZERO, job->x_zero);
    }
    fqt_clear(job->acc, g->taps);
    for (uint32_t oy = 0; oy < g->out_h; oy += g->pool) {
        for (uint32_t ox = 0; ox < g->out_w; ox += g->pool, at += g->filters) {
            int32_t e = job->error[at] - FQT_ERROR_ZERO;
            if (e == 0) {
                continue;
            }
            uint32_t place = g->pool == 2u ? fqt_place(job->argmax, at) : 0u;
            sum += e;
            add_window(g, job, oy + (place >> 1), ox + (place & 1u), first_channel, e);
        }
    }
    return sum;
}

int32_t fqt_error_sum(const struct fqt_geometry *g, const uint8_t *error, uint32_t filter)
{
    uint32_t end = g->out_h / g->pool * (g->out_w / g->pool) * g->filters;
    int32_t sum = 0;
    for (uint32_t at = filter; at < end; at += g->filters) {
        sum += error[at] - FQT_ERROR_ZERO;
    }
    return sum;
}

/* --- error -------------------------------------------------------------------------------------------- */

/* Requantize a finished row of the input map and clear its accumulators. Returns the largest |acc|, if tracking. */
static int32_t finish_row(const struct fqt_geometry *g, const struct fqt_error_job *job, int32_t *acc, uint32_t y)
{
    uint32_t n = g->w * g->c;
    const uint8_t *x = job->x + y * n;
    uint8_t *error_in = job->error_in + y * n;
    int32_t largest = 0;
    for (uint32_t i = 0; i < n; i++) {
        int32_t value = fqt_hides(job->mask, x[i]) ? 0 : acc[i];
        if (job->tracking) {
            int32_t magnitude = value < 0 ? -value : value;
            largest = magnitude > largest ? magnitude : largest;
        }
        error_in[i] = (uint8_t)fqt_clamp(FQT_ERROR_ZERO + fqt_scale_rounded(value, job->by), 0, 255);
    }
    fqt_clear(acc, n);
    return largest;
}

/* Add e times filter f to the rows that window (oy,ox) covers; input row y lies in ring slot y % n_rows. */
static void scatter_window(const struct fqt_geometry *g, const struct fqt_error_job *job, uint32_t oy, uint32_t ox,
                           uint32_t filter, int32_t e)
{
    uint32_t y = oy * g->stride_h, x = ox * g->stride_w, n = g->group_channels, n_rows = ring_rows(g);
    struct fqt_span rows = fqt_clip(y, g->pad_top, g->kernel_h, g->h);
    struct fqt_span columns = fqt_clip(x, g->pad_left, g->kernel_w, g->w);
    if (rows.end <= rows.first || columns.end <= columns.first) {
        return;
    }
    const uint8_t *weights = job->weights + filter * g->stored;
    uint32_t channel = filter / g->group_filters * n;
    uint32_t slot = (y + rows.first - g->pad_top) % n_rows;
    for (uint32_t ky = rows.first; ky < rows.end; ky++) {
        int32_t *acc = job->scratch + slot * g->w * g->c + channel;
        const uint8_t *row = weights + ky * g->kernel_w * n;
        slot = slot + 1u < n_rows ? slot + 1u : 0u;
        if (n == g->c) {
            add_scaled(acc + (x + columns.first - g->pad_left) * n, row + columns.first * n,
                       (columns.end - columns.first) * n, e, job->weight_zero);
            continue;
        }
        for (uint32_t kx = columns.first; kx < columns.end; kx++) {
            add_scaled(acc + (x + kx - g->pad_left) * g->c, row + kx * n, n, e, job->weight_zero);
        }
    }
}

/* Scatter the selected errors of output row oy; behind a fused pool those of rows oy and oy + 1. */
static void scatter_row(const struct fqt_geometry *g, const struct fqt_error_job *job, uint32_t oy)
{
    uint32_t at = oy / g->pool * (g->out_w / g->pool) * g->filters;
    for (uint32_t ox = 0; ox < g->out_w; ox += g->pool, at += g->filters) {
        for (uint32_t i = 0; i < job->selection.n; i++) {
            uint32_t f = fqt_selected(&job->selection, i);
            int32_t e = job->error[at + f] - FQT_ERROR_ZERO;
            if (e != 0) {
                uint32_t place = g->pool == 2u ? fqt_place(job->argmax, at + f) : 0u;
                scatter_window(g, job, oy + (place >> 1), ox + (place & 1u), f, e);
            }
        }
    }
}

int32_t fqt_convolution_error(const struct fqt_geometry *g, const struct fqt_error_job *job)
{
    uint32_t n = g->w * g->c, done = 0, n_rows = ring_rows(g);
    int32_t largest = 0;
    fqt_clear(job->scratch, n_rows * n);
    for (uint32_t oy = 0; oy < g->out_h; oy += g->pool) {
        scatter_row(g, job, oy);
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
