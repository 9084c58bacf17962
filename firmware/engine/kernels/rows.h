/* What forward pass and error share: rows of uint8 weights times windows, and requantization of the sums. */
#ifndef FQT_ROWS_H
#define FQT_ROWS_H

#include "../internal.h"

/* Two windows of n centred int16 (in the order of dot.h), and the sum of each. */
struct fqt_windows {
    const int16_t *first, *second;
    int32_t first_sum, second_sum;
};

/* out[i] = bias[i] + sum (w[i] - zero) * window for `count` rows of n bytes each, n a multiple of 4. */
struct fqt_rows {
    const uint8_t *weights;
    const int32_t *bias;
    int32_t zero;
    uint32_t n, count;
};

/* One window. */
void fqt_multiply_row(const struct fqt_rows *rows, const int16_t *window, int32_t sum, int32_t *out);

/* Both windows. 1.2 instructions per MAC, and about 10 per sum. */
void fqt_multiply_rows(const struct fqt_rows *rows, const struct fqt_windows *windows, int32_t *first,
                       int32_t *second);

/* out[i] = clamp(zero + (acc[i]*m + half) >> S, lowest, highest). */
struct fqt_requantization {
    struct fqt_multiplier by;
    int32_t zero, lowest, highest;
};

void fqt_requantize(const struct fqt_requantization *q, const int32_t *acc, uint32_t n, uint8_t *out);

#endif
