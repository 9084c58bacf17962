/* Steps of uint8 weights from integer gradients: of a mini-batch from the plane, at batch 1 from the sample at once.
 *
 * A plane word of int16 is gradient << 4 | residual, the gradient of 12 bits, the residual -8..7; one of int8 is a residual
 * -128..127. Where weights are rounded instead, the residual is 0, or there is no plane. */
#include "internal.h"
#include "kernels/cells.h"
#include "random.h"

#define WEIGHT_GROWTH 1.125f
#define WEIGHT_SHRINK_Q15 29127 /* 2^15 / 1.125 */
#define VELOCITY_ONE 256        /* a weight quantum in units of a velocity */
#define VELOCITY_BITS 8
#define VELOCITY_LIMIT 32767
#define WIDE_ONE 65536          /* a weight quantum in units of a step that no residual keeps */
#define WIDE_BITS 16
#define WIDE_LIMIT (1 << 30)
#define EXPONENT_LIMIT 100

/* A trained layer's weights and how they are stepped. */
struct stepper {
    struct fqt_geometry g;
    uint8_t *weights;
    int16_t *plane;        /* or NULL */
    int8_t *residual;      /* or NULL */
    int16_t *velocity;     /* or NULL */
    uint32_t bits;         /* of a residual; 0 = weights are rounded */
    int32_t momentum_q15;
    uint8_t rounding;
    uint32_t random; /* of the layer at this step */
};

static struct stepper stepper_of(const struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    struct stepper s = {
        .g = fqt_geometry_of(net, layer),
        .weights = fqt_tensor_write(net, layer->weights),
        .velocity = layer->velocity != IMAGE_NONE ? fqt_tensor_write(net, layer->velocity) : NULL,
        .momentum_q15 = fqt_round_to_int(net->header->momentum * 32768.0f),
        .rounding = net->header->rounding,
        .random = fqt_random_of_layer(net->header->seed, net->step, index),
    };
    if (layer->plane != IMAGE_NONE && net->tensors[layer->plane].dtype == IMAGE_I16) {
        s.plane = fqt_tensor_write(net, layer->plane);
        s.bits = FQT_RESIDUAL_BITS;
    } else if (layer->plane != IMAGE_NONE) {
        s.residual = fqt_tensor_write(net, layer->plane);
        s.bits = VELOCITY_BITS;
    }
    if (s.rounding != IMAGE_RESIDUAL) {
        s.bits = 0;
    }
    return s;
}

static int32_t gradient_of(int16_t word)
{
    return word >> FQT_RESIDUAL_BITS;
}

static int32_t small_residual_of(int16_t word)
{
    const int32_t half = FQT_RESIDUAL_ONE / 2;
    return ((word & (FQT_RESIDUAL_ONE - 1)) ^ half) - half;
}

/* A weight in units of 2^-bits quanta. */
static int32_t load_value(const struct stepper *s, uint32_t i)
{
    int32_t value = (int32_t)s->weights[i] << s->bits;
    if (s->bits == FQT_RESIDUAL_BITS) {
        value += small_residual_of(s->plane[i]);
    } else if (s->bits != 0) {
        value += s->residual[i];
    }
    return value;
}

/* Write a weight back, clamped to its range; the plane's gradient becomes 0. True if the clamp changed it. */
static bool store_value(const struct stepper *s, uint32_t i, int32_t value)
{
    int32_t half = (1 << s->bits) >> 1;
    int32_t kept = fqt_clamp(value, -half, (255 << s->bits) + half - (s->bits != 0 ? 1 : 0));
    int32_t quantum = (kept + half) >> s->bits;
    int32_t residual = kept - quantum * (1 << s->bits);
    s->weights[i] = (uint8_t)quantum;
    if (s->plane != NULL) {
        s->plane[i] = (int16_t)(residual & (FQT_RESIDUAL_ONE - 1));
    } else if (s->residual != NULL) {
        s->residual[i] = (int8_t)residual;
    }
    return kept != value;
}

static int32_t decayed(int32_t velocity, int32_t momentum_q15)
{
    int32_t magnitude = (velocity < 0 ? -velocity : velocity) * momentum_q15 >> 15;
    return velocity < 0 ? -magnitude : magnitude;
}

/* Subtract `step` from weight i, by way of the velocity. Units of `step`: 1/256 quantum with momentum or a residual of
 * 8 bits, 1/16 with one of 4, else 1/65536; then `dither` is added before 16 bits are dropped. True if it saturated. */
static bool apply(const struct stepper *s, uint32_t i, int32_t step, int32_t dither)
{
    if (s->velocity != NULL) {
        step = fqt_clamp(decayed(s->velocity[i], s->momentum_q15) + step, -VELOCITY_LIMIT, VELOCITY_LIMIT);
        s->velocity[i] = (int16_t)step;
        if (s->bits == 0) {
            step = step * (1 << (WIDE_BITS - VELOCITY_BITS));
        } else if (s->bits == FQT_RESIDUAL_BITS) {
            step = (step + 8) >> (VELOCITY_BITS - FQT_RESIDUAL_BITS);
        }
    }
    if (s->bits == 0) {
        step = (step + dither) >> WIDE_BITS;
    }
    return store_value(s, i, load_value(s, i) - step);
}

