/* Dense error of maps: a convolution of the errors with the transposed weights. */
#include "dense.h"
#include "patch.h"
#include "rows.h"
#include "simd.h"

#define ROW_BLOCK 64u /* input channels whose sums lie on the stack */

static bool is_vector(const struct fqt_geometry *g)
{
    return g->h * g->w * g->out_h * g->out_w * g->kernel_h * g->kernel_w == 1u;
}

static uint32_t steps(uint32_t kernel, uint32_t stride, uint32_t phase)
{
    return phase < kernel ? (kernel - phase - 1u) / stride + 1u : 0u;
}

static uint32_t rounded_up(uint32_t n)
{
    return (n + 3u) & ~3u;
}

uint64_t fqt_dense_error_bytes(const struct fqt_geometry *g, uint32_t channels)
{
    if (is_vector(g)) {
        return 16u * ((uint64_t)g->filters / 2u + 1u);
    }
    uint64_t reach = (uint64_t)steps(g->kernel_h, g->stride_h, 0) * steps(g->kernel_w, g->stride_w, 0);
    uint64_t n = (reach * g->filters + 3u) & ~(uint64_t)3u;
    return 6u * n + (n + 4u) * channels;
}

static uint32_t filter_of(const struct fqt_dense_error_job *job, uint32_t i)
{
    return fqt_selected(&job->selection, i);
}

/* Inputs from `at`. */
static struct fqt_masked masked(const struct fqt_dense_error_job *job, uint32_t at)
{
    return (struct fqt_masked){job->by, job->mask, job->x + at, job->error_in + at};
}

/* Inputs whose y is `y` and x is `x` modulo the strides meet the same kernel positions: y, y + stride_h, ... of those
 * that `first_ky` begins. Their windows over the error map are rows x columns, in ascending order of output pixel,
 * which is descending order of kernel position. */
struct phase {
    uint32_t y, x;
    uint32_t first_ky, first_kx;
    uint32_t rows, columns;
    uint32_t n; /* values of a window, rounded up to 4 */
};

struct work {
    const struct fqt_geometry *g;
    const struct fqt_dense_error_job *job;
    void *windows;   /* (n) of two windows */
    uint8_t *bytes;  /* (2,n): the errors under them */
    int32_t *starts; /* (channels) */
    uint8_t *rows;   /* (channels,n): w of a channel by error row, column, filter; widened if `wide` */
    bool wide;
    uint32_t channel, n_channels;
    const uint8_t *centred; /* NULL, or the errors in the last bytes of the scratch */
    uint32_t cell;          /* errors of a pixel in a window: those selected; on a centred map zeros up to a multiple of 4 */
    struct fqt_border border;
    struct phase phase;
    struct fqt_patches patches;
};

static FQT_SMALL struct phase phase_of(const struct fqt_geometry *g, uint32_t n_filters, uint32_t y, uint32_t x)
{
    struct phase p = {.y = y, .x = x};
    p.first_ky = (y + g->pad_top) % g->stride_h;
    p.first_kx = (x + g->pad_left) % g->stride_w;
    p.rows = steps(g->kernel_h, g->stride_h, p.first_ky);
    p.columns = steps(g->kernel_w, g->stride_w, p.first_kx);
    p.n = rounded_up(p.rows * p.columns * n_filters);
    if (p.n == 0) { /* inputs between windows: one step over zeros, because the loops have at least one */
        p.rows = p.columns = 0;
        p.n = 4u;
    }
    return p;
}

#if FQT_WIDENS

/* Four values of a window in the rows of all channels: less than four channels, or little memory. */
static void put_bytes(uint8_t *to, uint32_t n, const uint8_t *const taps[4], uint32_t channels)
{
    for (uint32_t c = 0; c < channels; c++, to += n) {
        for (uint32_t i = 0; i < 4u; i++) {
            to[i] = taps[i][c];
        }
    }
}

#else

