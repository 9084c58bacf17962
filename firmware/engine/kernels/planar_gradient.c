/* Weight gradient of depthwise layers: rows of errors over rows of the input, both as planes; and of grey images. */
#include "planar.h"

#include "patch.h"
#include "planar_ring.h"

/* --- grey images: a band of output rows at a time ----------------------------------------------------------------------- */

#define BORDER 4u /* zero points behind a row of the map, which stand for a row beside it */

static uint32_t border_at(const struct fqt_geometry *g)
{
    return ((g->out_w + 1u) & ~1u) * g->stride_w + FQT_GREY_COLUMNS;
}

static uint32_t phase_rows(const struct fqt_geometry *g, uint32_t band_rows)
{
    return band_rows + (g->kernel_h - 1u) / g->stride_h;
}

static FQT_SMALL uint32_t grey_bytes(const struct fqt_geometry *g, uint32_t band_rows)
{
    uint32_t cell_rows = g->stride_h * phase_rows(g, band_rows), pairs = (g->out_w + 1u) / 2u;
    uint32_t words = pairs * (cell_rows * FQT_GREY_CELL_WORDS + band_rows * FQT_GREY_ERROR_WORDS);
    return 4u * (words + FQT_GREY_ERROR_WORDS + FQT_PLANES * (g->stored + 1u)) + border_at(g) + BORDER;
}

static FQT_NOINLINE FQT_SMALL void begin_grey(struct fqt_planar_work *work, const struct fqt_geometry *g,
                                 const struct fqt_dense_gradient_job *job)
{
    uint32_t pairs = (g->out_w + 1u) / 2u, band_rows = g->out_h;
    while (grey_bytes(g, band_rows) > job->scratch_bytes) {
        band_rows--;
    }
    work->pairs = pairs;
    work->band_rows = band_rows;
    work->phase_rows = phase_rows(g, band_rows);
    work->loaded = g->out_h;
    work->rows = job->scratch;
    work->sums = work->rows + FQT_PLANES * g->stored;
    work->cells = (uint32_t *)work->sums + FQT_PLANES;
    uint32_t *errors = work->cells + g->stride_h * work->phase_rows * pairs * FQT_GREY_CELL_WORDS;
    work->errors = (uint8_t *)errors;
    work->bytes = (uint8_t *)(errors + (band_rows * pairs + 1u) * FQT_GREY_ERROR_WORDS);
    for (uint32_t i = border_at(g) + BORDER; i != 0;) {
        work->bytes[--i] = (uint8_t)job->x_zero;
#if defined(__GNUC__)
        __asm__("" : : : "memory"); /* or the loop becomes a call of memset */
#endif
    }
}

/* Cells of the band's map row i: those that the same kernel row meets lie one behind the other. */
static FQT_NOINLINE FQT_SMALL uint32_t *cells_of(const struct fqt_planar_work *work, uint32_t i)
{
    uint32_t stride = work->g->stride_h, row = i % stride * work->phase_rows + i / stride;
    return work->cells + row * work->pairs * FQT_GREY_CELL_WORDS;
}

/* What n output rows from oy on meet. */
static FQT_NOINLINE FQT_SMALL void load_cells(struct fqt_planar_work *work, const struct fqt_dense_gradient_job *job, uint32_t oy,
                                              uint32_t n)
{
    const struct fqt_geometry *g = work->g;
    uint32_t border = border_at(g), most = border - g->pad_left, w = g->w < most ? g->w : most;
    uint32_t y = oy * g->stride_h - g->pad_top; /* wraps above the map */
    uint32_t rows = (n - 1u) * g->stride_h + g->kernel_h;
    for (uint32_t i = 0; i < rows; i++, y++) {
        const uint8_t *from = work->bytes + border;
        uint32_t stride = 0;
        if (y < g->h) {
            fqt_copy(work->bytes + g->pad_left, job->x + y * g->w, w);
            from = work->bytes;
            stride = g->stride_w;
        }
        fqt_spread_cells(cells_of(work, i), from, work->pairs, stride, job->x_zero);
    }
    work->loaded = oy;
}

/* Errors of n output rows. Rows of an even number of pixels are as one. */
static FQT_NOINLINE FQT_SMALL void load_errors(const struct fqt_planar_work *work, const uint8_t *from, uint32_t n)
{
    uint32_t filters = work->g->filters, pixels = work->g->out_w, *to = (uint32_t *)(void *)work->errors;
    if ((pixels & 1u) == 0 && (!FQT_ARMV6M || n * pixels <= FQT_GREY_MOST_ERRORS)) {
        pixels *= n;
        n = 1u;
    }
    for (; n != 0; n--, from += pixels * filters) {
        to = fqt_spread_errors(to, from, pixels, filters, work->sums);
    }
    for (n = FQT_GREY_ERROR_WORDS; n != 0; n--) {
        *to++ = 0;
    }
}

