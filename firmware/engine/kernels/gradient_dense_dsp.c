/* Dense weight gradient for the DSP extension: a product of two matrices whose sums go over pixels. A tap's row has its inputs
 * at all pixels, widened (rows_wide.c), and a pair of filters is two windows over their errors; so four taps of two filters
 * stay in registers for a whole block of pixels.
 *
 * Scratch: rows of the taps; what their sums begin with; the bytes under four windows; the errors; and the results. Rows of all
 * pixels, where they have room, serve all parts of a selection; the map with its border, where that has room besides, makes them
 * without a look at the border. */
#include "dense.h"
#include "patch.h"
#include "rows_dsp.h"
#include "simd.h"

#if FQT_DSP

#define READ_BEYOND 8u /* bytes that the loop loads behind the errors and doesn't use */

struct work {
    const struct fqt_geometry *g;
    const struct fqt_dense_gradient_job *job;
    uint8_t *bordered;      /* NULL, or the map with its border */
    uint32_t pixels, block; /* of the map, at once: the latter a multiple of 4 */
    uint32_t stored;        /* taps of the part, a multiple of 4 */
    uint32_t *taps;         /* (stored, block) */
    int32_t *zeros;         /* (stored) */
    uint8_t *patches;       /* (4, stored) */
    uint32_t *errors;       /* (block) of two filters */
    int32_t *rows, *sums;
};

static uint32_t rounded_up(uint32_t n)
{
    return (n + 3u) & ~3u;
}

static uint32_t bytes_of_block(uint32_t stored, uint32_t pixels)
{
    return (FQT_WIDE_BYTES * pixels + 8u) * stored + FQT_WINDOW_BYTES * pixels + READ_BEYOND;
}

static uint32_t bytes_of_row(uint32_t stored)
{
    return (stored + 1u) * (uint32_t)sizeof(int32_t);
}

/* Filters beside a block. */
static FQT_SMALL uint32_t filters_beside(uint32_t scratch_bytes, uint32_t stored, uint32_t block)
{
    uint32_t taken = bytes_of_block(stored, block);
    return scratch_bytes > taken ? (scratch_bytes - taken) / bytes_of_row(stored) & ~1u : 0u;
}

static uint32_t enough_filters(const struct fqt_geometry *g)
{
    return g->filters < 8u ? g->filters : 8u;
}

/* The map with the border that windows see. */
static struct fqt_patches border_of(const struct fqt_geometry *g)
{
    return (struct fqt_patches){
        .h = g->h, .w = g->w, .c = g->c, .cell = g->c, .rows = (g->out_h - 1u) * g->stride_h + g->kernel_h,
        .columns = (g->out_w - 1u) * g->stride_w + g->kernel_w,
    };
}

/* What is left of the scratch beside it: all, if windows don't leave the map, or rows of all pixels need the memory. */
static FQT_SMALL uint32_t beside_border(const struct fqt_geometry *g, uint32_t scratch_bytes)
{
    const struct fqt_patches border = border_of(g);
    uint32_t bytes = rounded_up(border.rows * border.columns * g->c), left = scratch_bytes & ~3u;
    bool needed = g->pad_top + g->pad_left != 0 || border.rows > g->h || border.columns > g->w;
    left = needed && bytes < left ? left - bytes : 0u;
    return filters_beside(left, g->stored, rounded_up(g->out_h * g->out_w)) >= enough_filters(g) ? left : scratch_bytes;
}

/* All pixels at once, if need be of fewer rows of the kernel, so that no sum goes to memory and back; and eight filters at
 * least, for which rows of taps are made. Else blocks of pixels, for at least two filters. */
FQT_SMALL struct fqt_gradient_part fqt_dense_gradient_part(const struct fqt_geometry *g, uint32_t scratch_bytes, bool whole)
{
    uint32_t enough = enough_filters(g), least = whole || (g->kernel_w * g->c & 3u) != 0 ? g->kernel_h : 1u;
    uint32_t block = rounded_up(g->out_h * g->out_w);
    struct fqt_gradient_part part = {0, g->kernel_h};
    scratch_bytes = beside_border(g, scratch_bytes);
    for (;;) {
        part.filters = filters_beside(scratch_bytes, fqt_stored_taps(g, part.rows), block);
        if (part.filters >= enough || block == 4u) {
            break;
        }
        if (part.rows > least) {
            part.rows--;
        } else {
            block = block > 16u ? 16u : 4u;
            enough = 2u;
        }
    }
    part.filters = part.filters < g->filters ? part.filters : g->filters;
    return part;
}

