#include "fold.h"

#include "simd.h"

static int16_t folded(int16_t cell, int32_t acc, struct fqt_multiplier by)
{
    int32_t gradient = (cell >> FQT_RESIDUAL_BITS) + fqt_scale_rounded(acc, by);
    gradient = fqt_clamp(gradient, -FQT_GRADIENT_LIMIT, FQT_GRADIENT_LIMIT);
    return (int16_t)(gradient * FQT_RESIDUAL_ONE + (cell & (FQT_RESIDUAL_ONE - 1)));
}

#if FQT_DSP

#define LOW_BITS 0x000F000Fu
#define LOWEST (0x10000u - (uint32_t)FQT_GRADIENT_LIMIT)

/* Two cells of the plane. A sample's share beyond 13 bits saturates the sum in any case. */
static uint32_t folded_pair(uint32_t cells, int32_t acc0, int32_t acc1, struct fqt_multiplier by)
{
    uint32_t gradients = fqt_low_halves((uint32_t)((int32_t)(cells << 16) >> 20), (uint32_t)((int32_t)cells >> 20));
    uint32_t added = fqt_low_halves(fqt_saturate_13(fqt_scale_rounded(acc0, by)),
                                    fqt_saturate_13(fqt_scale_rounded(acc1, by)));
    gradients = fqt_larger_pairs(fqt_add_pairs_12(gradients, added), LOWEST * FQT_PAIR_OF_ONES);
    return (gradients << FQT_RESIDUAL_BITS & ~LOW_BITS) | (cells & LOW_BITS);
}

#endif

void fqt_fold(int16_t *plane, const int32_t *acc, uint32_t n, struct fqt_multiplier by)
{
    uint32_t i = 0;
#if FQT_DSP
    uint32_t *pairs = (uint32_t *)(void *)plane;
    for (; i + 4u <= n; i += 4u, pairs += 2) {
        uint32_t first = folded_pair(pairs[0], acc[i], acc[i + 1u], by);
        pairs[1] = folded_pair(pairs[1], acc[i + 2u], acc[i + 3u], by);
        pairs[0] = first;
    }
#endif
    for (; i < n; i++) {
        plane[i] = folded(plane[i], acc[i], by);
    }
}
