#include "convolution.h"

#include "dot.h"

#define PLANE_ONE FQT_RESIDUAL_ONE /* one gradient unit in a plane word */

uint64_t fqt_scratch_bytes(const struct fqt_geometry *g)
{
    uint64_t windows = 2u * sizeof(int16_t) * (uint64_t)g->stored;
    uint64_t filter = sizeof(int32_t) * (uint64_t)g->taps;
    uint64_t rows = sizeof(int32_t) * (uint64_t)g->kernel_h * g->w * g->c;
    uint64_t most = windows > filter ? windows : filter;
    return most > rows ? most : rows;
}

/* First and last+1 kernel positions whose input lies on the map. */
struct span {
    uint32_t first, end;
};

static struct span clip(uint32_t position, uint32_t pad, uint32_t kernel, uint32_t size)
{
    /* input index = position + k - pad, 0 <= index < size */
    uint32_t first = position < pad ? pad - position : 0u;
    uint32_t end = size + pad > position ? size + pad - position : 0u;
    return (struct span){first, end < kernel ? end : kernel};
}

/* --- forward ------------------------------------------------------------------------------------------ */

/* Fill `window` with the centred input of output pixel (oy,ox); padding is 0. Returns the sum of the values. */
static int32_t gather(const struct fqt_geometry *g, const struct fqt_forward_job *job, int16_t *window,
                      uint32_t oy, uint32_t ox)
{
    uint32_t y = oy * g->stride_h, x = ox * g->stride_w;
    struct span rows = clip(y, g->pad_top, g->kernel_h, g->h);
    struct span columns = clip(x, g->pad_left, g->kernel_w, g->w);
    uint32_t row_values = g->kernel_w * g->c;
    uint32_t used = (columns.end - columns.first) * g->c;
    uint32_t zero = (uint32_t)job->x_zero;
    bool whole = rows.end - rows.first == g->kernel_h && used == row_values;
    int32_t sum = 0;
    if (!whole || g->taps != g->stored) {
        memset(window, 0, g->stored * sizeof *window);
    }
    for (uint32_t ky = rows.first; ky < rows.end; ky++) {
        const uint8_t *source =
            job->x + ((y + ky - g->pad_top) * g->w + x + columns.first - g->pad_left) * g->c;
        uint32_t start = ky * row_values + columns.first * g->c;
        if (((start | used) & 3u) == 0) {
            sum += fqt_widen(window + start, source, used, zero);
            continue;
        }
        for (uint32_t i = 0; i < used; i++) {
            int32_t value = source[i] - (int32_t)zero;
            window[fqt_position(start + i)] = (int16_t)value;
            sum += value;
        }
    }
    return sum;
}

static void finish(const struct fqt_forward_job *job, int32_t acc, uint32_t at)
{
    if (job->out_is_int32) {
        ((int32_t *)job->out)[at] = acc;
        return;
    }
    if (job->tracked != NULL) {
        job->tracked->acc_min = acc < job->tracked->acc_min ? acc : job->tracked->acc_min;
        job->tracked->acc_max = acc > job->tracked->acc_max ? acc : job->tracked->acc_max;
    }
    int32_t q = job->out_zero + fqt_scale_rounded(acc, job->by);
    ((uint8_t *)job->out)[at] = (uint8_t)fqt_clamp(q, job->lowest, 255);
}

