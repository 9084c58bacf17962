/* Layers whose groups have one input channel: depthwise convolutions, and a first layer of grey images. A channel's rows
 * are spread out as planes, with the padding in place, which serve all filters of the group; of depthwise layers four
 * channels at once, whose bytes are a word. */
#ifndef FQT_PLANAR_H
#define FQT_PLANAR_H

#include "convolution.h"
#include "dense.h"
#include "grey.h"
#include "planar_ring.h"

static inline bool fqt_is_planar(const struct fqt_geometry *g)
{
    return g->group_channels == 1u && g->kernel_h * g->kernel_w > 1u && g->kernel_h >= g->stride_h;
}

static inline bool fqt_is_grey(const struct fqt_geometry *g)
{
    return g->c == 1u && g->kernel_w == FQT_GREY_COLUMNS && g->out_w <= FQT_GREY_MOST_ERRORS;
}

/* Whether fqt_planar_gradient knows the layer; fqt_planar_error. */
static inline bool fqt_has_planar_gradient(const struct fqt_geometry *g)
{
    return fqt_is_planar(g) && (g->group_filters == 1u || fqt_is_grey(g)) && (g->filters & 3u) == 0 && g->pool == 1u;
}

static inline bool fqt_has_planar_error(const struct fqt_geometry *g)
{
    return g->group_filters == 1u && fqt_has_planar_gradient(g) && g->stride_h * g->stride_w == 1u && g->pad_top < g->kernel_h &&
           g->pad_left < g->kernel_w;
}

/* As fqt_dense_shares: 3x3 kernels of stride 1 and grey images have loops of their own. */
static inline struct fqt_shares fqt_planar_shares(const struct fqt_geometry *g)
{
    bool own = (g->kernel_h == 3u && g->kernel_w == 3u && g->stride_w == 1u) || fqt_is_grey(g);
#if FQT_ARMV6M
    return own ? (struct fqt_shares){18, 5} : (struct fqt_shares){32, 15};
#else
    return own ? (struct fqt_shares){5, 5} : (struct fqt_shares){45, 20};
#endif
}

/* Contract of fqt_convolution_forward. Scratch: KH planes for 1 or 4 channels, of W' stride_w + KW + 2 words, less one if that
 * is odd, W' being OW rounded up to 4, less 1; 4 rows of sums; a row of bytes, behind a fused pool one for each of a group's
 * filters besides; weights of the filters that the planes serve, 2 KH - 1 rows of KW + 1 halfwords or a word each, whichever is
 * more, and what their sums begin with. */
uint64_t fqt_planar_bytes(const struct fqt_geometry *g);
void fqt_planar_forward(const struct fqt_geometry *g, const struct fqt_forward_job *job);

/* Contract of fqt_dense_error. */
uint64_t fqt_planar_error_bytes(const struct fqt_geometry *g);
int32_t fqt_planar_error(const struct fqt_geometry *g, const struct fqt_dense_error_job *job);

/* Gradients as of fqt_dense_gradient of a block: the filters from first_filter on, FQT_PLANES of them. The job's selection is
 * not looked at, and its scratch_bytes only for grey images: with more than fqt_planar_gradient_bytes says, which is for one row
 * of output at a time, a band of rows is more of them, and if it is all, cells are spread out but once. */
struct fqt_planar_work {
    struct fqt_ring ring;
    struct fqt_plane_row error_row;
    uint8_t *errors;     /* FQT_PLANES planes */
    int32_t *rows;       /* (FQT_PLANES, stored) */
    int32_t *sums;       /* (FQT_PLANES) */
    uint32_t *offsets;   /* of the planes in the ring, one after the other, and again but for the last */
    const struct fqt_geometry *g;
    uint32_t *cells;     /* of grey images, instead: what a band of output rows meets, (stride_h, phase_rows) map rows */
    uint8_t *bytes;      /* a row of the map with its border */
    uint32_t pairs, band_rows, phase_rows, loaded; /* of pixels in a row; the output row that `cells` begin with */
};

uint64_t fqt_planar_gradient_bytes(const struct fqt_geometry *g);
struct fqt_planar_work fqt_begin_planar_gradient(const struct fqt_geometry *g, const struct fqt_dense_gradient_job *job);
struct fqt_dense_gradient fqt_planar_gradient(struct fqt_planar_work *work, const struct fqt_dense_gradient_job *job,
                                              uint32_t first_filter);

#endif
