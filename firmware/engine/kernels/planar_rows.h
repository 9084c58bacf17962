/* What planar.c asks of a variant: planes, weights, sums of a row of windows, and what becomes of them. */
#ifndef FQT_PLANAR_ROWS_H
#define FQT_PLANAR_ROWS_H

#include "rows.h"

#define FQT_PLANE_BYTES 4u /* a cell takes at most so many */
#define FQT_PLANES 4u      /* channels side by side: the bytes of a word */

/* A row of the map as a plane, whose cells are zero points: n bytes `pitch` apart (from == NULL: zero points, too), from cell
 * `before` on. They serve windows (fqt_planar_sums) or gradients (fqt_planar_gradients). Of several channels the bytes lie
 * side by side, at a multiple of 4, and each plane `apart` bytes behind the one before; of `cells`, an even number, is at
 * least one behind the row. */
struct fqt_plane_row {
    const uint8_t *from;
    uint32_t before, n, pitch, cells, apart;
    uint8_t zero;
    bool for_windows;
};

/* Let n cells be zero points. */
void fqt_clear_planes(void *planes, uint32_t n_cells, uint8_t zero, bool for_windows);

void fqt_fill_plane(void *plane, const struct fqt_plane_row *row);
void fqt_fill_planes(void *planes, const struct fqt_plane_row *row); /* of FQT_PLANES channels */

/* The kernel's rows, one after the other, and, of variants with halfwords, again but for the last: the planes of a ring,
 * taken from its first one on, meet the rows from a later one on. They take at most 2 KH - 1 rows of KW + 1 halfwords, or a
 * word each. Weight i is weights[i * step]: a step of -1 turns the kernel around. Returns what is to be added to the bias. */
int32_t fqt_lay_out_weights(int16_t *to, const uint8_t *weights, const struct fqt_geometry *g, int32_t step, int32_t zero,
                            int32_t x_zero);

/* A row of n windows, `stride` cells apart, over `rows` planes, `pitch` bytes apart. */
struct fqt_planar_row {
    uint32_t rows, columns, stride, pitch, n;
    int32_t weight_zero;
};

/* Filters, and the planes that they meet, the first of which meets the kernel's row `first`. */
struct fqt_planar_filters {
    const uint8_t *planes, *weights; /* of fqt_lay_out_weights */
    const int32_t *starts;           /* what the sums begin with */
    uint32_t count, planes_apart, weights_apart, first;
};

/* acc(count,pitch), pitch n rounded up to 4, as many of which may be written; cells of so many windows are read. */
void fqt_planar_sums(const struct fqt_planar_row *row, const struct fqt_planar_filters *filters, int32_t *acc);

/* Sums acc(FQT_PLANES, pitch) of n pixels; bytes of a pixel lie side by side, at a multiple of 4, pixels `apart` bytes from
 * each other. */
struct fqt_planar_sums {
    const int32_t *acc;
    uint32_t pitch, n, apart;
};

void fqt_put_planes(const struct fqt_planar_sums *sums, const struct fqt_requantization *q, uint8_t *out);

/* As fqt_finish_errors. */
int32_t fqt_put_plane_errors(const struct fqt_planar_sums *sums, const struct fqt_masked *to, bool tracking);

/* acc(FQT_PLANES,acc_pitch) += sum over n windows of (e - 128) x, a kernel's (rows,columns) beside each other: errors, and
 * zeros up to a multiple of 4, in the planes `errors`; kernel row ky meets the planes x + offsets[ky]. */
struct fqt_planar_gradient {
    const uint8_t *errors, *x;
    const uint32_t *offsets;
    uint32_t rows, columns, stride, n, errors_apart, x_apart, acc_pitch;
};

/* As fqt_fill_planes, of errors; adds each plane's to sums(FQT_PLANES). */
void fqt_fill_errors(void *planes, const struct fqt_plane_row *row, int32_t *sums);
void fqt_planar_gradients(const struct fqt_planar_gradient *gradient, int32_t *acc);

#endif
