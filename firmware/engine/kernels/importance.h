/* How much of an error falls on each structure. */
#ifndef FQT_IMPORTANCE_H
#define FQT_IMPORTANCE_H

#include <stdint.h>

/* importance[f] = sum over windows of |e - 128|; error(windows,filters). 3 cycles an error on a Cortex-M4. */
void fqt_weigh(const uint8_t *error, uint32_t windows, uint32_t filters, uint32_t *importance);

/* A value that at least k of n reach, and fewer, or just those k, if it were larger. */
uint32_t fqt_threshold(const uint32_t *importance, uint32_t n, uint32_t k);

/* Errors of one structure times m * 2^-15, rounded half up and saturated; 0 <= m < 2^22. */
void fqt_amplify(uint8_t *error, uint32_t windows, uint32_t filters, uint32_t filter, int32_t m);

#endif
