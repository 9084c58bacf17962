/* Update after a mini-batch: ranges followed, standardized gradients applied, scales settled. */
#include "internal.h"

#define HEADROOM 4.0f             /* an output quantum is at least 4 accumulator quanta */
#define WEIGHT_GROWTH 1.125f      /* a saturated weight tensor gets this much more range */
#define WEIGHT_SHRINK_Q16 58254   /* 2^16 / 1.125 */
#define BIAS_CLIP 3.0f            /* a bias moves by at most 3 standard deviations times the rate */
#define EXPONENT_LIMIT 100
#define HALF (FQT_RESIDUAL_ONE / 2)
#define VALUE_MIN (-HALF)
#define VALUE_MAX (255 * FQT_RESIDUAL_ONE + HALF - 1)

/* A plane word is gradient << 4 | residual, the gradient of 12 bits, the residual -8..7. */
static int32_t gradient_of(int16_t word)
{
    return word >> FQT_RESIDUAL_BITS;
}

static int32_t residual_of(int16_t word)
{
    return ((word & (FQT_RESIDUAL_ONE - 1)) ^ HALF) - HALF;
}

struct row_sums {
    int32_t total;   /* sum of g */
    int64_t squares; /* sum of g^2 */
    int32_t largest; /* of |g| */
};

static struct row_sums sum_row(const int16_t *plane, uint32_t taps)
{
    struct row_sums sums = {0, 0, 0};
    for (uint32_t i = 0; i < taps; i++) {
        int32_t g = gradient_of(plane[i]);
        int32_t magnitude = g < 0 ? -g : g;
        sums.total += g;
        sums.squares += (int64_t)(g * g);
        sums.largest = magnitude > sums.largest ? magnitude : sums.largest;
    }
    return sums;
}

/* Round to nearest, halves away from zero. */
static int32_t divide_rounded(int64_t dividend, uint32_t divisor)
{
    uint64_t magnitude = (uint64_t)(dividend < 0 ? -dividend : dividend);
    int32_t quotient = (int32_t)((magnitude + divisor / 2u) / divisor);
    return dividend < 0 ? -quotient : quotient;
}

/* Write a weight back: value in residual units = quantum * 16 + residual; the plane's gradient becomes 0. */
static void store_value(uint8_t *weight, int16_t *plane, int32_t value)
{
    int32_t quantum = (value + HALF) >> FQT_RESIDUAL_BITS;
    *weight = (uint8_t)quantum;
    *plane = (int16_t)((value - quantum * FQT_RESIDUAL_ONE) & (FQT_RESIDUAL_ONE - 1));
}

static int32_t load_value(uint8_t weight, int16_t plane)
{
    return weight * FQT_RESIDUAL_ONE + residual_of(plane);
}

/* w(F,taps) -= rate * (g - mean) / sigma in residual units; true if a weight left 0..255. */
static bool step_row(uint8_t *weights, int16_t *plane, uint32_t taps, struct fqt_multiplier by, int32_t mean)
{
    int32_t offset = (1 << (by.shift - 1)) - mean;
    bool saturated = false;
    for (uint32_t i = 0; i < taps; i++) {
        int32_t value = load_value(weights[i], plane[i]);
        value -= (gradient_of(plane[i]) * by.m + offset) >> by.shift;
        int32_t kept = fqt_clamp(value, VALUE_MIN, VALUE_MAX);
        saturated |= kept != value;
        store_value(&weights[i], &plane[i], kept);
    }
    return saturated;
}

/* The same weights at 1.125 times the scale. */
static void grow_range(const struct fqt_geometry *g, uint8_t *weights, int16_t *plane, int32_t zero_point)
{
    int32_t zero = zero_point * FQT_RESIDUAL_ONE;
    for (uint32_t f = 0; f < g->filters; f++) {
        for (uint32_t i = f * g->stored; i < f * g->stored + g->taps; i++) {
            int32_t distance = load_value(weights[i], plane[i]) - zero;
            store_value(&weights[i], &plane[i], ((distance * WEIGHT_SHRINK_Q16 + (1 << 15)) >> 16) + zero);
        }
    }
}

/* Keep the largest gradient of a mini-batch within 256..1023: 2 to 8 times headroom. */
static void adapt_exponent(struct fqt_layer_state *state, int32_t largest)
{
    int32_t exponent = state->gradient_exponent;
    if (largest == FQT_GRADIENT_LIMIT) {
        exponent += 2;
    } else if (largest >= 1024) {
        exponent += 1;
    } else if (largest == 0) {
        exponent -= 4;
    } else if (largest < 256) {
        exponent -= 1;
    }
    state->gradient_exponent = fqt_clamp(exponent, -EXPONENT_LIMIT, EXPONENT_LIMIT);
}