void fqt_convolution_forward(const struct fqt_geometry *g, const struct fqt_forward_job *job)
{
    int16_t *window0 = job->scratch, *window1 = job->scratch + g->stored;
    uint32_t pixels = g->out_h * g->out_w;
    for (uint32_t p = 0; p < pixels; p += 2u) {
        uint32_t q = p + 1u < pixels ? p + 1u : p; /* an odd last pixel is computed twice */
        int32_t correction0 = job->weight_zero * gather(g, job, window0, p / g->out_w, p % g->out_w);
        int32_t correction1 = job->weight_zero * gather(g, job, window1, q / g->out_w, q % g->out_w);
        for (uint32_t f = 0; f < g->filters; f += 2u) {
            uint32_t e = f + 1u < g->filters ? f + 1u : f;
            struct fqt_dots dots = fqt_dot_2x2(job->weights + f * g->stored, job->weights + e * g->stored,
                                               window0, window1, g->stored);
            finish(job, job->bias[f] + dots.a0 - correction0, p * g->filters + f);
            finish(job, job->bias[e] + dots.b0 - correction0, p * g->filters + e);
            finish(job, job->bias[f] + dots.a1 - correction1, q * g->filters + f);
            finish(job, job->bias[e] + dots.b1 - correction1, q * g->filters + e);
        }
    }
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

static void fold(int16_t *plane, const int32_t *acc, uint32_t n, struct fqt_multiplier by)
{
    for (uint32_t i = 0; i < n; i++) {
        int32_t gradient = (plane[i] >> FQT_RESIDUAL_BITS) + fqt_scale_rounded(acc[i], by);
        gradient = fqt_clamp(gradient, -FQT_GRADIENT_LIMIT, FQT_GRADIENT_LIMIT);
        plane[i] = (int16_t)(gradient * PLANE_ONE + (plane[i] & (PLANE_ONE - 1)));
    }
}

int32_t fqt_convolution_gradient(const struct fqt_geometry *g, const struct fqt_gradient_job *job, uint32_t filter)
{
    const uint8_t *error = job->error + filter;
    uint32_t row_values = g->kernel_w * g->c;
    int32_t sum = 0;
    bool any = false;
    memset(job->scratch, 0, g->taps * sizeof *job->scratch);
    for (uint32_t oy = 0; oy < g->out_h; oy++) {
        uint32_t y = oy * g->stride_h;
        struct span rows = clip(y, g->pad_top, g->kernel_h, g->h);
        for (uint32_t ox = 0; ox < g->out_w; ox++, error += g->filters) {
            int32_t e = *error - FQT_ERROR_ZERO;
            if (e == 0) {
                continue;
            }
            any = true;
            sum += e;
            uint32_t x = ox * g->stride_w;
            struct span columns = clip(x, g->pad_left, g->kernel_w, g->w);
            for (uint32_t ky = rows.first; ky < rows.end; ky++) {
                add_scaled(job->scratch + ky * row_values + columns.first * g->c,
                           job->x + ((y + ky - g->pad_top) * g->w + x + columns.first - g->pad_left) * g->c,
                           (columns.end - columns.first) * g->c, e, job->x_zero);
            }
        }
    }
    if (any) { /* an all-zero gradient folds to no change */
        fold(job->plane + filter * g->stored, job->scratch, g->taps, job->by);
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
        int32_t value = x[i] == job->masked ? 0 : acc[i];
        if (job->tracking) {
            int32_t magnitude = value < 0 ? -value : value;
            largest = magnitude > largest ? magnitude : largest;
        }
        error_in[i] = (uint8_t)fqt_clamp(FQT_ERROR_ZERO + fqt_scale_rounded(value, job->by), 0, 255);
    }
    memset(acc, 0, n * sizeof *acc);
    return largest;
}

/* Add what output row oy sends to the input rows that its windows cover; input row y lives in ring slot y % KH. */
static void scatter_row(const struct fqt_geometry *g, const struct fqt_error_job *job, uint32_t oy)
{
    uint32_t n = g->w * g->c, row_values = g->kernel_w * g->c, y = oy * g->stride_h;
    struct span rows = clip(y, g->pad_top, g->kernel_h, g->h);
    const uint8_t *error = job->error + oy * g->out_w * g->filters;
    uint32_t first_slot = (y + rows.first - g->pad_top) % g->kernel_h; /* a division takes time by its operands */
    for (uint32_t ox = 0; ox < g->out_w; ox++) {
        uint32_t x = ox * g->stride_w;
        struct span columns = clip(x, g->pad_left, g->kernel_w, g->w);
        uint32_t at = (x + columns.first - g->pad_left) * g->c;
        for (uint32_t f = 0; f < g->filters; f++, error++) {
            int32_t e = *error - FQT_ERROR_ZERO;
            if (e == 0) {
                continue;
            }
            const uint8_t *weights = job->weights + f * g->stored + columns.first * g->c;
            uint32_t slot = first_slot;
            for (uint32_t ky = rows.first; ky < rows.end; ky++) {
                add_scaled(job->scratch + slot * n + at, weights + ky * row_values,
                           (columns.end - columns.first) * g->c, e, job->weight_zero);
                slot = slot + 1u < g->kernel_h ? slot + 1u : 0u;
            }
        }
    }
}

int32_t fqt_convolution_error(const struct fqt_geometry *g, const struct fqt_error_job *job)
{
    uint32_t n = g->w * g->c, done = 0;
    int32_t largest = 0;
    memset(job->scratch, 0, g->kernel_h * n * sizeof *job->scratch);
    for (uint32_t oy = 0; oy < g->out_h; oy++) {
        scatter_row(g, job, oy);
        /* rows above the next window are finished; after the last window all are */
        uint32_t next = (oy + 1u) * g->stride_h;
        uint32_t until = next > g->pad_top ? next - g->pad_top : 0u;
        until = oy + 1u == g->out_h || until > g->h ? g->h : until;
        for (; done < until; done++) {
            int32_t row = finish_row(g, job, job->scratch + done % g->kernel_h * n, done);
            largest = row > largest ? row : largest;
        }
    }
    return largest;
}
