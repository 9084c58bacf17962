/* What planar.c asks of a variant: planes, weights, and sums of a row of windows. */
#ifndef FQT_PLANAR_ROWS_H
#define FQT_PLANAR_ROWS_H

#include "../internal.h"

#define FQT_PLANE_BYTES 4u /* a cell takes at most so many */

/* A row of the map as a plane: `before` zero points, n bytes `pitch` apart (from == NULL: zero points too), zero points up to
 * `cells`. */
struct fqt_plane_row {
    const uint8_t *from;
    uint32_t before, n, pitch, cells;
    uint8_t x_zero;
};

void fqt_fill_plane(void *plane, const struct fqt_plane_row *row, uint32_t stride);

/* The kernel's rows, one after the other, and again but for the last: the planes of a ring, taken from its first one on,
 * meet the rows from a later one on. */
struct fqt_planar_filter {
    const int16_t *weights; /* of fqt_lay_out_weights */
    int32_t start;          /* what the sums begin with */
};

/* Bytes of a row of weights. */
uint32_t fqt_planar_pitch(uint32_t columns);

/* Weights (rows,columns) as they are wanted; returns what is to be added to the bias. */
int32_t fqt_lay_out_weights(int16_t *to, const uint8_t *weights, uint32_t rows, uint32_t columns, int32_t zero,
                            int32_t x_zero);

/* A row of n windows, `stride` cells apart, over `rows` planes, `pitch` bytes apart. */
struct fqt_planar_row {
    const void *planes;
    uint32_t rows, columns, stride, pitch, n;
    int32_t weight_zero;
};

/* acc(n), with room for an even number; `first` is the kernel's row that the ring's first plane meets. */
void fqt_planar_sums(const struct fqt_planar_row *row, const struct fqt_planar_filter *f, uint32_t first, int32_t *acc);

#endif
