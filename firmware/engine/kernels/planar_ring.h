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

/* Cells that a row of windows meets, of a number of windows rounded up to 4; even. */
static inline uint32_t fqt_ring_cells(const struct fqt_geometry *g)
{
    uint32_t windows = (g->out_w + 3u) & ~3u;
    return ((windows - 1u) * g->stride_w + g->kernel_w + 2u) & ~1u;
}

static inline uint64_t fqt_ring_bytes(const struct fqt_geometry *g, uint32_t channels)
{
    return (uint64_t)channels * g->kernel_h * fqt_ring_cells(g) * FQT_PLANE_BYTES;
}

/* Its planes are cleared: `zero` is the map's zero point. */
static inline struct fqt_ring fqt_ring_of(const struct fqt_geometry *g, void *planes, uint32_t channels, uint8_t zero)
{
    uint32_t cells = fqt_ring_cells(g), most = cells - 1u - g->pad_left, pitch = cells * FQT_PLANE_BYTES;
    fqt_clear_planes(planes, channels * g->kernel_h * cells, zero);
    return (struct fqt_ring){
        .g = g, .planes = planes, .channels = channels, .pitch = pitch, .row_bytes = g->w * g->c,
        .row = {NULL, g->pad_left, g->w < most ? g->w : most, g->c, cells, g->stride_w, g->kernel_h * pitch, zero},
    };
}

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
