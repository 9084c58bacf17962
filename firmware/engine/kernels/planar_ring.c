#include "planar_ring.h"

void fqt_ring_load(struct fqt_ring *ring, uint32_t oy)
{
    const struct fqt_geometry *g = ring->g;
    for (uint32_t end = oy * g->stride_h + g->kernel_h; ring->loaded < end; ring->loaded++) {
        uint32_t y = ring->loaded - g->pad_top; /* wraps above the map */
        uint8_t *to = ring->planes + ring->slot * ring->pitch;
        ring->row.from = y < g->h ? ring->map + y * ring->row_bytes : NULL;
        if (ring->channels == FQT_PLANES) {
            fqt_fill_planes(to, &ring->row);
        } else {
            fqt_fill_plane(to, &ring->row);
        }
        ring->slot = ring->slot + 1u < g->kernel_h ? ring->slot + 1u : 0u;
    }
}
