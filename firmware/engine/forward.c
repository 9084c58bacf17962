/* Forward pass. */
#include "internal.h"
#include "kernels/convolution.h"
#include "kernels/float32.h"

static void forward_integer(struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_geometry g = fqt_geometry_of(net, layer);
    const struct fqt_tensor_state *out = &net->tensor_state[layer->out];
    struct fqt_forward_job job = {
        .x = fqt_tensor_read(net, layer->in),
        .weights = fqt_tensor_read(net, layer->weights),
        .bias = fqt_tensor_read(net, layer->bias_folded),
        .scratch = fqt_tensor_write(net, layer->scratch),
        .scratch_bytes = net->tensors[layer->scratch].bytes,
        .x_zero = net->tensor_state[layer->in].zero_point,
        .weight_zero = net->tensor_state[layer->weights].zero_point,
        .out = fqt_tensor_write(net, layer->out),
        .out_is_int32 = net->tensors[layer->out].dtype == IMAGE_I32,
    };
    if (!job.out_is_int32) {
        struct fqt_mask bounds = fqt_output_bounds(net, layer);
        bool tracked = net->tracking && (layer->flags & IMAGE_FLAG_TRACKED) != 0;
        job.by = fqt_requantize_multiplier(fqt_accumulator_unit(net, layer) / out->scale);
        job.out_zero = out->zero_point;
        job.lowest = bounds.low;
        job.highest = bounds.high;
        job.tracked = tracked ? &net->layer_state[index] : NULL;
        job.argmax = g.pool == 2u ? fqt_tensor_write(net, layer->argmax) : NULL;
    }
    fqt_convolution_forward(&g, &job);
}

static void forward_float(const struct fqt_net *net, const struct image_layer *layer)
{
    struct fqt_geometry g = fqt_geometry_of(net, layer);
    fqt_float_forward(&g, fqt_tensor_read(net, layer->in), fqt_tensor_read(net, layer->weights),
                      fqt_tensor_read(net, layer->bias), fqt_tensor_write(net, layer->out), layer->flags);
}

struct fqt_outcome fqt_forward(struct fqt_net *net, const uint8_t *sample, uint32_t label, bool training)
{
    struct fqt_outcome outcome = {0.0f, 0};
    net->sample = sample;
    net->tracking = training && net->step % net->header->track_period == 0;
    for (uint32_t i = 0; i < net->header->n_layers; i++) {
        const struct image_layer *layer = &net->layers[i];
        if (layer->type == IMAGE_SOFTMAX_CROSS_ENTROPY) {
            outcome = fqt_forward_head(net, layer, label);
        } else if (!fqt_has_weights(layer)) {
            fqt_forward_map(net, i);
        } else if (fqt_is_float(net, layer->weights)) {
            forward_float(net, layer);
        } else {
            forward_integer(net, i);
        }
    }
    return outcome;
}
