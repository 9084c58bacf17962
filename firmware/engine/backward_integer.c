/* Backward pass of uint8 layers with weights: by kernels that skip zeros, or by ones that multiply every error. */
#include "internal.h"
#include "kernels/convolution.h"
#include "kernels/dense.h"
#include "kernels/fold.h"
#include "kernels/outer.h"
#include "kernels/planar.h"
#include "kernels/step.h"

#define LARGEST_PRODUCT (128 * 255) /* of an error and an input */
#define LEAST_FILTERS 2u /* a dense gradient of fewer isn't worth its windows */

static void add_as_floats(float *plane, const int32_t *acc, uint32_t n, float unit)
{
    for (uint32_t i = 0; i < n; i++) {
        plane[i] = plane[i] + unit * (float)acc[i];
    }
}

/* What becomes of a layer's gradients: added to the mini-batch, or at batch 1 applied at once; nothing if biases alone
 * are trained. */
struct taker {
    struct fqt_net *net;
    uint32_t index;
    const struct fqt_geometry *g;
    enum { NONE, ADD_FLOATS, FOLD, STEP, STEP_OTHERWISE } way;
    float unit;
    struct fqt_multiplier by; /* of FOLD and STEP */
    int16_t *plane;           /* of FOLD */
    uint8_t *weights;         /* of STEP */
    int8_t *residual;
    bool saturated;
};

static struct taker taker_of(struct fqt_net *net, uint32_t index, const struct fqt_geometry *g, float unit)
{
    const struct image_layer *layer = &net->layers[index];
    uint8_t type = layer->plane != IMAGE_NONE ? net->tensors[layer->plane].dtype : (uint8_t)IMAGE_I8;
    struct taker taker = {.net = net, .index = index, .g = g, .way = STEP_OTHERWISE, .unit = unit};
    if ((layer->flags & IMAGE_FLAG_TRAINED) == 0) {
        taker.way = NONE;
    } else if (type == IMAGE_F32) {
        taker.way = ADD_FLOATS;
    } else if (type == IMAGE_I16) {
        taker.way = FOLD;
        taker.plane = fqt_tensor_write(net, layer->plane);
        taker.by = fqt_requantize_multiplier(unit * fqt_power_of_two(-net->layer_state[index].gradient_exponent));
    } else if (fqt_keeps_wide_residuals(net, index)) {
        taker.way = STEP;
        taker.weights = fqt_tensor_write(net, layer->weights);
        taker.residual = fqt_tensor_write(net, layer->plane);
        taker.by = fqt_step_at_once(net, index, unit);
    }
    return taker;
}

/* n of a filter's int32 gradients, from tap `first` on; all of them if taken otherwise. */
static void take_gradient(struct taker *t, uint32_t filter, const int32_t *acc, uint32_t first, uint32_t n)
{
    const struct fqt_geometry *g = t->g;
    uint32_t at = filter * g->stored + first;
    if (t->way == FOLD) {
        fqt_fold(t->plane + at, acc, n, t->by);
    } else if (t->way == STEP) {
        int32_t largest = (int32_t)(g->out_h * g->out_w) * LARGEST_PRODUCT;
        t->saturated |= fqt_step(t->weights + at, t->residual + at, acc, n, t->by, largest);
    } else if (t->way == ADD_FLOATS) {
        float *plane = fqt_tensor_write(t->net, t->net->layers[t->index].plane);
        add_as_floats(plane + at, acc, n, t->unit);
    } else {
        fqt_update_at_once(t->net, t->index, filter, acc, t->unit);
    }
}

/* Whether the dense kernels know the layer. */
static bool has_dense_kernels(const struct fqt_geometry *g)
{
    return g->pool == 1u && g->group_filters == g->filters;
}

