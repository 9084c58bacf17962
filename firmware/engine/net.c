/* Access to a loaded network: tensors, geometry, checksum. */
#include "internal.h"

#define BIAS_PARTS 3u /* value, gradient, folded */

const uint8_t *fqt_tensor_read(const struct fqt_net *net, uint32_t tensor)
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

struct fqt_geometry fqt_geometry_of(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in];
    const struct image_tensor *out = &net->tensors[layer->out];
    const struct image_tensor *weights = &net->tensors[layer->weights];
    struct fqt_geometry g = {
        .h = 1, .w = 1, .c = weights->w, .out_h = 1, .out_w = 1, .filters = weights->h,
        .kernel_h = 1, .kernel_w = 1, .stride_h = 1, .stride_w = 1, .pad_top = 0, .pad_left = 0,
        .taps = weights->w, .stored = weights->c,
    };
    if (layer->type == IMAGE_CONV2D) {
        g.h = in->h;
        g.w = in->w;
        g.c = in->c;
        g.out_h = out->h;
        g.out_w = out->w;
        g.kernel_h = layer->kernel_h;
        g.kernel_w = layer->kernel_w;
        g.stride_h = layer->stride_h;
        g.stride_w = layer->stride_w;
        g.pad_top = layer->pad_top;
        g.pad_left = layer->pad_left;
    }
    return g;
}

struct fqt_bias fqt_bias_of(const struct fqt_net *net, const struct image_layer *layer)
{
    uint8_t *base = fqt_tensor_write(net, layer->bias);
    uint32_t part = net->tensors[layer->bias].bytes / BIAS_PARTS;
    return (struct fqt_bias){(float *)(void *)base, (float *)(void *)(base + part),
                             (int32_t *)(void *)(base + 2u * part)};
}

bool fqt_update_due(const struct fqt_net *net)
{
    return net->in_batch == net->header->batch;
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
    if (tensor >= net->header->n_tensors || net->tensors[tensor].region >= FQT_MAX_REGIONS) {
        return NULL;
    }
    uint32_t bytes = net->tensors[tensor].bytes;
    if (offset > bytes || length > bytes - offset) {
        return NULL;
    }
    return fqt_tensor_read(net, tensor) + offset;
}
