/* What the kernels that skip zeros do for an error that is not zero, or for two of them at once: scaled bytes are added to
 * int32 sums. And where a window lies on the map. */
#ifndef FQT_SCATTER_H
#define FQT_SCATTER_H

#include "../internal.h"

/* acc[i] += factor * (values[i] - zero), n values at any address. */
void fqt_add_scaled(int32_t *acc, const uint8_t *values, uint32_t n, int32_t factor, int32_t zero);

/* acc[i] += sum of factors[k] * (values[k][i] - zero) over k < 4, n values; |factors| < 2^15. The cheaper for a count of
 * errors: fqt_add_scaled of one, this of two or more, the other factors 0. */
#define FQT_SCALED 4u

struct fqt_scaled {
    const uint8_t *values[FQT_SCALED];
    int32_t factors[FQT_SCALED];
};

void fqt_add_scaled_four(int32_t *acc, const struct fqt_scaled *scaled, uint32_t n, int32_t zero);
void fqt_add_scaled_two(int32_t *acc, const struct fqt_scaled *scaled, uint32_t n, int32_t zero);

/* Two scaled rows of bytes in a list; factors are halfwords, that of `second` above. */
struct fqt_list_entry {
    const uint8_t *first, *second;
    uint32_t factors;
};

/* acc[i] += sum over entries of both factors times their bytes at offset + i, less `less`, i < n; `entries` is not empty. */
void fqt_add_list(int32_t *acc, const struct fqt_list_entry *entries, const struct fqt_list_entry *end, uint32_t offset,
                  uint32_t n, int32_t less);

/* The kernel positions of window (oy,ox) whose input lies on the map, and the first of these inputs. */
struct fqt_cover {
    struct fqt_span rows, columns;
    uint32_t y, x;
};

static inline struct fqt_cover fqt_cover_of(const struct fqt_geometry *g, uint32_t oy, uint32_t ox)
{
    uint32_t y = oy * g->stride_h, x = ox * g->stride_w; /* of the window's corner, `pad` further */
    struct fqt_span rows = fqt_clip(y, g->pad_top, g->kernel_h, g->h);
    struct fqt_span columns = fqt_clip(x, g->pad_left, g->kernel_w, g->w);
    if (rows.end <= rows.first || columns.end <= columns.first) {
        return (struct fqt_cover){{0, 0}, {0, 0}, 0, 0};
    }
    return (struct fqt_cover){rows, columns, y + rows.first - g->pad_top, x + columns.first - g->pad_left};
}

#endif
