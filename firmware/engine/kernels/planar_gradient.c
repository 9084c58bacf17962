/* Weight gradient of depthwise layers: rows of errors over rows of the input, both as planes. */
#include "planar.h"

#include "patch.h"
#include "planar_ring.h"

static uint32_t error_cells(const struct fqt_geometry *g)
{
    return ((g->out_w + 3u) & ~3u) + 2u; /* more than the errors, and even */
}

uint64_t fqt_planar_gradient_bytes(const struct fqt_geometry *g)
{
    uint64_t cells = (uint64_t)error_cells(g) * FQT_PLANE_BYTES;
    return fqt_ring_bytes(g, FQT_PLANES) + FQT_PLANES * (cells + 4u * (uint64_t)g->stored + 4u) +
           4u * (2u * (uint64_t)g->kernel_h - 1u);
}

struct fqt_planar_work fqt_begin_planar_gradient(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    uint32_t cells = error_cells(g), n = g->kernel_h;
    struct fqt_planar_work work;
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

struct fqt_dense_gradient fqt_planar_gradient(struct fqt_planar_work *work, const struct fqt_dense_gradient_job *job,
                                              uint32_t first_filter)
{
    const struct fqt_geometry *g = work->ring.g;
    struct fqt_planar_gradient gradient = {
        .errors = work->errors, .x = work->ring.planes, .rows = g->kernel_h, .columns = g->kernel_w,
        .stride = g->stride_w, .n = g->out_w, .errors_apart = work->error_row.apart, .x_apart = work->ring.row.apart,
        .acc_pitch = g->stored,
    };
    fqt_ring_begin(&work->ring, job->x + first_filter);
    fqt_clear(work->rows, FQT_PLANES * (g->stored + 1u));
    work->error_row.from = job->error + first_filter;
    for (uint32_t oy = 0; oy < g->out_h; oy++, work->error_row.from += g->out_w * g->filters) {
        fqt_ring_load(&work->ring, oy);
        fqt_fill_errors(work->errors, &work->error_row, work->sums);
        gradient.offsets = work->offsets + work->ring.slot;
        fqt_planar_gradients(&gradient, work->rows);
    }
    for (uint32_t k = 0; k < FQT_PLANES; k++) {
        for (uint32_t tap = 0; tap < g->taps; tap++) {
            work->rows[k * g->stored + tap] -= work->sums[k] * job->x_zero;
        }
    }
    return (struct fqt_dense_gradient){work->rows, work->sums};
}
