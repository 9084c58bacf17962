/* Batch 1: gradients are subtracted at once from weights that have 8 bits of residual beside them.
 *
 * v = 256 w + r, clamped to -128 .. 256*255 + 127. The functions return whether that changed a weight. A step leaves w
 * alone where r doesn't overflow: bytes of steps are subtracted from r, and that costs about half of stepping v. */
#ifndef FQT_STEP_H
#define FQT_STEP_H

#include "../internal.h"
#include "outer.h"

/* v -= (acc[i]*m + half) >> S for n weights, |acc[i]| <= `largest`; weights and residual are aligned to 4. */
bool fqt_step(uint8_t *weights, int8_t *residual, const int32_t *acc, uint32_t n, struct fqt_multiplier by,
              int32_t largest);

/* The same for acc[i] = e (x[i] - z_x), one filter of a fully connected layer; `o` is for FQT_OUTER_STEP. */
bool fqt_step_outer(uint8_t *weights, int8_t *residual, const struct fqt_outer *o, int32_t e);

#endif