/* Random or half a quantum, by column. */
static uint32_t dither_begin(const struct stepper *s, uint32_t row)
{
    return s->rounding == IMAGE_STOCHASTIC ? fqt_random_begin(s->random, row) : 0u;
}

static int32_t dither_next(const struct stepper *s, uint32_t *state)
{
    return s->rounding == IMAGE_STOCHASTIC ? (int32_t)(fqt_random_next(state) >> WIDE_BITS) : 1 << (WIDE_BITS - 1);
}

/* Units of a step in a weight quantum. */
static uint32_t one_of(const struct stepper *s)
{
    if (s->velocity != NULL || s->bits == VELOCITY_BITS) {
        return VELOCITY_ONE;
    }
    return s->bits == FQT_RESIDUAL_BITS ? FQT_RESIDUAL_ONE : WIDE_ONE;
}

/* Step units of a gradient unit: rate/batch*unit*one/s_w; without QAS that times s_w^2. */
static float plain_factor(const struct fqt_net *net, float rate, float unit, uint32_t one, float weight_scale)
{
    float factor = rate / (float)net->header->batch * unit * (float)one;
    return net->header->normalization == IMAGE_PLAIN ? factor * weight_scale : factor / weight_scale;
}

static int32_t shrunk(int32_t value)
{
    return (value * WEIGHT_SHRINK_Q15 + (1 << 14)) >> 15;
}

/* The same weights at 1.125 times the scale. */
static void grow(const struct stepper *s, struct fqt_tensor_state *quantization)
{
    int32_t zero = (int32_t)((uint32_t)quantization->zero_point << s->bits);
    quantization->scale = quantization->scale * WEIGHT_GROWTH;
    for (uint32_t f = 0; f < s->g.filters; f++) {
        uint32_t first = f * s->g.stored;
        if (s->bits == FQT_RESIDUAL_BITS && s->velocity == NULL) {
            fqt_shrink_cells(s->weights + first, s->plane + first, s->g.taps, quantization->zero_point, WEIGHT_SHRINK_Q15);
            continue;
        }
        for (uint32_t i = first; i < first + s->g.taps; i++) {
            store_value(s, i, shrunk(load_value(s, i) - zero) + zero);
            if (s->velocity != NULL) {
                s->velocity[i] = (int16_t)shrunk(s->velocity[i]);
            }
        }
    }
}

void fqt_grow_weights(struct fqt_net *net, const struct image_layer *layer)
{
    struct stepper s = stepper_of(net, (uint32_t)(layer - net->layers));
    grow(&s, &net->tensor_state[layer->weights]);
}

/* --- batch 1 ------------------------------------------------------------------------------------------ */

static int32_t wide_step(int32_t acc, struct fqt_multiplier by)
{
    int64_t step = ((int64_t)acc * by.m + ((int64_t)1 << (by.shift - 1))) >> by.shift;
    return (int32_t)(step > WIDE_LIMIT ? WIDE_LIMIT : (step < -WIDE_LIMIT ? -WIDE_LIMIT : step));
}

bool fqt_keeps_wide_residuals(const struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    return layer->plane != IMAGE_NONE && net->tensors[layer->plane].dtype == IMAGE_I8 &&
           layer->velocity == IMAGE_NONE && net->header->rounding == IMAGE_RESIDUAL;
}

/* A sample's gradients of unit `unit` in steps of 1/256 quantum; wide: of 1/65536, for which 32 bits don't do. */
static struct fqt_multiplier multiplier_at_once(const struct fqt_net *net, uint32_t index, float unit, bool wide)
{
    float weight_scale = net->tensor_state[net->layers[index].weights].scale;
    float factor = plain_factor(net, fqt_current_rate(net), unit, wide ? WIDE_ONE : VELOCITY_ONE, weight_scale);
    return wide ? fqt_multiplier_of(factor, FQT_WIDE_MIN_SHIFT, FQT_WIDE_MAX_SHIFT) : fqt_requantize_multiplier(factor);
}

struct fqt_multiplier fqt_step_at_once(const struct fqt_net *net, uint32_t index, float unit)
{
    return multiplier_at_once(net, index, unit, false);
}

void fqt_note_saturation(struct fqt_net *net, uint32_t index)
{
    if (net->header->weight_ranges != IMAGE_WEIGHTS_FIXED) {
        net->layer_state[index].saturated = 1;
    }
}