/* to[c * n] = weights[c] of `channels`. */
static inline void put_column(uint8_t *to, uint32_t n, const uint8_t *weights, uint32_t channels)
{
    uint8_t *third = to + 2u * n;
    for (; channels >= 4u; channels -= 4u, weights += 4, to += 4u * n, third += 4u * n) {
        to[0] = weights[0];
        to[n] = weights[1];
        third[0] = weights[2];
        third[n] = weights[3];
    }
    for (; channels != 0; channels--, to += n) {
        *to = *weights++;
    }
}

static void put_bytes(uint8_t *to, uint32_t n, const uint8_t *const taps[4], uint32_t channels)
{
    for (uint32_t i = 0; i < 4u; i++) {
        put_column(to + i, n, taps[i], channels);
    }
}

#endif

/* A window's values `at` to `at` + 3 are errors whose weights are `taps`, from the block's first channel on. */
static FQT_SMALL void put_taps(const struct work *work, uint32_t at, const uint8_t *const taps[4])
{
    uint32_t n = work->phase.n;
#if FQT_WIDENS
    if (work->wide) {
        fqt_widen_columns(taps, work->n_channels, work->job->weight_zero, (uint32_t *)(void *)work->rows + 2u * at, n);
        return;
    }
#endif
    put_bytes(work->rows + at, n, taps, work->n_channels);
}

static FQT_SMALL void transpose(const struct work *work)
{
    const struct fqt_geometry *g = work->g;
    const struct fqt_dense_error_job *job = work->job;
    const struct phase *p = &work->phase;
    const uint8_t *taps[4];
    uint32_t at = 0;
    for (uint32_t row = 0; row < p->rows; row++) {
        uint32_t ky = p->first_ky + (p->rows - 1u - row) * g->stride_h;
        for (uint32_t column = 0; column < p->columns; column++) {
            uint32_t kx = p->first_kx + (p->columns - 1u - column) * g->stride_w;
            const uint8_t *from = job->weights + (ky * g->kernel_w + kx) * g->c + work->channel;
            for (uint32_t i = 0; i < work->cell; i++) { /* an error of zero meets any weights */
                taps[at++ & 3u] = from + filter_of(job, i < job->selection.n ? i : 0u) * g->stored;
                if ((at & 3u) == 0) {
                    put_taps(work, at - 4u, taps);
                }
            }
        }
    }
    if (at != p->n) { /* behind the last one they meet a centred window's zeros, but must be some weights */
        for (; at != p->n; at++) {
            taps[at & 3u] = job->weights + work->channel;
        }
        put_taps(work, at - 4u, taps);
    }
}

/* An input of the phase: its first channel in the map, and the corner of the window over the errors that it meets. */
struct input {
    uint32_t y, x, at;
    struct fqt_corner corner;
};

static FQT_SMALL struct input first_input(const struct work *work)
{
    const struct fqt_geometry *g = work->g;
    const struct phase *p = &work->phase;
    return (struct input){
        .y = p->y, .x = p->x, .at = (p->y * g->w + p->x) * g->c + work->channel,
        .corner = {(int32_t)((p->y + g->pad_top - p->first_ky) / g->stride_h) - (int32_t)p->rows + 1,
                   (int32_t)((p->x + g->pad_left - p->first_kx) / g->stride_w) - (int32_t)p->columns + 1},
    };
}

/* On to the next, whose window lies a column further, or in the next row. */
static void advance(const struct work *work, struct input *input, int32_t first_left)
{
    const struct fqt_geometry *g = work->g;
    input->x += g->stride_w;
    input->at += g->stride_w * g->c;
    input->corner.left++;
    if (input->x >= g->w) {
        input->at += (g->stride_h * g->w + work->phase.x - input->x) * g->c;
        input->x = work->phase.x;
        input->y += g->stride_h;
        input->corner.left = first_left;
        input->corner.top++;
    }
}

