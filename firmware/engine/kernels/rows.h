/* What forward pass and error share: rows of uint8 weights times windows, and requantization of the sums.
 *
 * rows.c is portable, rows_dsp.c and rows_v6m.c are the variants; a window's values lie in an order of the variant's own. */
#ifndef FQT_ROWS_H
#define FQT_ROWS_H

#include "../internal.h"

/* `count` rows of n bytes each, n a multiple of 4 and not 0: sums are bias[i] + sum (w[i] - zero)(x - x_zero). */
struct fqt_rows {
    const uint8_t *weights;
    const int32_t *bias;   /* (count) */
    const int32_t *starts; /* (count), what fqt_start_rows has made of them; for two windows only */
    int32_t zero;
    uint32_t n, count;
    const uint32_t *wide;  /* NULL, or what fqt_widen_rows has made of them */
};

/* starts[i] = bias[i] (NULL: 0), less what the variant's inner loop doesn't subtract of x_zero. */
void fqt_start_rows(const struct fqt_rows *rows, int32_t x_zero, int32_t *starts);

/* One window of n values, and two side by side. Sums are of x - x_zero. */
struct fqt_window {
    const void *values;
    int32_t sum;
};

struct fqt_windows {
    const void *pair;
    int32_t first_sum, second_sum;
};

#define FQT_WINDOW_BYTES 4u /* a value of either takes so many */

/* Lay out the bytes under a window; `to` is aligned to 4, the bytes to 1. */
struct fqt_window fqt_lay_out(void *to, const uint8_t *x, uint32_t n, uint8_t x_zero);

/* As above for two windows of `rows` rows, each of n bytes, a multiple of 4, and `pitch` bytes behind the one before. */
struct fqt_area {
    uint32_t rows, n, pitch;
};

struct fqt_windows fqt_lay_out_pair(void *to, const uint8_t *first, const uint8_t *second, struct fqt_area area,
                                    uint8_t x_zero);

void fqt_multiply_row(const struct fqt_rows *rows, const struct fqt_window *window, int32_t *out);
void fqt_multiply_rows(const struct fqt_rows *rows, const struct fqt_windows *windows, int32_t *first,
                       int32_t *second);

/* out[i] = clamp(zero + (acc[i]*m + half) >> S, lowest, highest). */
struct fqt_requantization {
    struct fqt_multiplier by;
    int32_t zero, lowest, highest;
};

void fqt_requantize(const struct fqt_requantization *q, const int32_t *acc, uint32_t n, uint8_t *out);

/* The sums of both windows, requantized. */
void fqt_multiply_rows_to_bytes(const struct fqt_rows *rows, const struct fqt_windows *windows,
                                const struct fqt_requantization *q, uint8_t *first, uint8_t *second);

/* An error of each row's input: clamp(128 + (acc*m + half) >> S), or 128 where x is masked. */
struct fqt_masked {
    struct fqt_multiplier by;
    struct fqt_mask mask;
    const uint8_t *x; /* (count) */
    uint8_t *out;     /* (count) */
};

void fqt_multiply_rows_to_errors(const struct fqt_rows *rows, const struct fqt_windows *windows,
                                 const struct fqt_masked *first, const struct fqt_masked *second);

/* The DSP variant has room for rows widened beforehand, FQT_WIDE_BYTES a weight: whole fours of them, the others stay bytes. */
#define FQT_WIDENS FQT_DSP
#define FQT_WIDE_BYTES 2u
#define FQT_LEAST_WINDOWS 8u /* it pays for */
#define FQT_LEAST_WIDE 16u   /* rows at once, if not all */

void fqt_widen_rows(const struct fqt_rows *rows, uint32_t *to);

/* The same of rows of n bytes that lie as columns: four bytes of each of `count` rows, a multiple of 4, less `zero`. `to` is
 * where they lie in the first four rows. */
void fqt_widen_columns(const uint8_t *const columns[4], uint32_t count, int32_t zero, uint32_t *to, uint32_t n);

/* As above for n sums. Returns the largest |sum| that is not masked, if tracking; else 0. */
int32_t fqt_finish_errors(const struct fqt_masked *to, const int32_t *acc, uint32_t n, bool tracking);

#endif
