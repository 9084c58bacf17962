#include "random.h"

/* MurmurHash3's finalizer. */
static uint32_t fqt_finalize(uint32_t h)
{
    h = (h ^ (h >> 16)) * 0x85EBCA6Bu;
    h = (h ^ (h >> 13)) * 0xC2B2AE35u;
    return h ^ (h >> 16);
}

uint32_t fqt_random_of_layer(uint32_t seed, uint32_t step, uint32_t layer)
{
    return fqt_finalize(fqt_finalize(seed ^ (step * 0x9E3779B9u)) ^ (layer * 0x85EBCA6Bu));
}

uint32_t fqt_random_begin(uint32_t of_layer, uint32_t row)
{
    uint32_t h = fqt_finalize(of_layer ^ (row * 0xC2B2AE35u));
    return h != 0 ? h : 1u;
}