void fqt_update_at_once(struct fqt_net *net, uint32_t index, uint32_t filter, const int32_t *gradient, float unit)
{
    struct stepper s = stepper_of(net, index);
    bool wide = s.bits == 0, saturated = false;
    struct fqt_multiplier by = multiplier_at_once(net, index, unit, wide);
    uint32_t first = filter * s.g.stored, random = dither_begin(&s, filter);
    for (uint32_t i = 0; i < s.g.taps; i++) {
        int32_t step = wide ? wide_step(gradient[i], by) : fqt_scale_rounded(gradient[i], by);
        step = wide && s.velocity != NULL ? (step + VELOCITY_ONE / 2) >> VELOCITY_BITS : step;
        saturated |= apply(&s, first + i, step, dither_next(&s, &random));
    }
    if (saturated) {
        fqt_note_saturation(net, index);
    }
}

/* --- mini-batch --------------------------------------------------------------------------------------- */

/* Round to nearest, halves away from zero. */
static int32_t divide_rounded(int64_t dividend, uint32_t divisor)
{
    uint64_t magnitude = (uint64_t)(dividend < 0 ? -dividend : dividend);
    int32_t quotient = (int32_t)((magnitude + divisor / 2u) / divisor);
    return dividend < 0 ? -quotient : quotient;
}

/* Keep the largest gradient of a mini-batch within 256..1023: 2 to 8 times headroom. */
static void adapt_exponent(struct fqt_layer_state *state, int32_t largest)
{
    int32_t exponent = state->gradient_exponent;
    if (largest >= FQT_GRADIENT_LIMIT) {
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

/* Subtract m * 2^-S * (g - mean) from a row, of which no |g| is larger than `largest`; true if a weight saturated. */
static bool step_row(const struct stepper *s, uint32_t row, struct fqt_multiplier by, int32_t mean, int32_t largest)
{
    const struct fqt_row_step step = {.by = by, .offset = (1 << (by.shift - 1)) - mean, .largest = largest};
    uint32_t random = dither_begin(s, row), first = row * s->g.stored;
    bool saturated = false;
    if (s->bits == FQT_RESIDUAL_BITS && s->velocity == NULL) {
        return fqt_step_cells(s->weights + first, s->plane + first, s->g.taps, &step);
    }
    for (uint32_t i = first; i < first + s->g.taps; i++) {
        int32_t units = (gradient_of(s->plane[i]) * by.m + step.offset) >> by.shift;
        saturated |= apply(s, i, units, dither_next(s, &random));
    }
    return saturated;
}

/* The multiplier of a standardized row; its bias steps by the same deviation. */
static struct fqt_multiplier standardize(const struct fqt_net *net, uint32_t index, const struct stepper *s,
                                         uint32_t row, const struct fqt_row_sums *sums, float rate, float unit)
{
    const struct image_layer *layer = &net->layers[index];
    const float *bias_gradient = fqt_tensor_read(net, layer->bias_step);
    float taps = (float)s->g.taps;
    int64_t spread = (int64_t)s->g.taps * sums->squares - (int64_t)sums->total * sums->total;
    float deviation = fqt_sqrt(fqt_float_of((uint64_t)spread)); /* taps * sigma, at least one unit */
    deviation = deviation > taps ? deviation : taps;
    float sigma = deviation / taps * unit;
    fqt_step_bias(net, layer, row, fqt_standardized_bias(bias_gradient[row], sigma, rate));
    float factor = rate * (float)(s->g.taps * one_of(s)) / (net->tensor_state[layer->weights].scale * deviation);
    return fqt_multiplier_of(factor, FQT_UPDATE_MIN_SHIFT, FQT_UPDATE_MAX_SHIFT);
}

void fqt_update_integer(struct fqt_net *net, uint32_t index, float rate)
{
    const struct image_layer *layer = &net->layers[index];
    struct stepper s = stepper_of(net, index);
    struct fqt_tensor_state *quantization = &net->tensor_state[layer->weights];
    bool standardized = net->header->normalization == IMAGE_STANDARDIZE, saturated = false;
    float unit = fqt_power_of_two(net->layer_state[index].gradient_exponent);
    struct fqt_multiplier by = fqt_multiplier_of(plain_factor(net, rate, unit, one_of(&s), quantization->scale),
                                                 FQT_UPDATE_MIN_SHIFT, FQT_UPDATE_MAX_SHIFT);
    int32_t largest = 0;
    for (uint32_t f = 0; f < s.g.filters; f++) {
        struct fqt_row_sums sums = fqt_sum_cells(s.plane + f * s.g.stored, s.g.taps);
        int32_t mean = 0;
        largest = sums.largest > largest ? sums.largest : largest;
        if (standardized) {
            by = standardize(net, index, &s, f, &sums, rate, unit);
            mean = divide_rounded((int64_t)sums.total * by.m, s.g.taps);
        }
        if (sums.largest != 0) { /* else pruned in all samples: it keeps velocity and residual */
            saturated |= step_row(&s, f, by, mean, sums.largest);
        }
    }
    if (!standardized) {
        fqt_update_biases(net, layer, rate);
    }
    if (saturated && net->header->weight_ranges != IMAGE_WEIGHTS_FIXED) {
        grow(&s, quantization);
    }
    adapt_exponent(&net->layer_state[index], largest);
}
