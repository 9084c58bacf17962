/* What planar_gradient.c asks of a variant for a first layer of grey images, whose one channel serves all filters. Cells are
 * spread out as the windows of a row meet them, once for all filters, and errors of four filters beside them, whose bytes are a
 * word: both are streams over all pixels of a band of rows, and sums of a kernel row stay in registers from end to end. */
#ifndef FQT_GREY_H
#define FQT_GREY_H

#include "../internal.h"
#include "../variant.h"

#define FQT_GREY_COLUMNS 3u      /* of the kernel */
#define FQT_GREY_FILTERS 4u
#define FQT_GREY_MOST_ERRORS 256u /* of a row, whose sum is half a word on Armv6-M */
#define FQT_GREY_ERROR_WORDS 4u  /* of two pixels and four filters: 0 and 2 are a pair, and 1 and 3 */

/* Two pixels' cells, and how far a pair's errors are from the other's. A word is two pixels' halfwords of a column, less x_zero,
 * or of a filter's errors; on Armv6-M a cell of the first pixel, then of the second one, and a pixel's errors of two filters.
 * There products with both lie 16 bits apart, and so do sums of two: |e| <= 128, and cells of -127 to 128 make them -32768 to
 * 32512. */
#if FQT_ARMV6M
#define FQT_GREY_CELL_WORDS 6u
#define FQT_GREY_CELL_ZERO(x_zero) 127
#define FQT_GREY_OTHER_WORDS 1u
#else
#define FQT_GREY_CELL_WORDS 3u
#define FQT_GREY_CELL_ZERO(x_zero) (x_zero)
#define FQT_GREY_OTHER_WORDS 2u
#endif

/* Cells of n pairs of pixels, `stride` bytes of x apart, the first of which meets x[0], x[1], x[2]; of each x[3] is read, too. */
void fqt_spread_cells(uint32_t *to, const uint8_t *x, uint32_t n, uint32_t stride, int32_t x_zero);

/* Errors of n pixels, `pitch` bytes apart, of four filters, at a multiple of 4; a last odd one has a zero beside it. Adds them
 * to sums(4). Returns what lies behind them. On Armv6-M n is at most FQT_GREY_MOST_ERRORS. */
uint32_t *fqt_spread_errors(uint32_t *to, const uint8_t *errors, uint32_t n, uint32_t pitch, int32_t *sums);

/* row[column] += sum over n pairs of pixels of errors times cells, and row[apart + column] of the pair's other filter. An odd
 * pair has one of zeros behind it, which may meet any cells. */
void fqt_add_grey(const uint32_t *errors, const uint32_t *cells, uint32_t n, int32_t *row, uint32_t apart);

#endif