static void update_weights(struct fqt_net *net, uint32_t index, float rate)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_geometry g = fqt_geometry_of(net, layer);
    struct fqt_bias bias = fqt_bias_of(net, layer);
    struct fqt_tensor_state *quantization = &net->tensor_state[layer->weights];
    uint8_t *weights = fqt_tensor_write(net, layer->weights);
    int16_t *plane = fqt_tensor_write(net, layer->plane);
    float unit = fqt_power_of_two(net->layer_state[index].gradient_exponent);
    float taps = (float)g.taps;
    int32_t largest = 0;
    bool saturated = false;
    for (uint32_t f = 0; f < g.filters; f++) {
        struct row_sums sums = sum_row(plane + f * g.stored, g.taps);
        largest = sums.largest > largest ? sums.largest : largest;
        int64_t spread = (int64_t)g.taps * sums.squares - (int64_t)sums.total * sums.total;
        float deviation = fqt_sqrt((float)spread); /* taps * sigma, at least one unit */
        deviation = deviation > taps ? deviation : taps;
        float sigma = deviation / taps * unit;
        float step = bias.gradient[f] / sigma;
        step = step < -BIAS_CLIP ? -BIAS_CLIP : (step > BIAS_CLIP ? BIAS_CLIP : step);
        bias.value[f] = bias.value[f] - rate * step;
        bias.gradient[f] = 0.0f;
        float factor = rate * (float)(g.taps * FQT_RESIDUAL_ONE) / (quantization->scale * deviation);
        struct fqt_multiplier by = fqt_multiplier_of(factor, FQT_UPDATE_MIN_SHIFT, FQT_UPDATE_MAX_SHIFT);
        int32_t mean = divide_rounded((int64_t)sums.total * by.m, g.taps);
        saturated |= step_row(weights + f * g.stored, plane + f * g.stored, g.taps, by, mean);
    }
    if (saturated) {
        quantization->scale = quantization->scale * WEIGHT_GROWTH;
        grow_range(&g, weights, plane, quantization->zero_point);
    }
    adapt_exponent(&net->layer_state[index], largest);
}

/* Let the output's range follow the accumulators tracked in this mini-batch; scales are still the old ones. */
static void follow_range(struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_layer_state *state = &net->layer_state[index];
    struct fqt_tensor_state *out = &net->tensor_state[layer->out];
    if (state->acc_max == FQT_ACC_MAX_UNSET) {
        return;
    }
    float unit = net->tensor_state[layer->weights].scale * net->tensor_state[layer->in].scale;
    out->range_max = fqt_follow(out->range_max, (float)state->acc_max * unit);
    if ((layer->flags & IMAGE_FLAG_RELU) == 0) {
        out->range_min = -fqt_follow(-out->range_min, -((float)state->acc_min * unit));
    }
    state->acc_min = FQT_ACC_MIN_UNSET;
    state->acc_max = FQT_ACC_MAX_UNSET;
}

/* Scale and zero point of a layer's output from its range; the scale of int32 logits from their factors. */
static void settle_scale(struct fqt_net *net, const struct image_layer *layer)
{
    struct fqt_tensor_state *out = &net->tensor_state[layer->out];
    float unit = net->tensor_state[layer->weights].scale * net->tensor_state[layer->in].scale;
    if (net->tensors[layer->out].dtype == IMAGE_I32) {
        out->scale = unit;
        return;
    }
    float low = out->range_min < 0.0f ? out->range_min : 0.0f;
    float high = out->range_max > 0.0f ? out->range_max : 0.0f;
    float scale = (high - low) / 255.0f;
    scale = scale > HEADROOM * unit ? scale : HEADROOM * unit;
    out->scale = scale;
    out->zero_point = fqt_clamp(fqt_round_to_int(-low / scale), 0, 255);
}

void fqt_fold_bias(struct fqt_net *net, const struct image_layer *layer)
{
    struct fqt_bias bias = fqt_bias_of(net, layer);
    float unit = net->tensor_state[layer->weights].scale * net->tensor_state[layer->in].scale;
    for (uint32_t f = 0; f < net->tensors[layer->weights].h; f++) {
        bias.folded[f] = fqt_round_to_int(bias.value[f] / unit);
    }
}

void fqt_settle(struct fqt_net *net)
{
    for (uint32_t i = 0; i < net->header->n_layers; i++) {
        const struct image_layer *layer = &net->layers[i];
        if (fqt_has_weights(layer)) {
            settle_scale(net, layer);
            fqt_fold_bias(net, layer);
        } else if (layer->type != IMAGE_SOFTMAX_CROSS_ENTROPY) {
            net->tensor_state[layer->out] = net->tensor_state[layer->in];
        }
    }
}

/* The rate of the last schedule entry that has begun. */
static float current_rate(const struct fqt_net *net)
{
    const struct image_rate *rates =
        (const struct image_rate *)(const void *)(net->image + net->header->rates_offset);
    uint32_t i = 0;
    while (i + 1u < net->header->n_rates && rates[i + 1u].first_step <= net->step) {
        i++;
    }
    return rates[i].rate;
}

void fqt_update(struct fqt_net *net)
{
    float rate = current_rate(net);
    for (uint32_t i = 0; i < net->header->n_layers; i++) {
        if (fqt_has_weights(&net->layers[i])) {
            follow_range(net, i);
            if ((net->layers[i].flags & IMAGE_FLAG_TRAINED) != 0) {
                update_weights(net, i, rate);
            }
        }
    }
    fqt_settle(net);
    net->in_batch = 0;
}
