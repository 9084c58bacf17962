/* Forward pass where a group has one input channel: depthwise convolutions, and a first layer of grey images. A channel's rows
 * are spread out as planes, with the padding in place, which serve all filters of the group. Contract of
 * fqt_convolution_forward; scratch of fqt_planar_bytes. */
#ifndef FQT_PLANAR_H
#define FQT_PLANAR_H

#include "convolution.h"

static inline bool fqt_is_planar(const struct fqt_geometry *g)
{
    return g->group_channels == 1u && g->kernel_h * g->kernel_w > 1u && g->kernel_h >= g->stride_h;
}

/* A ring of KH planes of W + KW + stride_w + 2 words; a row of sums; a row of bytes, behind a fused pool one for each of a
 * group's filters besides; their weights, 2 KH - 1 rows of KW + 1 halfwords, and what their sums begin with. */
uint64_t fqt_planar_bytes(const struct fqt_geometry *g);

void fqt_planar_forward(const struct fqt_geometry *g, const struct fqt_forward_job *job);

#endif
