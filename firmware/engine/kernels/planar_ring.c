#include "planar_ring.h"

/* Cells that a row of windows meets, of a number of windows rounded up to 4; even. */
static uint32_t cells_of(const struct fqt_geometry *g)
{
    uint32_t windows = (g->out_w + 3u) & ~3u;
    return ((windows - 1u) * g->stride_w + g->kernel_w + 2u) & ~1u;
}

uint64_t fqt_ring_bytes(const struct fqt_geometry *g, uint32_t channels)
{
    return (uint64_t)channels * g->kernel_h * cells_of(g) * FQT_PLANE_BYTES;
}

void *fqt_ring_clear(struct fqt_ring *ring, const struct fqt_geometry *g, void *planes, uint32_t channels, uint8_t zero,
                     bool for_windows)
{
    uint32_t cells = cells_of(g), most = cells - 1u - g->pad_left, pitch = cells * FQT_PLANE_BYTES;
    uint32_t n = channels * g->kernel_h * cells;
    ring->g = g;
    ring->planes = planes;
    ring->channels = channels;
    ring->pitch = pitch;
    ring->row_bytes = g->w * g->c;
    ring->row = (struct fqt_plane_row){NULL, g->pad_left, g->w < most ? g->w : most, g->c, cells, g->kernel_h * pitch,
                                       zero, for_windows};
    fqt_clear_planes(planes, n, zero, for_windows);
    return ring->planes + n * FQT_PLANE_BYTES;
}

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