uint32_t fqt_error_share(const struct fqt_net *net, uint32_t index, const struct fqt_geometry *g)
{
    const struct image_layer *layer = &net->layers[index];
    if (!(has_dense_kernels(g) || fqt_has_planar_gradient(g)) || layer->type == IMAGE_FULLY_CONNECTED) {
        return 0;
    }
    uint32_t n = fqt_count(&net->tensors[layer->error_out]);
    return (uint32_t)((uint64_t)fqt_count_errors(fqt_tensor_read(net, layer->error_out), n) * 256u / n);
}

static void add_bias_gradient(const struct fqt_net *net, const struct image_layer *layer, uint32_t filter, int32_t sum)
{
    float *gradient = fqt_tensor_write(net, layer->bias_step);
    gradient[filter] = gradient[filter] + net->tensor_state[layer->error_out].scale * (float)sum;
}

/* Rows of the kernel from `row` on, all filters, so many at a time as the part has. */
static void accumulate_rows(struct taker *taker, const struct image_layer *layer, struct fqt_selection selection,
                            struct fqt_gradient_part part, uint32_t row)
{
    const struct fqt_net *net = taker->net;
    const struct fqt_geometry *g = taker->g;
    const uint8_t *error = fqt_tensor_read(net, layer->error_out);
    uint32_t n_rows = g->kernel_h - row < part.rows ? g->kernel_h - row : part.rows, taps = g->kernel_w * g->c;
    for (uint32_t first = 0; first < selection.n; first += part.filters) {
        uint32_t n = selection.n - first < part.filters ? selection.n - first : part.filters;
        const struct fqt_dense_gradient_job job = {
            .x = fqt_tensor_read(net, layer->in),
            .error = selection.list == NULL ? error + first : error, /* all filters: the part begins at `first` */
            .x_zero = net->tensor_state[layer->in].zero_point,
            .selection = {selection.list == NULL ? NULL : selection.list + first, n},
            .first_row = row,
            .n_rows = n_rows,
            .scratch = fqt_tensor_write(net, layer->scratch),
            .scratch_bytes = net->tensors[layer->scratch].bytes,
            .again = first != 0,
        };
        struct fqt_dense_gradient gradient = fqt_dense_gradient(g, &job);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t f = fqt_selected(&selection, first + i);
            if (row == 0) {
                add_bias_gradient(net, layer, f, gradient.sums[i]);
            }
            take_gradient(taker, f, gradient.rows + i * fqt_stored_taps(g, n_rows), row * taps, n_rows * taps);
        }
    }
}

static void accumulate_dense(struct taker *taker, const struct image_layer *layer, struct fqt_selection selection,
                             struct fqt_gradient_part part)
{
    for (uint32_t row = 0; row < taker->g->kernel_h; row += part.rows) {
        accumulate_rows(taker, layer, selection, part, row);
    }
}

/* A depthwise layer, or one of grey images, four filters at a time. */
static void accumulate_planar(struct taker *taker, const struct image_layer *layer, struct fqt_selection selection)
{
    const struct fqt_net *net = taker->net;
    const struct fqt_geometry *g = taker->g;
    const struct fqt_dense_gradient_job job = {
        .x = fqt_tensor_read(net, layer->in),
        .error = fqt_tensor_read(net, layer->error_out),
        .x_zero = net->tensor_state[layer->in].zero_point,
        .scratch = fqt_tensor_write(net, layer->scratch),
        .scratch_bytes = net->tensors[layer->scratch].bytes,
    };
    struct fqt_planar_work work = fqt_begin_planar_gradient(g, &job);
    struct fqt_dense_gradient gradient = {NULL, NULL};
    uint32_t block = g->filters;
    for (uint32_t i = 0; i < selection.n; i++) {
        uint32_t f = fqt_selected(&selection, i), k = f % FQT_PLANES;
        if (f - k != block) {
            block = f - k;
            gradient = fqt_planar_gradient(&work, &job, block);
        }
        add_bias_gradient(net, layer, f, gradient.sums[k]);
        take_gradient(taker, f, gradient.rows + k * g->stored, 0, g->taps);
    }
}

