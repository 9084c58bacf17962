/* Forward pass. */
#include "internal.h"
#include "kernels/convolution.h"

static void forward_convolution(struct fqt_net *net, uint32_t index, bool tracking)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_geometry g = fqt_geometry_of(net, layer);
    const struct fqt_tensor_state *in = &net->tensor_state[layer->in];
    const struct fqt_tensor_state *weights = &net->tensor_state[layer->weights];
    const struct fqt_tensor_state *out = &net->tensor_state[layer->out];
    struct fqt_forward_job job = {
        .x = fqt_tensor_read(net, layer->in),
        .weights = fqt_tensor_read(net, layer->weights),
        .bias = fqt_bias_of(net, layer).folded,
        .scratch = fqt_tensor_write(net, layer->scratch),
        .x_zero = in->zero_point,
        .weight_zero = weights->zero_point,
        .out = fqt_tensor_write(net, layer->out),
        .out_is_int32 = net->tensors[layer->out].dtype == IMAGE_I32,
    };
    if (!job.out_is_int32) {
        job.by = fqt_requantize_multiplier(weights->scale * in->scale / out->scale);
        job.out_zero = out->zero_point;
        job.lowest = (layer->flags & IMAGE_FLAG_RELU) != 0 ? out->zero_point : 0;
        job.tracked = tracking ? &net->layer_state[index] : NULL;
    }
    fqt_convolution_forward(&g, &job);
}

/* y(OH,OW,C): largest of each window. */
static void forward_max_pool(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    const uint8_t *x = fqt_tensor_read(net, layer->in);
    uint8_t *y = fqt_tensor_write(net, layer->out);
    uint32_t c = in->c;
    for (uint32_t oy = 0; oy < out->h; oy++) {
        for (uint32_t ox = 0; ox < out->w; ox++, y += c) {
            memset(y, 0, c);
            for (uint32_t ky = 0; ky < layer->kernel_h; ky++) {
                const uint8_t *row = x + ((oy * layer->stride_h + ky) * in->w + ox * layer->stride_w) * c;
                for (uint32_t kx = 0; kx < layer->kernel_w; kx++, row += c) {
                    for (uint32_t i = 0; i < c; i++) {
                        y[i] = row[i] > y[i] ? row[i] : y[i];
                    }
                }
            }
        }
    }
}

/* y(C): mean over height and width, halves up. */
static void forward_global_average_pool(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in];
    const uint8_t *x = fqt_tensor_read(net, layer->in);
    uint8_t *y = fqt_tensor_write(net, layer->out);
    uint32_t n = (uint32_t)in->h * in->w;
    for (uint32_t i = 0; i < in->c; i++) {
        uint32_t sum = 0;
        for (uint32_t p = 0; p < n; p++) {
            sum += x[p * in->c + i];
        }
        y[i] = (uint8_t)((2u * sum + n) / (2u * n));
    }
}

/* Logits in the int32 tensor `in` become, in place, the float32 error p - onehot(label). */
static struct fqt_outcome softmax_cross_entropy(const struct fqt_net *net, const struct image_layer *layer,
                                                uint32_t label)
{
    uint32_t n = net->header->n_classes;
    int32_t *acc = fqt_tensor_write(net, layer->in);
    float unit = net->tensor_state[layer->in].scale;
    uint32_t predicted = 0;
    for (uint32_t i = 1; i < n; i++) {
        predicted = acc[i] > acc[predicted] ? i : predicted;
    }
    float largest = (float)acc[predicted] * unit;
    float label_logit = (float)acc[label] * unit - largest;
    float total = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        float power = fqt_exp_nonpositive((float)acc[i] * unit - largest);
        total = total + power;
        acc[i] = (int32_t)fqt_float_bits(power);
    }
    for (uint32_t i = 0; i < n; i++) {
        float p = fqt_float_from_bits((uint32_t)acc[i]) / total;
        acc[i] = (int32_t)fqt_float_bits(i == label ? p - 1.0f : p);
    }
    return (struct fqt_outcome){fqt_log(total) - label_logit, (uint16_t)predicted};
}

struct fqt_outcome fqt_forward(struct fqt_net *net, const uint8_t *sample, uint32_t label, bool training)
{
    struct fqt_outcome outcome = {0.0f, 0};
    net->sample = sample;
    net->tracking = training && net->step % net->header->track_period == 0;
    for (uint32_t i = 0; i < net->header->n_layers; i++) {
        const struct image_layer *layer = &net->layers[i];
        switch (layer->type) {
        case IMAGE_CONV2D:
        case IMAGE_FULLY_CONNECTED:
            forward_convolution(net, i, net->tracking);
            break;
        case IMAGE_MAX_POOL:
            forward_max_pool(net, layer);
            break;
        case IMAGE_GLOBAL_AVERAGE_POOL:
            forward_global_average_pool(net, layer);
            break;
        case IMAGE_SOFTMAX_CROSS_ENTROPY:
            outcome = softmax_cross_entropy(net, layer, label);
            break;
        default: /* IMAGE_FLATTEN: the same bytes */
            break;
        }
    }
    return outcome;
}