static struct fqt_rows rows_of(const struct work *work, uint32_t first, uint32_t count)
{
    const uint8_t *rows = work->rows + first * work->phase.n * (work->wide ? FQT_WIDE_BYTES : 1u);
    return (struct fqt_rows){rows, NULL, work->starts + first, work->job->weight_zero, work->phase.n, count,
                             work->wide ? (const uint32_t *)(const void *)rows : NULL};
}

/* The channels of the block at two inputs, whose sums are kept; the second may be the first again. */
static FQT_SMALL int32_t tracked_inputs(const struct work *work, const struct fqt_windows *windows, uint32_t first,
                              uint32_t second)
{
    int32_t acc0[ROW_BLOCK], acc1[ROW_BLOCK], largest = 0;
    for (uint32_t c = 0; c < work->n_channels; c += ROW_BLOCK) {
        uint32_t n = work->n_channels - c < ROW_BLOCK ? work->n_channels - c : ROW_BLOCK;
        const struct fqt_rows rows = rows_of(work, c, n);
        const struct fqt_masked to0 = masked(work->job, first + c), to1 = masked(work->job, second + c);
        fqt_multiply_rows(&rows, windows, acc0, acc1);
        int32_t largest0 = fqt_finish_errors(&to0, acc0, n, true);
        int32_t largest1 = fqt_finish_errors(&to1, acc1, n, true);
        largest0 = largest0 > largest1 ? largest0 : largest1;
        largest = largest0 > largest ? largest0 : largest;
    }
    return largest;
}

static int32_t two_inputs(const struct work *work, const struct fqt_windows *windows, uint32_t first, uint32_t second)
{
    if (work->job->tracking) {
        return tracked_inputs(work, windows, first, second);
    }
    const struct fqt_rows rows = rows_of(work, 0, work->n_channels);
    const struct fqt_masked to0 = masked(work->job, first), to1 = masked(work->job, second);
    fqt_multiply_rows_to_errors(&rows, windows, &to0, &to1);
    return 0;
}