static void accumulate_sparse(struct taker *taker, const struct image_layer *layer, struct fqt_selection selection)
{
    const struct fqt_net *net = taker->net;
    const struct fqt_geometry *g = taker->g;
    uint8_t *scratch = fqt_tensor_write(net, layer->scratch);
    const struct fqt_gradient_job job = {
        .x = fqt_tensor_read(net, layer->in),
        .error = fqt_tensor_read(net, layer->error_out),
        .argmax = g->pool == 2u ? fqt_tensor_read(net, layer->argmax) : NULL,
        .acc = (int32_t *)(void *)scratch,
        .list = scratch + 4u * g->stored,
        .list_bytes = net->tensors[layer->scratch].bytes - 4u * g->stored,
        .x_zero = net->tensor_state[layer->in].zero_point,
    };
    for (uint32_t i = 0; i < selection.n; i++) {
        uint32_t f = fqt_selected(&selection, i);
        bool biases_only = taker->way == NONE;
        int32_t sum = biases_only ? fqt_error_sum(g, job.error, f) : fqt_convolution_gradient(g, &job, f);
        add_bias_gradient(net, layer, f, sum);
        if (!biases_only) {
            take_gradient(taker, f, job.acc, 0, g->taps);
        }
    }
}

/* A fully connected layer: a filter's gradient is one error times the input, of which no sums need be stored. */
static void accumulate_outer(struct taker *taker, const struct image_layer *layer, struct fqt_selection selection)
{
    const struct fqt_net *net = taker->net;
    const uint8_t *error = fqt_tensor_read(net, layer->error_out);
    const struct fqt_outer o =
        fqt_outer_of(taker->g, fqt_tensor_read(net, layer->in), net->tensor_state[layer->in].zero_point, taker->by,
                     taker->way == FOLD ? FQT_OUTER_FOLD : FQT_OUTER_STEP, fqt_tensor_write(net, layer->scratch));
    for (uint32_t i = 0; i < selection.n; i++) {
        uint32_t f = fqt_selected(&selection, i), first = f * taker->g->stored;
        int32_t e = error[f] - FQT_ERROR_ZERO;
        add_bias_gradient(net, layer, f, e);
        if (taker->way == FOLD) {
            fqt_fold_outer(taker->plane + first, &o, e);
        } else {
            taker->saturated |= fqt_step_outer(taker->weights + first, taker->residual + first, &o, e);
        }
    }
}

static bool has_one_window(const struct fqt_geometry *g)
{
    return g->h * g->w * g->out_h * g->out_w * g->kernel_h * g->kernel_w == 1u && g->group_filters == g->filters;
}

void fqt_accumulate_integer(struct fqt_net *net, uint32_t index, const struct fqt_geometry *g,
                            struct fqt_selection selection, uint32_t error_share)
{
    const struct image_layer *layer = &net->layers[index];
    struct taker taker =
        taker_of(net, index, g, net->tensor_state[layer->error_out].scale * net->tensor_state[layer->in].scale);
    uint32_t bytes = net->tensors[layer->scratch].bytes;
    struct fqt_gradient_part part = fqt_dense_gradient_part(g, bytes, taker.way == STEP_OTHERWISE);
    if (has_one_window(g) && (taker.way == FOLD || taker.way == STEP)) {
        accumulate_outer(&taker, layer, selection);
    } else if (taker.way != NONE && fqt_has_planar_gradient(g) && error_share >= fqt_planar_shares(g).gradient &&
               bytes >= fqt_planar_gradient_bytes(g)) {
        accumulate_planar(&taker, layer, selection);
    } else if (taker.way != NONE && has_dense_kernels(g) && part.filters >= LEAST_FILTERS &&
               error_share >= fqt_dense_gradient_share(g, selection)) {
        accumulate_dense(&taker, layer, selection, part);
    } else {
        accumulate_sparse(&taker, layer, selection);
    }
    if (taker.saturated) {
        fqt_note_saturation(net, index);
    }
}

