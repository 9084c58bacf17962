/* Update after a mini-batch: ranges followed, steps applied, scales settled. And what all steps share: the biases. */
#include "internal.h"

#define BIAS_CLIP 3.0f /* a bias moves by at most 3 standard deviations times the rate */

/* The rate of the last schedule entry that has begun. */
float fqt_current_rate(const struct fqt_net *net)
{
    const struct image_rate *rates =
        (const struct image_rate *)(const void *)(net->image + net->header->rates_offset);
    uint32_t i = 0;
    while (i + 1u < net->header->n_rates && rates[i + 1u].first_step <= net->step) {
        i++;
    }
    return rates[i].rate;
}

float fqt_standardized_bias(float gradient, float sigma, float rate)
{
    float step = gradient / sigma;
    step = step < -BIAS_CLIP ? -BIAS_CLIP : (step > BIAS_CLIP ? BIAS_CLIP : step);
    return rate * step;
}

void fqt_step_bias(const struct fqt_net *net, const struct image_layer *layer, uint32_t filter, float step)
{
    float *bias = fqt_tensor_write(net, layer->bias), *gradient = fqt_tensor_write(net, layer->bias_step);
    if (gradient[filter] == 0.0f) {
        return; /* pruned in all samples: it keeps its velocity */
    }
    if (net->header->momentum > 0.0f) {
        float *velocity = gradient + net->tensors[layer->weights].h;
        velocity[filter] = net->header->momentum * velocity[filter] + step;
        step = velocity[filter];
    }
    bias[filter] = bias[filter] - step;
    gradient[filter] = 0.0f;
}

void fqt_update_biases(const struct fqt_net *net, const struct image_layer *layer, float rate)
{
    const float *gradient = fqt_tensor_read(net, layer->bias_step);
    float factor = rate / (float)net->header->batch;
    if (net->header->normalization == IMAGE_PLAIN && !fqt_is_float(net, layer->weights)) {
        float unit = fqt_accumulator_unit(net, layer);
        factor = factor * (unit * unit);
    }
    for (uint32_t f = 0; f < net->tensors[layer->weights].h; f++) {
        fqt_step_bias(net, layer, f, gradient[f] * factor);
    }
}

static void update_layer(struct fqt_net *net, uint32_t index, float rate)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_layer_state *state = &net->layer_state[index];
    uint8_t plane = layer->plane != IMAGE_NONE ? net->tensors[layer->plane].dtype : (uint8_t)IMAGE_I8;
    if ((layer->flags & IMAGE_FLAG_TRAINED) == 0) {
        fqt_update_biases(net, layer, rate);
    } else if (plane == IMAGE_I16) {
        fqt_update_integer(net, index, rate);
    } else if (plane == IMAGE_F32) {
        fqt_update_float(net, index, rate);
    } else {
        fqt_update_biases(net, layer, rate);
        if (state->saturated != 0) {
            fqt_grow_weights(net, layer);
        }
        state->saturated = 0;
    }
}

void fqt_update(struct fqt_net *net)
{
    float rate = fqt_current_rate(net);
    for (uint32_t i = 0; i < net->header->n_layers; i++) {
        if ((net->layers[i].flags & IMAGE_FLAG_TRACKED) != 0) {
            fqt_follow_range(net, i);
        }
        if (fqt_is_trained(&net->layers[i])) {
            update_layer(net, i, rate);
        }
    }
    fqt_settle(net);
    net->in_batch = 0;
}
