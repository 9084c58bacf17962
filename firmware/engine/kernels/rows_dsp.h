/* What the loops over rows of the DSP variant share: rows_dsp.c, rows_wide.c. */
#ifndef FQT_ROWS_DSP_H
#define FQT_ROWS_DSP_H

#include "rows.h"

#if FQT_DSP

/* What becomes of the sums; FQT_ROW_ADDED, to what is there, of widened rows only. */
enum fqt_row_use { FQT_ROW_BYTES, FQT_ROW_SUMS, FQT_ROW_ERRORS, FQT_ROW_ADDED };

/* A loop's job, in an order that LDM can use; offsets are in the assembly. `weights`, `starts` and `first` go on with the
 * rows. Masks look at the lower bound only. */
struct fqt_row_loop {
    const void *end;             /* 0: of the windows */
    uint32_t n;                  /* 4: of a row */
    const void *weights;         /* 8 */
    uint32_t late;               /* 12: of widened rows: groups of four taps that the first round has less than four */
    const void *pair;            /* 16: the windows */
    const int32_t *starts;       /* 20 */
    void *first;                 /* 24: results of the first window */
    uint32_t second;             /* 28: how many bytes behind them those of the second lie */
    uint32_t use;                /* 32: enum fqt_row_use */
    int32_t m, zero;             /* 36, 40 */
    const void *first_end;       /* 44: of the last rows that the loop takes; there are some */
    uint32_t x;                  /* 48: how many bytes behind an error its x lies */
    uint32_t shown_from;         /* 52: x of an error that is not masked, in each byte */
    int32_t corrections[2];      /* 56, 60: of rows that are bytes */
};

/* rows_wide.c: fours of widened rows. */
void fqt_put_wide_rows(struct fqt_row_loop *loop);

#endif

#endif
