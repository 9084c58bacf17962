/* Quantization ranges: what follows from them, and how they follow what is observed. */
#include "internal.h"

struct fqt_common_multipliers fqt_sum_multipliers(const struct fqt_net *net, const struct image_layer *layer)
{
    float out = net->tensor_state[layer->out].scale;
    return fqt_common_multipliers_of(net->tensor_state[layer->in].scale / out,
                                     net->tensor_state[layer->other].scale / out);
}

float fqt_accumulator_unit(const struct fqt_net *net, const struct image_layer *layer)
{
    if (layer->type == IMAGE_ADD) {
        return net->tensor_state[layer->out].scale * fqt_power_of_two(-fqt_sum_multipliers(net, layer).shift);
    }
    return net->tensor_state[layer->weights].scale * net->tensor_state[layer->in].scale;
}

void fqt_follow_range(struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_layer_state *state = &net->layer_state[index];
    struct fqt_tensor_state *out = &net->tensor_state[layer->out];
    if (state->acc_max == FQT_ACC_MAX_UNSET) {
        return;
    }
    float unit = fqt_accumulator_unit(net, layer);
    out->range_max = fqt_follow(out->range_max, (float)state->acc_max * unit);
    if ((layer->flags & IMAGE_FLAG_RELU) == 0) {
        out->range_min = -fqt_follow(-out->range_min, -((float)state->acc_min * unit));
    }
    state->acc_min = FQT_ACC_MIN_UNSET;
    state->acc_max = FQT_ACC_MAX_UNSET;
}

/* Smallest scale that an output may have, so that its multipliers stay in range. */
static float least_scale(const struct fqt_net *net, const struct image_layer *layer)
{
    if (layer->type == IMAGE_ADD) {
        float a = net->tensor_state[layer->in].scale, b = net->tensor_state[layer->other].scale;
        return (a > b ? a : b) * FQT_SUM_HEADROOM;
    }
    return FQT_HEADROOM * fqt_accumulator_unit(net, layer);
}

void fqt_take_range(struct fqt_tensor_state *state, float low, float high, float least)
{
    low = low < 0.0f ? low : 0.0f;
    high = high > 0.0f ? high : 0.0f;
    float scale = (high - low) / 255.0f;
    state->scale = scale > least ? scale : least;
    state->zero_point = fqt_clamp(fqt_round_to_int(-low / state->scale), 0, 255);
}

/* Scale and zero point of a layer's output from its range; the scale of int32 logits from their factors. */
static void settle_scale(struct fqt_net *net, const struct image_layer *layer)
{
    struct fqt_tensor_state *out = &net->tensor_state[layer->out];
    if (net->tensors[layer->out].dtype == IMAGE_I32) {
        out->scale = fqt_accumulator_unit(net, layer);
        return;
    }
    bool limited = (layer->flags & IMAGE_FLAG_RELU6) != 0 && out->range_max > FQT_RELU6_LIMIT;
    fqt_take_range(out, out->range_min, limited ? FQT_RELU6_LIMIT : out->range_max, least_scale(net, layer));
}

void fqt_fold_bias(const struct fqt_net *net, const struct image_layer *layer)
{
    if (net->tensors[layer->bias_folded].region == IMAGE_REGION_IN_IMAGE) {
        return; /* neither weights nor ranges of the layer ever change */
    }
    const float *bias = fqt_tensor_read(net, layer->bias);
    int32_t *folded = fqt_tensor_write(net, layer->bias_folded);
    float unit = fqt_accumulator_unit(net, layer);
    for (uint32_t f = 0; f < net->tensors[layer->weights].h; f++) {
        folded[f] = fqt_round_to_int(bias[f] / unit);
    }
}

void fqt_settle(struct fqt_net *net)
{
    for (uint32_t i = 0; i < net->header->n_layers; i++) {
        const struct image_layer *layer = &net->layers[i];
        switch (layer->type) {
        case IMAGE_CONVOLUTION:
        case IMAGE_FULLY_CONNECTED:
            if (!fqt_is_float(net, layer->weights) &&
                net->tensors[layer->bias_folded].region != IMAGE_REGION_IN_IMAGE) {
                settle_scale(net, layer);
                fqt_fold_bias(net, layer);
            }
            break;
        case IMAGE_ADD:
            if (!fqt_is_float(net, layer->out)) {
                settle_scale(net, layer);
            }
            break;
        case IMAGE_MAX_POOL:
        case IMAGE_AVERAGE_POOL:
        case IMAGE_FLATTEN:
            net->tensor_state[layer->out] = net->tensor_state[layer->in];
            break;
        default:
            break;
        }
    }
}
