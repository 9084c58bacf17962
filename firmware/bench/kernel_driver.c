/* Calls one kernel on a block of memory, on a Cortex-M or on the host: fqtbench/kernels/call.py lays it out. */
#include "cells.h"
#include "convolution.h"
#include "dense.h"
#include "elementwise.h"
#include "float32.h"
#include "fold.h"
#include "importance.h"
#include "planar.h"
#include "step.h"

#include <string.h>

enum {
    FORWARD, GRADIENT_SPARSE, GRADIENT_DENSE, ERROR_SPARSE, ERROR_DENSE, COUNT, WEIGH, FOLD, FOLD_OUTER, STEP, STEP_OUTER,
    SUM_CELLS, STEP_CELLS, ADD, GRADIENT_PLANAR, ERROR_PLANAR, FLOAT_FORWARD, FLOAT_GRADIENT, FLOAT_ERROR,
};

/* Offsets are from the request's start; 0 = absent. */
struct request {
    uint32_t kernel;
    struct fqt_geometry g;
    uint32_t x, weights, error, bias, argmax, filters, scratch, out, sums;
    uint32_t n_filters, scratch_bytes;
    int32_t x_zero, weight_zero, out_zero, lowest, highest;
    struct fqt_multiplier by;
    struct fqt_mask mask;
    uint32_t tracking, out_is_int32;
    uint32_t flags; /* of float layers: IMAGE_FLAG_ */
    int32_t result[2]; /* extremes of the accumulators, or the largest; or the count */
};

_Static_assert(sizeof(struct request) % 4u == 0, "tensors that follow are aligned");

static void *at(struct request *r, uint32_t offset)
{
    return offset != 0 ? (uint8_t *)r + offset : NULL;
}

static void forward(struct request *r)
{
    struct fqt_layer_state state = {.acc_min = INT32_MAX, .acc_max = INT32_MIN};
    const struct fqt_forward_job job = {
        .x = at(r, r->x), .weights = at(r, r->weights), .bias = at(r, r->bias), .scratch = at(r, r->scratch),
        .scratch_bytes = r->scratch_bytes, .x_zero = r->x_zero, .weight_zero = r->weight_zero, .out = at(r, r->out),
        .argmax = at(r, r->argmax), .out_is_int32 = r->out_is_int32 != 0, .by = r->by, .out_zero = r->out_zero, .lowest = r->lowest,
        .highest = r->highest, .tracked = r->tracking != 0 ? &state : NULL,
    };
    fqt_convolution_forward(&r->g, &job);
    r->result[0] = state.acc_min;
    r->result[1] = state.acc_max;
}

/* out(n_filters, stored) and sums(n_filters). */
static void gradient_sparse(struct request *r)
{
    struct fqt_selection selection = {at(r, r->filters), r->n_filters};
    int32_t *rows = at(r, r->out), *sums = at(r, r->sums);
    for (uint32_t i = 0; i < r->n_filters; i++) {
        const struct fqt_gradient_job job = {at(r, r->x), at(r, r->error), at(r, r->argmax), rows + i * r->g.stored,
                                             at(r, r->scratch), r->scratch_bytes - 4u * r->g.stored, r->x_zero};
        sums[i] = fqt_convolution_gradient(&r->g, &job, fqt_selected(&selection, i));
    }
}

static void copy_fours(int32_t *to, const int32_t *from, uint32_t n)
{
    struct four {
        int32_t values[4];
    };
    for (; n != 0; n -= 4u, to += 4, from += 4) {
        *(struct four *)(void *)to = *(const struct four *)(const void *)from;
    }
}

/* In parts, as the engine does, of whole kernels if out_is_int32. A single part's rows and sums are where the kernel left
 * them, those of more are copied to out(n_filters, stored) and sums(n_filters). */
