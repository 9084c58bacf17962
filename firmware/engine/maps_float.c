/* Layers without weights in float32: pools, add and fork. */
#include "internal.h"

#include "kernels/float32.h"

/* What a pool makes of one channel of a window: its largest value, or the mean. */
static float pooled(const struct image_layer *layer, const struct image_tensor *in, const float *corner)
{
    bool is_max = layer->type == IMAGE_MAX_POOL;
    float y = is_max ? *corner : 0.0f;
    for (uint32_t ky = 0; ky < layer->kernel_h; ky++) {
        for (uint32_t kx = 0; kx < layer->kernel_w; kx++) {
            float x = corner[(ky * in->w + kx) * in->c];
            if (!is_max) {
                y = y + x;
            } else if (x > y) {
                y = x;
            }
        }
    }
    return is_max ? y : y / (float)((uint32_t)layer->kernel_h * layer->kernel_w);
}

/* Give a window its error: a max pool at its first maximum, an average pool in equal shares. */
static void spread(const struct image_layer *layer, const struct image_tensor *in, const float *x, float error,
                   float *error_in)
{
    float share = error / (float)((uint32_t)layer->kernel_h * layer->kernel_w);
    uint32_t first = 0;
    for (uint32_t ky = 0; ky < layer->kernel_h; ky++) {
        for (uint32_t kx = 0; kx < layer->kernel_w; kx++) {
            uint32_t at = (ky * in->w + kx) * in->c;
            if (layer->type == IMAGE_AVERAGE_POOL) {
                error_in[at] = fqt_float_hidden(layer->flags, x[at]) ? 0.0f : share;
            }
            first = x[at] > x[first] ? at : first;
        }
    }
    if (layer->type == IMAGE_MAX_POOL) {
        error_in[first] = error;
    }
}

/* All windows and channels of a pool, forward (y) or backward (from `y`, the error, to error_in). */
static void pool(const struct fqt_net *net, const struct image_layer *layer, float *y, float *error_in)
{
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    const float *x = fqt_tensor_read(net, layer->in);
    for (uint32_t oy = 0; oy < out->h; oy++) {
        for (uint32_t ox = 0; ox < out->w; ox++) {
            uint32_t corner = (oy * layer->kernel_h * in->w + ox * layer->kernel_w) * in->c;
            for (uint32_t i = 0; i < in->c; i++, corner++, y++) {
                if (error_in == NULL) {
                    *y = pooled(layer, in, x + corner);
                } else {
                    spread(layer, in, x + corner, *y, error_in + corner);
                }
            }
        }
    }
}

void fqt_float_forward_map(const struct fqt_net *net, const struct image_layer *layer)
{
    float *y = fqt_tensor_write(net, layer->out);
    if (layer->type != IMAGE_ADD) {
        pool(net, layer, y, NULL);
        return;
    }
    const float *x = fqt_tensor_read(net, layer->in), *other = fqt_tensor_read(net, layer->other);
    for (uint32_t i = 0; i < fqt_count(&net->tensors[layer->out]); i++) {
        y[i] = fqt_float_clamped(x[i] + other[i], layer->flags);
    }
}

/* error_in = error, with `more` of it if there is any; zero where x was clamped. */
static void pass_error(const struct fqt_net *net, const struct image_layer *layer, uint32_t input, uint32_t error_in,
                       const float *more, uint32_t low, uint32_t high)
{
    if (error_in == IMAGE_NONE) {
        return;
    }
    const float *x = fqt_tensor_read(net, input), *error = fqt_tensor_read(net, layer->error_out);
    float *passed = fqt_tensor_write(net, error_in);
    for (uint32_t i = 0; i < fqt_count(&net->tensors[input]); i++) {
        float sum = more != NULL ? error[i] + more[i] : error[i];
        passed[i] = fqt_hides_float(layer->flags, low, high, x[i]) ? 0.0f : sum;
    }
}

void fqt_float_backward_map(const struct fqt_net *net, const struct image_layer *layer)
{
    if (layer->type == IMAGE_ADD || layer->type == IMAGE_FORK) {
        const float *more = layer->type == IMAGE_FORK ? fqt_tensor_read(net, layer->error_other) : NULL;
        pass_error(net, layer, layer->in, layer->error_in, more, IMAGE_FLAG_MASK_INPUT, IMAGE_FLAG_MASK_INPUT_HIGH);
        if (layer->type == IMAGE_ADD) {
            pass_error(net, layer, layer->other, layer->error_other, NULL, IMAGE_FLAG_MASK_OTHER,
                       IMAGE_FLAG_MASK_OTHER_HIGH);
        }
        return;
    }
    float *error_in = fqt_tensor_write(net, layer->error_in);
    memset(error_in, 0, fqt_count(&net->tensors[layer->in]) * sizeof *error_in);
    pool(net, layer, fqt_tensor_write(net, layer->error_out), error_in);
}