static uint32_t pixels_beside(uint32_t scratch_bytes, uint32_t stored, uint32_t n_filters)
{
    uint32_t left = scratch_bytes - n_filters * bytes_of_row(stored) - bytes_of_block(stored, 0);
    return left / (FQT_WIDE_BYTES * stored + FQT_WINDOW_BYTES) & ~3u;
}

static FQT_SMALL struct work work_of(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    uint32_t n = job->selection.n + (job->selection.n & 1u), pixels = g->out_h * g->out_w;
    uint32_t scratch_bytes = beside_border(g, job->scratch_bytes);
    uint32_t stored = fqt_stored_taps(g, job->n_rows), block = pixels_beside(scratch_bytes, stored, n);
    uint32_t n_blocks = (pixels + block - 1u) / block;
    block = rounded_up((pixels + n_blocks - 1u) / n_blocks);
    uint8_t *at = (uint8_t *)job->scratch + FQT_WIDE_BYTES * block * stored;
    struct work work = {.g = g, .job = job, .pixels = pixels, .block = block, .stored = stored, .taps = job->scratch};
    work.zeros = (int32_t *)(void *)at;
    work.patches = at + 4u * stored;
    work.errors = (uint32_t *)(void *)(at + 8u * stored);
    work.rows = (int32_t *)(void *)(at + 8u * stored + FQT_WINDOW_BYTES * block + READ_BEYOND);
    work.sums = work.rows + n * stored;
    work.bordered = scratch_bytes != job->scratch_bytes ? (uint8_t *)job->scratch + scratch_bytes : NULL;
    return work;
}

/* The inputs at four pixels, whose windows begin at `at`, as quarter `to` of the taps' rows. */
static FQT_SMALL void put_four(const struct work *work, const struct fqt_patches *patches, const struct fqt_corner at[4],
                               uint32_t *to)
{
    const uint8_t *windows[4];
    uint32_t n = patches->columns * patches->cell;
    bool inside = (n & 3u) == 0 && fqt_is_inside(patches, at[0]) && fqt_is_inside(patches, at[3]) &&
                  (at[0].top == at[3].top || (fqt_is_inside(patches, at[1]) && fqt_is_inside(patches, at[2])));
    uint32_t rows = inside ? patches->rows : 1u, count = inside ? n : work->stored;
    for (uint32_t i = 0; i < 4u; i++) {
        windows[i] = inside ? fqt_map_at(patches, at[i])
                            : fqt_patch(patches, at[i].top, at[i].left, work->patches + i * work->stored);
    }
    for (; rows != 0; rows--, to += 2u * work->block * count / 4u) {
        fqt_widen_columns(windows, count, work->job->x_zero, to, work->block);
        for (uint32_t i = 0; i < 4u; i++) {
            windows[i] += patches->w * patches->c;
        }
    }
}

/* The inputs at `block` pixels from p on; behind the last one that one again: its errors there are 0. */
static FQT_SMALL void put_taps(const struct work *work, uint32_t p)
{
    const struct fqt_geometry *g = work->g;
    struct fqt_patches patches = {
        .map = work->job->x, .h = g->h, .w = g->w, .c = g->c, .rows = work->job->n_rows,
        .columns = g->kernel_w, .stored = work->stored, .fill = (uint8_t)work->job->x_zero, .cell = g->c,
    };
    struct fqt_corner first = {(int32_t)work->job->first_row - (int32_t)g->pad_top, -(int32_t)g->pad_left}, at[4];
    if (work->bordered != NULL) {
        const struct fqt_patches border = border_of(g);
        patches.map = work->bordered;
        patches.h = border.rows;
        patches.w = border.columns;
        first = (struct fqt_corner){0, 0};
    }
    uint32_t oy = p / g->out_w, ox = p % g->out_w;
    for (uint32_t i = 0; i < work->block; i++) {
        at[i & 3u] = (struct fqt_corner){(int32_t)(oy * g->stride_h) + first.top, (int32_t)(ox * g->stride_w) + first.left};
        if ((i & 3u) == 3u) {
            put_four(work, &patches, at, work->taps + 2u * (i - 3u));
        }
        if (p + i + 1u < work->pixels && ++ox == g->out_w) {
            ox = 0;
            oy++;
        }
    }
}

static FQT_SMALL void put_border(const struct work *work)
{
    const struct fqt_geometry *g = work->g;
    struct fqt_patches border = border_of(g);
    border.map = work->job->x;
    border.fill = (uint8_t)work->job->x_zero;
    border.stored = border.rows * border.columns * g->c;
    fqt_patch(&border, -(int32_t)g->pad_top, -(int32_t)g->pad_left, work->bordered);
}