static void gradient_dense(struct request *r)
{
    const struct fqt_gradient_part part = fqt_dense_gradient_part(&r->g, r->scratch_bytes, r->out_is_int32 != 0);
    const uint16_t *filters = at(r, r->filters);
    const uint8_t *error = at(r, r->error);
    int32_t *rows = at(r, r->out), *sums = at(r, r->sums);
    bool single = part.rows >= r->g.kernel_h && part.filters >= r->n_filters;
    for (uint32_t row = 0; row < r->g.kernel_h; row += part.rows) {
        for (uint32_t first = 0, n; first < r->n_filters; first += n) {
            n = r->n_filters - first < part.filters ? r->n_filters - first : part.filters;
            const struct fqt_dense_gradient_job job = {
                .x = at(r, r->x), .error = filters != NULL ? error : error + first, .x_zero = r->x_zero,
                .selection = {filters != NULL ? filters + first : NULL, n}, .first_row = row,
                .n_rows = r->g.kernel_h - row < part.rows ? r->g.kernel_h - row : part.rows, .scratch = at(r, r->scratch),
                .scratch_bytes = r->scratch_bytes, .again = first != 0,
            };
            struct fqt_dense_gradient result = fqt_dense_gradient(&r->g, &job);
            if (single) {
                r->out = (uint32_t)((const uint8_t *)result.rows - (const uint8_t *)r);
                r->sums = (uint32_t)((const uint8_t *)result.sums - (const uint8_t *)r);
                continue;
            }
            uint32_t stored = fqt_stored_taps(&r->g, job.n_rows);
            for (uint32_t i = 0; i < n; i++) {
                copy_fours(rows + (first + i) * r->g.stored + row * r->g.kernel_w * r->g.c, result.rows + i * stored, stored);
                sums[first + i] = result.sums[i];
            }
        }
    }
}

static void error_sparse(struct request *r)
{
    const struct fqt_error_job job = {
        .x = at(r, r->x), .error = at(r, r->error), .argmax = at(r, r->argmax), .weights = at(r, r->weights),
        .error_in = at(r, r->out), .scratch = at(r, r->scratch), .weight_zero = r->weight_zero,
        .selection = {at(r, r->filters), r->n_filters}, .mask = r->mask, .by = r->by, .tracking = r->tracking != 0,
    };
    r->result[0] = fqt_convolution_error(&r->g, &job);
}

/* out: blocks of FQT_PLANES rows (stored), and their sums behind them. */
static void gradient_planar(struct request *r)
{
    const struct fqt_dense_gradient_job job = {
        .x = at(r, r->x), .error = at(r, r->error), .x_zero = r->x_zero, .selection = {NULL, r->g.filters},
        .scratch = at(r, r->scratch), .scratch_bytes = r->scratch_bytes,
    };
    struct fqt_planar_work work = fqt_begin_planar_gradient(&r->g, &job);
    work.rows = at(r, r->out);
    for (uint32_t f = 0; f < r->g.filters; f += FQT_PLANES) {
        work.sums = work.rows + FQT_PLANES * r->g.stored;
        fqt_planar_gradient(&work, &job, f);
        work.rows = work.sums + FQT_PLANES;
    }
}

static void error_dense(struct request *r)
{
    const struct fqt_dense_error_job job = {
        .x = at(r, r->x), .error = at(r, r->error), .weights = at(r, r->weights), .error_in = at(r, r->out),
        .weight_zero = r->weight_zero, .selection = {at(r, r->filters), r->n_filters}, .mask = r->mask, .by = r->by,
        .tracking = r->tracking != 0, .scratch = at(r, r->scratch), .scratch_bytes = r->scratch_bytes,
    };
    r->result[0] = r->kernel == ERROR_PLANAR ? fqt_planar_error(&r->g, &job) : fqt_dense_error(&r->g, &job);
}

static void fold_outer(struct request *r)
{
    const uint8_t *error = at(r, r->error);
    int16_t *plane = at(r, r->argmax);
    struct fqt_outer o = fqt_outer_of(&r->g, at(r, r->x), r->x_zero, r->by, FQT_OUTER_FOLD, at(r, r->scratch));
    for (uint32_t f = 0; f < r->g.filters; f++) {
        fqt_fold_outer(plane + f * r->g.stored, &o, error[f] - FQT_ERROR_ZERO);
    }
}

/* Weights in `argmax`, filled up to a word; behind them their residuals. n_filters sums in `bias`, at most `highest`. */
static void step(struct request *r)
{
    uint8_t *weights = at(r, r->argmax);
    int8_t *residual = (int8_t *)weights + (r->n_filters + 3u) / 4u * 4u;
    r->result[0] = fqt_step(weights, residual, at(r, r->bias), r->n_filters, r->by, r->highest);
}

/* Weights in `argmax`(filters, stored), behind them their residuals. */
static void step_outer(struct request *r)
{
    const uint8_t *error = at(r, r->error);
    uint8_t *weights = at(r, r->argmax);
    int8_t *residual = (int8_t *)weights + r->g.filters * r->g.stored;
    struct fqt_outer o = fqt_outer_of(&r->g, at(r, r->x), r->x_zero, r->by, FQT_OUTER_STEP, at(r, r->scratch));
    for (uint32_t f = 0; f < r->g.filters; f++) {
        uint32_t first = f * r->g.stored;
        r->result[0] |= fqt_step_outer(weights + first, residual + first, &o, error[f] - FQT_ERROR_ZERO) ? 1 : 0;
    }
}

