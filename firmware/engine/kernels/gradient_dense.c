#include "dense.h"
#include "patch.h"
#include "simd.h"

#define BLOCK 8u       /* output pixels at a time */
#define LIST_BYTES 64u /* on Armv6-M, a filter: two pixels, and what is beside them */

static uint64_t even(uint64_t n)
{
    return n + (n & 1u);
}

uint64_t fqt_dense_gradient_bytes(const struct fqt_geometry *g, uint32_t n_filters)
{
    uint64_t windows = (2u * BLOCK + 2u) * (uint64_t)g->stored + 6u * LIST_BYTES;
    return windows + (4u * (uint64_t)g->stored + 4u + LIST_BYTES) * even(n_filters);
}

#if !FQT_DSP

struct fqt_gradient_part fqt_dense_gradient_part(const struct fqt_geometry *g, uint32_t scratch_bytes, bool whole)
{
    uint64_t windows = fqt_dense_gradient_bytes(g, 0), filter = (fqt_dense_gradient_bytes(g, 2) - windows) / 2u;
    uint64_t n = scratch_bytes > windows ? (scratch_bytes - windows) / filter & ~1ull : 0u;
    (void)whole;
    return (struct fqt_gradient_part){n < g->filters ? (uint32_t)n : g->filters, g->kernel_h};
}

#endif

uint32_t fqt_count_errors(const uint8_t *error, uint32_t n)
{
    const uint8_t *end = error + n;
    uint32_t zeros = 0;
#if FQT_DSP
#pragma GCC unroll 4
    for (const uint8_t *words_end = error + (n & ~3u); error != words_end; error += 4) {
        zeros = fqt_count_zero_bytes(fqt_word(error) ^ 0x80808080u, zeros);
    }
#endif
#if FQT_ARMV6M
#pragma GCC unroll 4
#endif
    while (error != end) {
        zeros += *error++ == FQT_ERROR_ZERO ? 1u : 0u;
    }
    return n - zeros;
}

#if !FQT_ARMV6M && !FQT_DSP

/* Scratch: rows, sums, and the bytes under a window. */
struct work {
    const struct fqt_geometry *g;
    const struct fqt_dense_gradient_job *job;
    int32_t *rows;
    int32_t *sums;
    uint8_t *patches;
};

static struct work work_of(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    uint32_t n = (uint32_t)even(job->selection.n);
    int32_t *rows = job->scratch, *sums = rows + n * g->stored;
    return (struct work){g, job, rows, sums, (uint8_t *)(sums + n)};
}

static struct fqt_patches patches_of(const struct work *work)
{
    const struct fqt_geometry *g = work->g;
    return (struct fqt_patches){
        .map = work->job->x, .h = g->h, .w = g->w, .c = g->c, .rows = g->kernel_h, .columns = g->kernel_w,
        .stored = g->stored, .fill = (uint8_t)work->job->x_zero, .cell = g->c,
    };
}

static uint32_t filter_of(const struct fqt_dense_gradient_job *job, uint32_t i)
{
    return fqt_selected(&job->selection, i);
}

static void add_scaled(int32_t *row, const uint8_t *window, uint32_t n, int32_t e, int32_t zero)
{
    for (uint32_t tap = 0; tap < n; tap++) {
        row[tap] += e * (window[tap] - zero);
    }
}

struct fqt_dense_gradient fqt_dense_gradient(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job)
{
    const struct work work = work_of(g, job);
    const struct fqt_patches patches = patches_of(&work);
    uint32_t pixels = g->out_h * g->out_w;
    fqt_clear(work.rows, (uint32_t)even(job->selection.n) * (g->stored + 1u));
    for (uint32_t p = 0; p < pixels; p++) {
        int32_t top = (int32_t)(p / g->out_w * g->stride_h) - (int32_t)g->pad_top;
        int32_t left = (int32_t)(p % g->out_w * g->stride_w) - (int32_t)g->pad_left;
        const uint8_t *window = fqt_patch(&patches, top, left, work.patches);
        for (uint32_t i = 0; i < job->selection.n; i++) {
            int32_t e = job->error[p * g->filters + filter_of(job, i)] - FQT_ERROR_ZERO;
            work.sums[i] += e;
            if (e != 0) {
                add_scaled(work.rows + i * g->stored, window, g->stored, e, job->x_zero);
            }
        }
    }
    return (struct fqt_dense_gradient){work.rows, work.sums};
}

#endif
