/* Access to a loaded network: tensors, geometry, masks, checksum. */
#include "internal.h"

const void *fqt_tensor_read(const struct fqt_net *net, uint32_t tensor)
{
    const struct image_tensor *entry = &net->tensors[tensor];
    if (entry->region == IMAGE_REGION_SAMPLE) {
        return net->sample;
    }
    if (entry->region == IMAGE_REGION_IN_IMAGE) {
        return net->image + entry->init_offset;
    }
    return net->regions[entry->region].base + entry->offset;
}

void *fqt_tensor_write(const struct fqt_net *net, uint32_t tensor)
{
    const struct image_tensor *entry = &net->tensors[tensor];
    return net->regions[entry->region].base + entry->offset;
}

bool fqt_has_range(const struct fqt_net *net, const struct image_layer *layer)
{
    return (fqt_has_weights(layer) || layer->type == IMAGE_ADD) && net->tensors[layer->out].dtype == IMAGE_U8;
}

struct fqt_geometry fqt_geometry_of(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in];
    const struct image_tensor *out = &net->tensors[layer->out];
    const struct image_tensor *weights = &net->tensors[layer->weights];
    struct fqt_geometry g = {
        .h = 1, .w = 1, .c = weights->w, .out_h = 1, .out_w = 1, .filters = weights->h,
        .kernel_h = 1, .kernel_w = 1, .stride_h = 1, .stride_w = 1, .pad_top = 0, .pad_left = 0,
        .group_channels = weights->w, .group_filters = weights->h, .pool = 1,
        .taps = weights->w, .stored = weights->c,
    };
    if (layer->type == IMAGE_CONVOLUTION) {
        g.h = in->h;
        g.w = in->w;
        g.c = in->c;
        g.pool = layer->argmax != IMAGE_NONE ? 2u : 1u;
        g.out_h = out->h * g.pool;
        g.out_w = out->w * g.pool;
        g.kernel_h = layer->kernel_h;
        g.kernel_w = layer->kernel_w;
        g.stride_h = layer->stride_h;
        g.stride_w = layer->stride_w;
        g.pad_top = layer->pad_top;
        g.pad_left = layer->pad_left;
        g.group_channels = g.c / layer->groups;
        g.group_filters = g.filters / layer->groups;
    }
    return g;
}

int32_t fqt_relu6_clamp(const struct fqt_tensor_state *state)
{
    return state->zero_point + fqt_round_to_int(FQT_RELU6_LIMIT / state->scale);
}

static struct fqt_mask mask_of(const struct fqt_tensor_state *state, bool masked, bool high)
{
    struct fqt_mask mask = {FQT_NOT_CLAMPED_LOW, FQT_NOT_CLAMPED_HIGH};
    if (masked) {
        mask.low = state->zero_point;
    }
    if (masked && high) {
        mask.high = fqt_relu6_clamp(state);
    }
    return mask;
}

struct fqt_mask fqt_mask_of_input(const struct fqt_net *net, const struct image_layer *layer)
{
    return mask_of(&net->tensor_state[layer->in], (layer->flags & IMAGE_FLAG_MASK_INPUT) != 0,
                   (layer->flags & IMAGE_FLAG_MASK_INPUT_HIGH) != 0);
}

struct fqt_mask fqt_mask_of_other(const struct fqt_net *net, const struct image_layer *layer)
{
    return mask_of(&net->tensor_state[layer->other], (layer->flags & IMAGE_FLAG_MASK_OTHER) != 0,
                   (layer->flags & IMAGE_FLAG_MASK_OTHER_HIGH) != 0);
}

struct fqt_mask fqt_output_bounds(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct fqt_tensor_state *out = &net->tensor_state[layer->out];
    struct fqt_mask bounds = {0, 255};
    if ((layer->flags & IMAGE_FLAG_RELU) != 0) {
        bounds.low = out->zero_point;
    }
    if ((layer->flags & IMAGE_FLAG_RELU6) != 0) {
        int32_t six = fqt_relu6_clamp(out);
        bounds.high = six < 255 ? six : 255;
    }
    return bounds;
}

bool fqt_update_due(const struct fqt_net *net)
{
    return net->in_batch == net->header->batch;
}

uint32_t fqt_n_trained(const struct fqt_net *net)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < net->header->n_layers; i++) {
        n += fqt_is_trained(&net->layers[i]) ? 1u : 0u;
    }
    return n;
}

uint16_t fqt_structures_updated(const struct fqt_net *net, uint32_t i)
{
    for (uint32_t layer = 0; layer < net->header->n_layers; layer++) {
        if (fqt_is_trained(&net->layers[layer]) && i-- == 0) {
            return net->layer_state[layer].updated;
        }
    }
    return 0;
}

uint32_t fqt_checksum(const struct fqt_net *net)
{
    const struct image_header *header = net->header;
    uint32_t crc = fqt_crc32(0, (const uint8_t *)net->tensor_state,
                             header->n_tensors * (uint32_t)sizeof *net->tensor_state);
    crc = fqt_crc32(crc, (const uint8_t *)net->layer_state, header->n_layers * (uint32_t)sizeof *net->layer_state);
    for (uint32_t i = 0; i < header->n_tensors; i++) {
        if ((net->tensors[i].flags & IMAGE_TRAINED_STATE) != 0) {
            crc = fqt_crc32(crc, fqt_tensor_read(net, i), net->tensors[i].bytes);
        }
    }
    return crc;
}

const uint8_t *fqt_tensor_bytes(const struct fqt_net *net, uint32_t tensor, uint32_t offset, uint32_t length)
{
    const uint8_t *content = NULL;
    uint32_t bytes = 0;
    if (tensor == FQT_TENSOR_STATES) {
        content = (const uint8_t *)net->tensor_state;
        bytes = net->header->n_tensors * (uint32_t)sizeof *net->tensor_state;
    } else if (tensor == FQT_LAYER_STATES) {
        content = (const uint8_t *)net->layer_state;
        bytes = net->header->n_layers * (uint32_t)sizeof *net->layer_state;
    } else if (tensor < net->header->n_tensors && net->tensors[tensor].region < FQT_MAX_REGIONS) {
        content = fqt_tensor_read(net, tensor);
        bytes = net->tensors[tensor].bytes;
    }
    return content != NULL && offset <= bytes && length <= bytes - offset ? content + offset : NULL;
}
