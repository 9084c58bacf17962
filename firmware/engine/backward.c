/* Backward pass: errors from the head down, weight and bias gradients on the way. */
#include "internal.h"
#include "kernels/float32.h"

static void accumulate_float(const struct fqt_net *net, const struct image_layer *layer, const struct fqt_geometry *g,
                             struct fqt_selection selection)
{
    float *bias_gradient = fqt_tensor_write(net, layer->bias_step);
    float *plane = (layer->flags & IMAGE_FLAG_TRAINED) != 0 ? fqt_tensor_write(net, layer->plane) : NULL;
    for (uint32_t i = 0; i < selection.n; i++) {
        uint32_t f = fqt_selected(&selection, i);
        fqt_float_gradient(g, fqt_tensor_read(net, layer->in), fqt_tensor_read(net, layer->error_out), f,
                           plane != NULL ? plane + f * g->stored : NULL, &bias_gradient[f]);
    }
}

/* The error goes down through the old weights before they may change. */
static void backward_weighted(struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_geometry g = fqt_geometry_of(net, layer);
    bool is_float = fqt_is_float(net, layer->weights);
    struct fqt_selection selection = {NULL, g.filters};
    if (fqt_is_trained(layer)) {
        selection = fqt_select(net, index);
    }
    uint32_t error_share = is_float ? 0u : fqt_error_share(net, index, &g);
    if (layer->error_in != IMAGE_NONE && is_float) {
        fqt_float_error(&g, fqt_tensor_read(net, layer->in), fqt_tensor_read(net, layer->error_out),
                        fqt_tensor_read(net, layer->weights), selection, fqt_tensor_write(net, layer->error_in),
                        layer->flags);
    } else if (layer->error_in != IMAGE_NONE) {
        fqt_propagate_integer(net, index, &g, selection, error_share);
    }
    if (fqt_is_trained(layer) && is_float) {
        accumulate_float(net, layer, &g, selection);
    } else if (fqt_is_trained(layer)) {
        fqt_accumulate_integer(net, index, &g, selection, error_share);
    }
}

void fqt_backward(struct fqt_net *net)
{
    for (uint32_t i = net->header->n_layers; i-- > 0;) {
        const struct image_layer *layer = &net->layers[i];
        if (layer->type == IMAGE_SOFTMAX_CROSS_ENTROPY) {
            if (layer->error_in != IMAGE_NONE) {
                fqt_backward_head(net, layer);
            }
        } else if (!fqt_has_weights(layer)) {
            fqt_backward_map(net, i);
        } else if (layer->error_out != IMAGE_NONE) {
            backward_weighted(net, i);
        }
    }
    net->step += 1u;
    net->in_batch += 1u;
}
