/* Kernels that multiply every error, zero or not (but for the gradient on Armv6-M): for layers of one group, without a fused
 * pool, whose errors are mostly not zero. convolution.h has the ones that skip zeros. Sums are the same integers, bounded as
 * fqt_load has checked.
 *
 * Shapes as in convolution.h. A selection's list is ascending; filters outside it cost nothing. */
#ifndef FQT_DENSE_H
#define FQT_DENSE_H

#include "../internal.h"
#include "../variant.h"

/* How many of n errors are not zero; n bytes, any alignment. */
uint32_t fqt_count_errors(const uint8_t *error, uint32_t n);

/* Share of errors, in 1/256, from which the dense kernel is taken: about where it begins to take fewer cycles
 * (results/kernels/crossovers.csv), which depends on the core and on whether a window is more than a pixel; on Armv6-M, whose
 * dense gradient skips zeros, too, on how many filters its inputs serve. On 1x1 maps fqt_dense_error is always taken, and
 * fqt_dense_gradient has nothing to sum over. */
struct fqt_shares {
    uint32_t gradient, error;
};

static inline struct fqt_shares fqt_dense_shares(const struct fqt_geometry *g)
{
    bool pixels = g->kernel_h * g->kernel_w == 1u;
#if FQT_ARMV6M
    return (struct fqt_shares){4u, pixels ? 40u : 100u};
#else
    return pixels ? (struct fqt_shares){12, 24} : (struct fqt_shares){40, 64};
#endif
}

/* For the gradient of so many filters. */
static inline uint32_t fqt_dense_gradient_share(const struct fqt_geometry *g, struct fqt_selection selection)
{
    return fqt_dense_shares(g).gradient + (FQT_ARMV6M ? 200u / selection.n : 0u);
}

/* --- weight gradient: rows[i][tap] = sum over windows of (e - 128)(x - z_x), filter i of the selection -- */

/* What is found at once: filters, and rows of the kernel. */
struct fqt_gradient_part {
    uint32_t filters, rows;
};

struct fqt_dense_gradient_job {
    const uint8_t *x;
    const uint8_t *error;
    int32_t x_zero;
    struct fqt_selection selection;
    uint32_t first_row, n_rows; /* of the kernel */
    void *scratch;              /* aligned to 4 */
    uint32_t scratch_bytes;     /* selection and rows are no more than fqt_dense_gradient_part says of so many */
    bool again;                 /* the call before was for the same rows of other filters, and left the scratch as it is */
};

/* What it leaves in the scratch. */
struct fqt_dense_gradient {
    const int32_t *rows;    /* (selection.n, fqt_stored_taps) */
    const int32_t *sums;    /* (selection.n): of e - 128 */
};

/* Taps of n rows of the kernel, rounded up to 4. */
static inline uint32_t fqt_stored_taps(const struct fqt_geometry *g, uint32_t n_rows)
{
    return (n_rows * g->kernel_w * g->c + 3u) & ~3u;
}

/* Parts that are best in so much scratch, of whole kernels or not; no filters: it has no room for two. */
struct fqt_gradient_part fqt_dense_gradient_part(const struct fqt_geometry *g, uint32_t scratch_bytes, bool whole);

/* Callers with less scratch take parts. Bytes = 18*stored + 384 + (4*stored + 68) * n_filters rounded up to 2. */
uint64_t fqt_dense_gradient_bytes(const struct fqt_geometry *g, uint32_t n_filters);

/* docs/kernels.md has its cost. */
struct fqt_dense_gradient fqt_dense_gradient(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job);

/* --- error: error_in = clamp(128 + (acc*m + half) >> S), acc = sum (w - z_w)(e - 128), 0 where x is masked -- */

struct fqt_dense_error_job {
    const uint8_t *x;
    const uint8_t *error;
    const uint8_t *weights;
    uint8_t *error_in;
    int32_t weight_zero;
    struct fqt_selection selection;
    struct fqt_mask mask;
    struct fqt_multiplier by;
    bool tracking;
    void *scratch;
    uint32_t scratch_bytes; /* at least fqt_dense_error_bytes(g, FQT_DENSE_ERROR_LEAST) */
};

#define FQT_DENSE_ERROR_LEAST 2u /* input channels at once */

/* Scratch for `channels` input channels at once; less than C means that windows are made several times.
 * With n = F * ceil(KH/stride_h) * ceil(KW/stride_w) rounded up to 4: 6n + (n + 4) * channels; of 1x1 maps: 16 * (F/2 + 1). */
uint64_t fqt_dense_error_bytes(const struct fqt_geometry *g, uint32_t channels);

/* Returns the largest |acc| that is not masked, if tracking; else 0. On 1x1 maps it skips errors of zero. */
int32_t fqt_dense_error(const struct fqt_geometry *g, const struct fqt_dense_error_job *job);

/* error_vector.c: the same where maps and kernel are 1x1. */
int32_t fqt_vector_error(const struct fqt_geometry *g, const struct fqt_dense_error_job *job);

#endif
