/* The end of the forward pass and the begin of the backward one: softmax cross-entropy, and errors from float to uint8. */
#include "internal.h"

static float logit(const struct fqt_net *net, const struct image_layer *layer, const uint32_t *words, uint32_t i)
{
    if (fqt_is_float(net, layer->in)) {
        return fqt_float_from_bits(words[i]);
    }
    return (float)(int32_t)words[i] * net->tensor_state[layer->in].scale;
}

/* Logits, int32 or float32, become in place the float32 error p - onehot(label). */
struct fqt_outcome fqt_forward_head(const struct fqt_net *net, const struct image_layer *layer, uint32_t label)
{
    uint32_t n = net->header->n_classes;
    uint32_t *words = fqt_tensor_write(net, layer->in);
    bool is_float = fqt_is_float(net, layer->in);
    uint32_t predicted = 0;
    for (uint32_t i = 1; i < n; i++) {
        bool larger = is_float ? fqt_float_from_bits(words[i]) > fqt_float_from_bits(words[predicted])
                               : (int32_t)words[i] > (int32_t)words[predicted];
        predicted = larger ? i : predicted;
    }
    float largest = logit(net, layer, words, predicted);
    float label_logit = logit(net, layer, words, label) - largest;
    float total = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        float power = fqt_exp_nonpositive(logit(net, layer, words, i) - largest);
        total = total + power;
        words[i] = fqt_float_bits(power);
    }
    for (uint32_t i = 0; i < n; i++) {
        float p = fqt_float_from_bits(words[i]) / total;
        words[i] = fqt_float_bits(i == label ? p - 1.0f : p);
    }
    return (struct fqt_outcome){fqt_log(total) - label_logit, (uint16_t)predicted};
}

/* A float error (n) to uint8, with its exact range of this sample or the fixed one. Hidden elements are 0. */
static void quantize_error(const struct fqt_net *net, const float *error, uint32_t tensor, const uint8_t *x,
                           struct fqt_mask mask)
{
    uint32_t n = fqt_count(&net->tensors[tensor]);
    uint8_t *q = fqt_tensor_write(net, tensor);
    struct fqt_tensor_state *state = &net->tensor_state[tensor];
    if (net->header->error_ranges != IMAGE_ERRORS_FIXED) {
        float largest = 0.0f;
        for (uint32_t i = 0; i < n; i++) {
            float magnitude = error[i] < 0.0f ? -error[i] : error[i];
            bool counts = x == NULL || !fqt_hides(mask, x[i]);
            largest = counts && magnitude > largest ? magnitude : largest;
        }
        float scale = largest > 0.0f ? largest / 127.0f : 1.0f;
        float smallest = fqt_power_of_two(-100);
        state->scale = scale < smallest ? smallest : scale;
    }
    for (uint32_t i = 0; i < n; i++) {
        float value = x != NULL && fqt_hides(mask, x[i]) ? 0.0f : error[i];
        q[i] = (uint8_t)fqt_clamp(FQT_ERROR_ZERO + fqt_round_to_int(value / state->scale), 0, 255);
    }
}

void fqt_backward_head(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct fqt_mask nothing = {FQT_NOT_CLAMPED_LOW, FQT_NOT_CLAMPED_HIGH};
    const float *error = fqt_tensor_read(net, layer->in);
    if (fqt_is_float(net, layer->error_in)) {
        /* in a hostile plan they may overlap */
        memmove(fqt_tensor_write(net, layer->error_in), error, net->header->n_classes * sizeof *error);
    } else {
        quantize_error(net, error, layer->error_in, NULL, nothing);
    }
}

void fqt_backward_dequantize(const struct fqt_net *net, const struct image_layer *layer)
{
    quantize_error(net, fqt_tensor_read(net, layer->error_out), layer->error_in, fqt_tensor_read(net, layer->in),
                   fqt_mask_of_input(net, layer));
}
