/* Random numbers that neither blocking nor skipping changes: each row of each layer and step has its own xorshift32
 * (Marsaglia 2003), advanced by a word a column. */
#ifndef FQT_RANDOM_H
#define FQT_RANDOM_H

#include <stdint.h>

/* MurmurHash3's finalizer. */
static inline uint32_t fqt_finalize(uint32_t h)
{
    h = (h ^ (h >> 16)) * 0x85EBCA6Bu;
    h = (h ^ (h >> 13)) * 0xC2B2AE35u;
    return h ^ (h >> 16);
}

static inline uint32_t fqt_random_begin(uint32_t seed, uint32_t step, uint32_t layer, uint32_t row)
{
    uint32_t h = fqt_finalize(seed ^ (step * 0x9E3779B9u));
    h = fqt_finalize(h ^ (layer * 0x85EBCA6Bu));
    h = fqt_finalize(h ^ (row * 0xC2B2AE35u));
    return h != 0 ? h : 1u;
}

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