/* n_filters cells in `argmax`, filled up to 4, behind them their weights; `lowest` is the offset, `highest` bounds g. */
static void step_cells(struct request *r)
{
    int16_t *cells = at(r, r->argmax);
    const struct fqt_row_step row = {.by = r->by, .offset = r->lowest, .largest = r->highest};
    r->result[0] = fqt_step_cells((uint8_t *)(cells + (r->n_filters + 3u) / 4u * 4u), cells, r->n_filters, &row);
}

/* out: the sum of `x` and `weights`, whose multiplier is in `mask.low`. */
static void add(struct request *r)
{
    struct fqt_layer_state state = {.acc_min = INT32_MAX, .acc_max = INT32_MIN};
    const struct fqt_sum sum = {
        .by = {r->by.m, r->mask.low, r->by.shift}, .zero_a = r->x_zero, .zero_b = r->weight_zero,
        .zero = r->out_zero, .bounds = {r->lowest, r->highest},
    };
    fqt_add_maps(at(r, r->out), at(r, r->x), at(r, r->weights), r->n_filters, &sum, r->tracking != 0 ? &state : NULL);
    r->result[0] = state.acc_min;
    r->result[1] = state.acc_max;
}

/* Gradients (F,stored) in `argmax`, and behind them those of the biases: they go on from what they are. */
static void float_gradient(struct request *r)
{
    struct fqt_selection selection = {at(r, r->filters), r->n_filters};
    float *rows = at(r, r->argmax);
    for (uint32_t i = 0; i < r->n_filters; i++) {
        uint32_t f = fqt_selected(&selection, i);
        fqt_float_gradient(&r->g, at(r, r->x), at(r, r->error), f, rows + f * r->g.stored,
                           rows + r->g.filters * r->g.stored + f);
    }
}

static void float_error(struct request *r)
{
    struct fqt_selection selection = {at(r, r->filters), r->n_filters};
    fqt_float_error(&r->g, at(r, r->x), at(r, r->error), at(r, r->weights), selection, at(r, r->out), r->flags);
}

/* The only name that a library for the host exports. */
__attribute__((visibility("default"))) void run(struct request *r)
{
    switch (r->kernel) {
    case FORWARD:
        forward(r);
        break;
    case GRADIENT_SPARSE:
        gradient_sparse(r);
        break;
    case GRADIENT_DENSE:
        gradient_dense(r);
        break;
    case ERROR_SPARSE:
        error_sparse(r);
        break;
    case ERROR_DENSE:
    case ERROR_PLANAR:
        error_dense(r);
        break;
    case WEIGH:
        fqt_weigh(at(r, r->error), r->g.out_h * r->g.out_w, r->g.filters, at(r, r->out));
        break;
    case FOLD: /* the plane in `argmax`, n_filters sums in `bias` */
        fqt_fold(at(r, r->argmax), at(r, r->bias), r->n_filters, r->by);
        break;
    case FOLD_OUTER: /* into the plane in `argmax`(filters, stored) */
        fold_outer(r);
        break;
    case STEP:
        step(r);
        break;
    case STEP_OUTER:
        step_outer(r);
        break;
    case SUM_CELLS: { /* n_filters cells in `argmax`; result in `out` */
        struct fqt_row_sums sums = fqt_sum_cells(at(r, r->argmax), r->n_filters);
        memcpy(at(r, r->out), &sums.squares, 8);
        r->result[0] = sums.total;
        r->result[1] = sums.largest;
        break;
    }
    case STEP_CELLS:
        step_cells(r);
        break;
    case GRADIENT_PLANAR:
        gradient_planar(r);
        break;
    case ADD:
        add(r);
        break;
    case FLOAT_FORWARD:
        fqt_float_forward(&r->g, at(r, r->x), at(r, r->weights), at(r, r->bias), at(r, r->out), r->flags);
        break;
    case FLOAT_GRADIENT:
        float_gradient(r);
        break;
    case FLOAT_ERROR:
        float_error(r);
        break;
    default:
        r->result[0] = (int32_t)fqt_count_errors(at(r, r->error), r->g.out_h * r->g.out_w * r->g.filters);
        break;
    }
}
