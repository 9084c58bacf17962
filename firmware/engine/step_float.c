/* Steps from float32 gradients, of float32 weights or of uint8 ones whose range may be found anew (recipe `paper`). */
#include "internal.h"
#include "random.h"

#define SMALLEST 0x1p-60f
#define WEIGHT_GROWTH 1.125f

struct moments {
    float mean, sigma;
};

/* Mean and standard deviation of a row, sums in index order; the deviation is at least 2^-60. */
static struct moments moments_of(const float *g, uint32_t n)
{
    struct moments m = {0.0f, 0.0f};
    float squares = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        m.mean = m.mean + g[i];
    }
    m.mean = m.mean / (float)n;
    for (uint32_t i = 0; i < n; i++) {
        float distance = g[i] - m.mean;
        squares = squares + distance * distance;
    }
    m.sigma = fqt_sqrt(squares / (float)n);
    m.sigma = m.sigma > SMALLEST ? m.sigma : SMALLEST;
    return m;
}

static bool any_nonzero(const float *g, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (g[i] != 0.0f) {
            return true;
        }
    }
    return false;
}

/* The gradients g of a row become its steps. */
static void make_steps(const struct fqt_net *net, const struct image_layer *layer, uint32_t row, float rate,
                       float factor, float *g, uint32_t n)
{
    const float *bias_gradient = fqt_tensor_read(net, layer->bias_step);
    bool standardized = net->header->normalization == IMAGE_STANDARDIZE;
    struct moments m = {0.0f, 1.0f};
    if (standardized) {
        m = moments_of(g, n);
        factor = rate / m.sigma;
        fqt_step_bias(net, layer, row, fqt_standardized_bias(bias_gradient[row], m.sigma, rate));
    }
    float *velocity = layer->velocity != IMAGE_NONE ? fqt_tensor_write(net, layer->velocity) : NULL;
    if (!any_nonzero(g, n)) {
        return; /* pruned in all samples: it keeps its velocity */
    }
    for (uint32_t i = 0; i < n; i++) {
        float step = standardized ? (g[i] - m.mean) * factor : g[i] * factor;
        if (velocity != NULL) {
            float *v = velocity + row * net->tensors[layer->weights].c + i;
            *v = net->header->momentum * *v + step;
            step = *v;
        }
        g[i] = step;
    }
}

/* Scale and zero point for weights within [low, high], as the mode says. */
static void find_range(const struct fqt_net *net, struct fqt_tensor_state *state, float low, float high)
{
    if (net->header->weight_ranges == IMAGE_WEIGHTS_DYNAMIC) {
        fqt_take_range(state, low, high, SMALLEST);
    } else if (net->header->weight_ranges == IMAGE_WEIGHTS_GROW) {
        float zero = (float)state->zero_point;
        if (low / state->scale + zero < -0.5f || high / state->scale + zero > 255.5f) {
            state->scale = state->scale * WEIGHT_GROWTH;
        }
    }
}

/* The steps of all rows become new real weights; returns their range. */
static struct fqt_tensor_state real_weights(const struct fqt_geometry *g, const uint8_t *weights, float *steps,
                                            const struct fqt_tensor_state *state)
{
    struct fqt_tensor_state range = {0.0f, 0, 0.0f, 0.0f};
    for (uint32_t f = 0; f < g->filters; f++) {
        for (uint32_t i = f * g->stored; i < f * g->stored + g->taps; i++) {
            float value = state->scale * (float)(weights[i] - state->zero_point) - steps[i];
            bool first = f == 0 && i == 0;
            steps[i] = value;
            range.range_min = first || value < range.range_min ? value : range.range_min;
            range.range_max = first || value > range.range_max ? value : range.range_max;
        }
    }
    return range;
}

static void requantize(struct fqt_net *net, uint32_t index, const struct fqt_geometry *g, float *steps)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_tensor_state *state = &net->tensor_state[layer->weights];
    uint8_t *weights = fqt_tensor_write(net, layer->weights);
    struct fqt_tensor_state range = real_weights(g, weights, steps, state);
    find_range(net, state, range.range_min, range.range_max);
    uint32_t of_layer = fqt_random_of_layer(net->header->seed, net->step, index);
    for (uint32_t f = 0; f < g->filters; f++) {
        uint32_t random = fqt_random_begin(of_layer, f);
        for (uint32_t i = f * g->stored; i < f * g->stored + g->taps; i++) {
            float quanta = steps[i] / state->scale + (float)state->zero_point;
            if (net->header->rounding == IMAGE_STOCHASTIC) {
                quanta = quanta + ((float)(fqt_random_next(&random) >> 8) * 0x1p-24f - 0.5f);
            }
            weights[i] = (uint8_t)fqt_clamp(fqt_round_to_int(quanta), 0, 255);
            steps[i] = 0.0f;
        }
    }
}

static void subtract(const struct fqt_geometry *g, float *weights, float *steps)
{
    for (uint32_t f = 0; f < g->filters; f++) {
        for (uint32_t i = f * g->stored; i < f * g->stored + g->taps; i++) {
            weights[i] = weights[i] - steps[i];
            steps[i] = 0.0f;
        }
    }
}

void fqt_update_float(struct fqt_net *net, uint32_t index, float rate)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_geometry g = fqt_geometry_of(net, layer);
    float *gradient = fqt_tensor_write(net, layer->plane);
    float weight_scale = net->tensor_state[layer->weights].scale, factor = rate / (float)net->header->batch;
    if (net->header->normalization == IMAGE_PLAIN && !fqt_is_float(net, layer->weights)) {
        factor = factor * (weight_scale * weight_scale);
    }
    for (uint32_t f = 0; f < g.filters; f++) {
        make_steps(net, layer, f, rate, factor, gradient + f * g.stored, g.taps);
    }
    if (fqt_is_float(net, layer->weights)) {
        subtract(&g, fqt_tensor_write(net, layer->weights), gradient);
    } else {
        requantize(net, index, &g, gradient);
    }
    if (net->header->normalization != IMAGE_STANDARDIZE) {
        fqt_update_biases(net, layer, rate);
    }
}
