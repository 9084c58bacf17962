/* A row of the plane at the end of a mini-batch: its moments, and the step of weights with 4 bits of residual in the cells. */
#ifndef FQT_CELLS_H
#define FQT_CELLS_H

#include "../internal.h"

struct fqt_row_sums {
    int32_t total;   /* sum of g */
    int64_t squares; /* sum of g^2 */
    int32_t largest; /* of |g| */
};

/* Of n cells, aligned to 4; n < 2^16. 6.2 instructions a cell on a Cortex-M4. */
struct fqt_row_sums fqt_sum_cells(const int16_t *cells, uint32_t n);

/* A row's step, (g*m + offset) >> S, 1 <= S <= 28, |offset| <= 2^28, |g| <= largest. */
struct fqt_row_step {
    struct fqt_multiplier by;
    int32_t offset, largest;
};

/* v = 16 w + r, less its step, clamped to -8 .. 16*255 + 7; g becomes 0. weights and cells are aligned to 4. Returns whether
 * a clamp changed a weight. */
bool fqt_step_cells(uint8_t *weights, int16_t *cells, uint32_t n, const struct fqt_row_step *step);

/* v = z + (v - z) * factor, rounded half up, z = 16 zero; g becomes 0. */
void fqt_shrink_cells(uint8_t *weights, int16_t *cells, uint32_t n, int32_t zero, int32_t factor_q15);

#endif
