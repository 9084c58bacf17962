/* Random numbers that neither blocking nor skipping changes: each row of each layer and step has its own xorshift32
 * (Marsaglia 2003), advanced by a word a column. */
#ifndef FQT_RANDOM_H
#define FQT_RANDOM_H

#include <stdint.h>

uint32_t fqt_random_of_layer(uint32_t seed, uint32_t step, uint32_t layer);

/* State of a row's numbers, never 0. */
uint32_t fqt_random_begin(uint32_t of_layer, uint32_t row);

static inline uint32_t fqt_random_next(uint32_t *state)
{
    uint32_t word = *state;
    word ^= word << 13;
    word ^= word >> 17;
    word ^= word << 5;
    *state = word;
    return word;
}

#endif