static uint32_t half(const uint8_t *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* The errors of two filters at n pixels, a multiple of 4, `step` bytes apart, centred; adds them to sums(2). 0: all are zero.
 * 3.5 cycles an error. */
static uint32_t centre(uint32_t *to, const uint8_t *pairs, uint32_t step, uint32_t n, int32_t *sums)
{
    uint32_t minus = fqt_minus_pair(FQT_ERROR_ZERO), any = 0, ones = FQT_PAIR_OF_ONES;
    int32_t sum0 = sums[0], sum1 = sums[1];
    for (const uint32_t *end = to + n; to != end; to += 4) {
        uint32_t even = half(pairs), odd = half(pairs + step);
        pairs += 2u * step;
        __asm__("" : "+r"(pairs)); /* or GCC keeps a pointer for each load, and not all else in registers */
        even = fqt_low_halves(even, half(pairs));
        odd = fqt_low_halves(odd, half(pairs + step));
        uint32_t a = fqt_add_even_bytes(minus, even), b = fqt_add_odd_bytes(minus, even);
        uint32_t c = fqt_add_even_bytes(minus, odd), d = fqt_add_odd_bytes(minus, odd);
        to[0] = a;
        to[1] = b;
        to[2] = c;
        to[3] = d;
        sum0 = fqt_smlad(c, ones, fqt_smlad(a, ones, sum0));
        sum1 = fqt_smlad(d, ones, fqt_smlad(b, ones, sum1));
        any |= a | b | c | d;
        pairs += 2u * step;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    return any;
}

/* Those at the block's pixels from p on; false: all are zero. Those of filters that are neighbours are read as they lie, but for
 * less than four last ones. */
static FQT_SMALL bool put_errors(const struct work *work, uint32_t p, uint32_t first, uint32_t second, int32_t *sums)
{
    uint32_t filters = work->g->filters, left = work->pixels - p, *to = work->errors, *end = to + work->block;
    const uint8_t *from = work->job->error + p * filters + first;
    uint32_t n = second != first + 1u ? 0u : (left < work->block ? left : work->block) & ~3u;
    uint32_t any = centre(to, from, filters, n, sums);
    from += n * filters;
    left -= n;
    for (to += n; to != end; to += 4) {
        uint8_t pairs[8];
        for (uint32_t k = 0; k < 8u; k += 2u, from += filters) {
            pairs[k] = left != 0 ? *from : (uint8_t)FQT_ERROR_ZERO;
            pairs[k + 1u] = left != 0 ? from[second - first] : (uint8_t)FQT_ERROR_ZERO;
            left -= left != 0 ? 1u : 0u;
        }
        any |= centre(to, pairs, 2u, 4u, sums);
    }
    return any != 0;
}

/* All filters at the pixels from p on. */
static FQT_SMALL void add_block(const struct work *work, uint32_t p)
{
    const struct fqt_selection *selection = &work->job->selection;
    uint32_t stored = work->stored;
    int32_t *rows = work->rows, *sums = work->sums;
    struct fqt_row_loop loop;
    loop.end = work->errors + work->block;
    loop.late = (0u - work->block / 4u) & 3u;
    loop.pair = work->errors;
    loop.second = stored * (uint32_t)sizeof *rows;
    loop.use = p == 0 ? FQT_ROW_SUMS : FQT_ROW_ADDED;
    for (uint32_t i = 0; i < selection->n; i += 2u, rows += 2u * stored, sums += 2) {
        uint32_t first = fqt_selected(selection, i);
        uint32_t second = i + 1u < selection->n ? fqt_selected(selection, i + 1u) : first;
        if (put_errors(work, p, first, second, sums)) {
            loop.weights = work->taps;
            loop.starts = work->zeros;
            loop.first = rows;
            loop.first_end = rows + stored;
            fqt_put_wide_rows(&loop);
        } else if (p == 0) {
            fqt_clear(rows, 2u * stored);
        }
    }
}

FQT_SMALL struct fqt_dense_gradient fqt_dense_gradient(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    const struct work work = work_of(g, job);
    uint32_t all = rounded_up(work.pixels);
    bool kept = job->again && filters_beside(job->scratch_bytes, work.stored, all) >= enough_filters(g);
    if (!kept && work.bordered != NULL) {
        put_border(&work);
    }
    fqt_clear(work.zeros, work.stored);
    fqt_clear(work.sums, job->selection.n + (job->selection.n & 1u));
    for (uint32_t p = 0; p < work.pixels; p += work.block) {
        if (!kept) {
            put_taps(&work, p);
        }
        add_block(&work, p);
    }
    return (struct fqt_dense_gradient){work.rows, work.sums};
}

#endif
