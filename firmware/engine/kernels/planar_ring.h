/* The rows of a map that a row of windows meets, as planes: of one channel, or of FQT_PLANES at once. */
#ifndef FQT_PLANAR_RING_H
#define FQT_PLANAR_RING_H

#include "planar_rows.h"

struct fqt_ring {
    const struct fqt_geometry *g;
    struct fqt_plane_row row;
    uint8_t *planes; /* (channels, kernel_h), `pitch` bytes each */
    uint32_t channels, pitch, row_bytes; /* of the map */
    uint32_t loaded, slot; /* map rows from -pad_top on that were loaded; where the next one goes */
    const uint8_t *map; /* from the block's first channel on */
};

uint64_t fqt_ring_bytes(const struct fqt_geometry *g, uint32_t channels);

/* Begin with planes of `channels`, for windows or gradients, and clear them: `zero` is the map's zero point. Returns what lies
 * behind them. */
void *fqt_ring_clear(struct fqt_ring *ring, const struct fqt_geometry *g, void *planes, uint32_t channels, uint8_t zero,
                     bool for_windows);

static inline void fqt_ring_begin(struct fqt_ring *ring, const uint8_t *map)
{
    ring->map = map;
    ring->loaded = ring->slot = 0;
}

/* Load what output row oy meets. */
void fqt_ring_load(struct fqt_ring *ring, uint32_t oy);

/* The kernel's row that the first plane of a channel meets: the oldest row lies in `slot`. */
static inline uint32_t fqt_ring_first(const struct fqt_ring *ring)
{
    return ring->slot == 0 ? 0u : ring->g->kernel_h - ring->slot;
}

static inline const uint8_t *fqt_ring_planes(const struct fqt_ring *ring, uint32_t channel)
{
    return ring->planes + channel * ring->row.apart;
}

#endif
