/* Maps that are added, and errors that pass such a sum on their way back. All maps have `n` elements. */
#ifndef FQT_ELEMENTWISE_H
#define FQT_ELEMENTWISE_H

#include "../internal.h"

/* out = clamp(zero + ((a - zero_a)*by.first + (b - zero_b)*by.second + half) >> by.shift), bounds.low, bounds.high). */
/* 0 <= low <= high <= 255, multipliers of 15 bits. */
struct fqt_sum {
    struct fqt_common_multipliers by;
    int32_t zero_a, zero_b, zero;
    struct fqt_mask bounds;
};

/* 11 cycles an element on a Cortex-M4, 32 on an M0+; with `state`, whose extremes then follow the sums, 29 and 49. */
void fqt_add_maps(uint8_t *out, const uint8_t *a, const uint8_t *b, uint32_t n, const struct fqt_sum *sum,
                  struct fqt_layer_state *state);

/* passed[i] = error[i], zero where the mask hides x[i]. `passed` may be `error`. */
void fqt_pass_errors(uint8_t *passed, const uint8_t *error, const uint8_t *x, uint32_t n, struct fqt_mask mask);

/* The same of the sum of errors a and b, by multipliers of their scales; returns the largest |a*first + b*second|. `out` may
 * be `a` or `b`. */
int32_t fqt_join_errors(uint8_t *out, const uint8_t *a, const uint8_t *b, const uint8_t *x, uint32_t n,
                        struct fqt_common_multipliers by, struct fqt_mask mask);

#endif
