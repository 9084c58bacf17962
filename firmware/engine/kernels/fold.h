/* A sample's gradients on their way into the mini-batch.
 *
 * A cell of the plane is 16 g + r in int16: 12 bits of gradient, 4 of residual. A sample's share is clamped to 12 bits, its
 * sum with the cell to 16: the residual of a gradient that saturates becomes the nearest to it, 0 or -1. */
#ifndef FQT_FOLD_H
#define FQT_FOLD_H

#include "../internal.h"
#include "outer.h"

/* cell = clamp16(cell + 16 clamp12((acc[i]*m + half) >> S)) for n cells; plane is aligned to 4. */
void fqt_fold(int16_t *plane, const int32_t *acc, uint32_t n, struct fqt_multiplier by);

/* The same for acc[i] = e (x[i] - z_x), one filter of a fully connected layer; `o` is for FQT_OUTER_FOLD. plane(stored)
 * is aligned to 4. */
void fqt_fold_outer(int16_t *plane, const struct fqt_outer *o, int32_t e);

#endif