/* All inputs of the phase, two at a time; an odd last one is computed twice. */
static FQT_NOINLINE int32_t phase_of_inputs(const struct work *work)
{
    const struct fqt_geometry *g = work->g;
    struct input next = first_input(work);
    int32_t largest = 0, left = next.corner.left;
    if (work->phase.x >= g->w) { /* a stride longer than the map */
        return 0;
    }
    while (next.y < g->h) {
        const struct input first = next;
        struct input second = first;
        advance(work, &next, left);
        if (next.y < g->h) {
            second = next;
            advance(work, &next, left);
        }
        struct fqt_windows windows =
            fqt_window_pair(&work->patches, first.corner, second.corner, work->windows, work->bytes);
        int32_t magnitude = two_inputs(work, &windows, first.at, second.at);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

static FQT_SMALL int32_t block_of_channels(struct work *work)
{
    const struct fqt_geometry *g = work->g;
    const struct fqt_dense_error_job *job = work->job;
    int32_t largest = 0;
    for (uint32_t i = 0; i < g->stride_h * g->stride_w; i++) {
        work->phase = phase_of(g, work->cell, i / g->stride_w, i % g->stride_w);
        work->rows = job->scratch;
        work->windows = work->rows + work->n_channels * work->phase.n * (work->wide ? FQT_WIDE_BYTES : 1u);
        work->bytes = (uint8_t *)work->windows + FQT_WINDOW_BYTES * work->phase.n;
        work->starts = (int32_t *)(void *)(work->bytes + 2u * work->phase.n);
        work->patches = (struct fqt_patches){
            .map = job->error, .h = g->out_h, .w = g->out_w, .c = g->filters, .rows = work->phase.rows,
            .columns = work->phase.columns, .stored = work->phase.n, .fill = FQT_ERROR_ZERO,
            .cell = work->cell, .channels = job->selection.list, .listed = job->selection.n,
        };
        work->patches.centred = work->centred;
        work->patches.border = work->border;
        transpose(work);
        const struct fqt_rows rows = rows_of(work, 0, work->n_channels);
        fqt_start_rows(&rows, FQT_ERROR_ZERO, work->starts);
        int32_t magnitude = phase_of_inputs(work);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* How many channels come next, and whether they are widened: with enough memory for all of them, or for so many that windows
 * needn't be laid out for few channels at a time. */
static FQT_SMALL void choose_block(struct work *work)
{
    uint32_t left = work->g->c - work->channel, least = (uint32_t)fqt_dense_error_bytes(work->g, 0); /* load.c has checked it */
    uint32_t n = least / 6u, spare = work->job->scratch_bytes - least;
    uint32_t block = spare / (n + 4u) & ~1u, wide = spare / (FQT_WIDE_BYTES * n + 4u) & ~3u; /* rows go in pairs, or in fours */
    work->wide = FQT_WIDENS && left >= 4u && (wide >= FQT_LEAST_WIDE || wide >= (left & ~3u));
    if (work->wide) {
        block = wide < (left & ~3u) ? wide : left & ~3u;
    } else if (block < FQT_DENSE_ERROR_LEAST) {
        block = FQT_DENSE_ERROR_LEAST;
    }
    work->n_channels = left < block ? left : block;
}

#if FQT_WIDENS

/* The errors as a centred map, if there is room for it beside the block, which all others leave room for, too. Windows reach
 * as far above the errors as kernels go on over them, and down to those which the last row meets. */
static FQT_SMALL void centre_errors(struct work *work)
{
    const struct fqt_geometry *g = work->g;
    const struct fqt_dense_error_job *job = work->job;
    uint32_t rows = steps(g->kernel_h, g->stride_h, 0) - 1u, columns = steps(g->kernel_w, g->stride_w, 0) - 1u;
    uint32_t above = g->pad_top / g->stride_h, before = g->pad_left / g->stride_w;
    struct fqt_border b = {rows > above ? rows - above : 0u, columns > before ? columns - before : 0u, 0, 0};
    b.rows = b.top + (g->h - 1u + g->pad_top) / g->stride_h + 1u;
    b.columns = b.left + (g->w - 1u + g->pad_left) / g->stride_w + 1u;
    uint32_t cell = rounded_up(job->selection.n), bytes = FQT_CENTRED_BYTES * b.rows * b.columns * cell, n = (uint32_t)fqt_dense_error_bytes(g, 0) / 6u;
    uint32_t taken = 6u * n + (FQT_WIDE_BYTES * n + 4u) * work->n_channels, all = job->scratch_bytes & ~3u;
    if (!work->wide || rows + columns == 0 || cell > g->filters || (g->c & 3u) != 0 || taken + bytes > all) {
        return;
    }
    work->patches = (struct fqt_patches){
        .map = job->error, .h = g->out_h, .w = g->out_w, .c = g->filters, .fill = FQT_ERROR_ZERO, .cell = cell,
        .channels = job->selection.list, .listed = job->selection.n,
    };
    work->cell = cell;
    work->centred = (const uint8_t *)job->scratch + all - bytes;
    work->border = b;
    fqt_centre_map(&work->patches, b, (uint8_t *)job->scratch + all - bytes);
}

#endif

int32_t fqt_dense_error(const struct fqt_geometry *g, const struct fqt_dense_error_job *job)
{
    if (is_vector(g)) {
        return fqt_vector_error(g, job);
    }
    struct work work = {.g = g, .job = job, .cell = job->selection.n};
    int32_t largest = 0;
    for (; work.channel < g->c; work.channel += work.n_channels) {
        choose_block(&work);
#if FQT_WIDENS
        if (work.channel == 0) {
            centre_errors(&work);
        }
#endif
        int32_t magnitude = block_of_channels(&work);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}