static int32_t propagate_sparse(const struct fqt_net *net, const struct image_layer *layer,
                                const struct fqt_geometry *g, struct fqt_selection selection,
                                struct fqt_multiplier by, bool tracking)
{
    const struct fqt_error_job job = {
        .x = fqt_tensor_read(net, layer->in),
        .error = fqt_tensor_read(net, layer->error_out),
        .argmax = g->pool == 2u ? fqt_tensor_read(net, layer->argmax) : NULL,
        .weights = fqt_tensor_read(net, layer->weights),
        .error_in = fqt_tensor_write(net, layer->error_in),
        .scratch = fqt_tensor_write(net, layer->scratch),
        .weight_zero = net->tensor_state[layer->weights].zero_point,
        .selection = selection,
        .mask = fqt_mask_of_input(net, layer),
        .by = by,
        .tracking = tracking,
    };
    return fqt_convolution_error(g, &job);
}

/* Whether a kernel that doesn't skip zeros is to find the error. */
static bool is_dense(const struct image_layer *layer, const struct fqt_geometry *g, uint32_t scratch_bytes,
                     uint32_t error_share)
{
    if (fqt_has_planar_error(g)) {
        return error_share >= fqt_planar_shares(g).error && scratch_bytes >= fqt_planar_error_bytes(g);
    }
    return has_dense_kernels(g) && scratch_bytes >= fqt_dense_error_bytes(g, FQT_DENSE_ERROR_LEAST) &&
           (layer->type == IMAGE_FULLY_CONNECTED || error_share >= fqt_dense_shares(g).error);
}

static int32_t propagate_dense(const struct fqt_net *net, const struct image_layer *layer,
                               const struct fqt_geometry *g, struct fqt_selection selection,
                               struct fqt_multiplier by, bool tracking, bool planar)
{
    const struct fqt_dense_error_job job = {
        .x = fqt_tensor_read(net, layer->in),
        .error = fqt_tensor_read(net, layer->error_out),
        .weights = fqt_tensor_read(net, layer->weights),
        .error_in = fqt_tensor_write(net, layer->error_in),
        .weight_zero = net->tensor_state[layer->weights].zero_point,
        .selection = selection,
        .mask = fqt_mask_of_input(net, layer),
        .by = by,
        .tracking = tracking,
        .scratch = fqt_tensor_write(net, layer->scratch),
        .scratch_bytes = net->tensors[layer->scratch].bytes,
    };
    return planar ? fqt_planar_error(g, &job) : fqt_dense_error(g, &job);
}

void fqt_propagate_integer(struct fqt_net *net, uint32_t index, const struct fqt_geometry *g,
                           struct fqt_selection selection, uint32_t error_share)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_layer_state *state = &net->layer_state[index];
    struct fqt_tensor_state *in = &net->tensor_state[layer->error_in];
    const struct fqt_tensor_state *out = &net->tensor_state[layer->error_out];
    float weight_scale = net->tensor_state[layer->weights].scale, ratio;
    bool tracking = net->tracking && net->header->error_ranges == IMAGE_ERRORS_TRACKED;
    if (net->header->error_ranges == IMAGE_ERRORS_FIXED) {
        ratio = in->scale / out->scale;
    } else {
        float least = FQT_HEADROOM * weight_scale;
        ratio = state->error_ratio > least ? state->error_ratio : least;
        in->scale = ratio * out->scale;
    }
    struct fqt_multiplier by = fqt_requantize_multiplier(weight_scale / ratio);
    bool dense = is_dense(layer, g, net->tensors[layer->scratch].bytes, error_share);
    int32_t largest = dense ? propagate_dense(net, layer, g, selection, by, tracking, fqt_has_planar_error(g))
                            : propagate_sparse(net, layer, g, selection, by, tracking);
    if (tracking && largest > 0) {
        state->error_ratio = fqt_follow(ratio, (float)largest * weight_scale / 127.0f);
    }
}