static FQT_NOINLINE FQT_SMALL void add_grey(struct fqt_planar_work *work, const struct fqt_dense_gradient_job *job,
                                                         uint32_t filter)
{
    const struct fqt_geometry *g = work->g;
    for (uint32_t oy = 0, n; oy < g->out_h; oy += n) {
        n = g->out_h - oy < work->band_rows ? g->out_h - oy : work->band_rows;
        if (work->loaded != oy) {
            load_cells(work, job, oy, n);
        }
        load_errors(work, job->error + oy * g->out_w * g->filters + filter, n);
        const uint32_t *errors = (const uint32_t *)(const void *)work->errors;
        uint32_t stored = g->stored, pairs = n * work->pairs;
        int32_t *row = work->rows;
        for (uint32_t ky = 0; ky < g->kernel_h; ky++, row += FQT_GREY_COLUMNS) {
            const uint32_t *cells = cells_of(work, ky);
            fqt_add_grey(errors, cells, pairs, row, 2u * stored);
            fqt_add_grey(errors + FQT_GREY_OTHER_WORDS, cells, pairs, row + stored, 2u * stored);
        }
    }
}

/* --- depthwise layers --------------------------------------------------------------------------------------------------- */

static uint32_t error_cells(const struct fqt_geometry *g)
{
    return ((g->out_w + 3u) & ~3u) + 2u; /* more than the errors, and even */
}

FQT_SMALL uint64_t fqt_planar_gradient_bytes(const struct fqt_geometry *g)
{
    if (g->group_filters != 1u) {
        return grey_bytes(g, 1u);
    }
    uint64_t cells = (uint64_t)error_cells(g) * FQT_PLANE_BYTES;
    return fqt_ring_bytes(g, FQT_PLANES) + FQT_PLANES * (cells + 4u * (uint64_t)g->stored + 4u) +
           4u * (2u * (uint64_t)g->kernel_h - 1u);
}

FQT_SMALL struct fqt_planar_work fqt_begin_planar_gradient(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    uint32_t cells = error_cells(g), n = g->kernel_h;
    struct fqt_planar_work work;
    work.g = g;
    if (g->group_filters != 1u) {
        begin_grey(&work, g, job);
        return work;
    }
    work.errors = fqt_ring_clear(&work.ring, g, job->scratch, FQT_PLANES, (uint8_t)job->x_zero, false);
    work.error_row = (struct fqt_plane_row){NULL, 0, g->out_w, g->filters, cells, cells * FQT_PLANE_BYTES,
                                            FQT_ERROR_ZERO, false};
    work.rows = (int32_t *)(void *)(work.errors + FQT_PLANES * cells * FQT_PLANE_BYTES);
    work.sums = work.rows + FQT_PLANES * g->stored;
    work.offsets = (uint32_t *)(work.sums + FQT_PLANES);
    for (uint32_t i = 0; i < 2u * n - 1u; i++) {
        work.offsets[i] = (i < n ? i : i - n) * work.ring.pitch;
    }
    fqt_clear_planes(work.errors, FQT_PLANES * cells, 0, false);
    return work;
}

static void add_rows(struct fqt_planar_work *work, const struct fqt_dense_gradient_job *job, uint32_t first_filter)
{
    const struct fqt_geometry *g = work->g;
    struct fqt_planar_gradient gradient = {
        .errors = work->errors, .x = work->ring.planes, .rows = g->kernel_h, .columns = g->kernel_w,
        .stride = g->stride_w, .n = g->out_w, .errors_apart = work->error_row.apart, .x_apart = work->ring.row.apart,
        .acc_pitch = g->stored,
    };
    fqt_ring_begin(&work->ring, job->x + first_filter);
    work->error_row.from = job->error + first_filter;
    for (uint32_t oy = 0; oy < g->out_h; oy++, work->error_row.from += g->out_w * g->filters) {
        fqt_ring_load(&work->ring, oy);
        fqt_fill_errors(work->errors, &work->error_row, work->sums);
        gradient.offsets = work->offsets + work->ring.slot;
        fqt_planar_gradients(&gradient, work->rows);
    }
}

FQT_SMALL struct fqt_dense_gradient fqt_planar_gradient(struct fqt_planar_work *work, const struct fqt_dense_gradient_job *job,
                                              uint32_t first_filter)
{
    const struct fqt_geometry *g = work->g;
    int32_t zero = job->x_zero;
    fqt_clear(work->rows, FQT_PLANES * (g->stored + 1u));
    if (g->group_filters == 1u) {
        add_rows(work, job, first_filter);
    } else {
        add_grey(work, job, first_filter);
        zero -= FQT_GREY_CELL_ZERO(zero);
    }
    for (uint32_t k = 0; k < FQT_PLANES && zero != 0; k++) {
        for (uint32_t tap = 0; tap < g->taps; tap++) {
            work->rows[k * g->stored + tap] -= work->sums[k] * zero;
        }
    }
    return (struct fqt_dense_gradient){work->rows, work->sums};
}
