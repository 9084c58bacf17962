/* Calls one kernel on a block of memory, on a Cortex-M or on the host: benchmarks/kernel_rig.py lays it out. */
#include "convolution.h"
#include "dense.h"
#include "fold.h"
#include "importance.h"

enum { FORWARD, GRADIENT_SPARSE, GRADIENT_DENSE, ERROR_SPARSE, ERROR_DENSE, COUNT, WEIGH, FOLD };

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
        .x_zero = r->x_zero, .weight_zero = r->weight_zero, .out = at(r, r->out), .argmax = at(r, r->argmax),
        .out_is_int32 = r->out_is_int32 != 0, .by = r->by, .out_zero = r->out_zero, .lowest = r->lowest,
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

static void gradient_dense(struct request *r)
{
    const struct fqt_dense_gradient_job job = {at(r, r->x), at(r, r->error), r->x_zero,
                                               {at(r, r->filters), r->n_filters}, at(r, r->scratch)};
    struct fqt_dense_gradient result = fqt_dense_gradient(&r->g, &job);
    r->out = (uint32_t)((const uint8_t *)result.rows - (const uint8_t *)r);
    r->sums = (uint32_t)((const uint8_t *)result.sums - (const uint8_t *)r);
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

static void error_dense(struct request *r)
{
    const struct fqt_dense_error_job job = {
        .x = at(r, r->x), .error = at(r, r->error), .weights = at(r, r->weights), .error_in = at(r, r->out),
        .weight_zero = r->weight_zero, .selection = {at(r, r->filters), r->n_filters}, .mask = r->mask, .by = r->by,
        .tracking = r->tracking != 0, .scratch = at(r, r->scratch), .scratch_bytes = r->scratch_bytes,
    };
    r->result[0] = fqt_dense_error(&r->g, &job);
}

void run(struct request *r)
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
        error_dense(r);
        break;
    case WEIGH:
        fqt_weigh(at(r, r->error), r->g.out_h * r->g.out_w, r->g.filters, at(r, r->out));
        break;
    case FOLD: /* the plane in `argmax`, n_filters sums in `bias` */
        fqt_fold(at(r, r->argmax), at(r, r->bias), r->n_filters, r->by);
        break;
    default:
        r->result[0] = (int32_t)fqt_count_errors(at(r, r->error), r->g.out_h * r->g.out_w * r->g.filters);
        break;
    }
}
