/* libFuzzer target: any bytes as a model image. What the loader accepts must train without a finding of the sanitizers.
 * Magic, version, length and CRC are put right, so that the fuzzer gets past them. */
#include <stdlib.h>
#include <string.h>

#include "fqt.h"

#define CRC_START 16u
#define MOST_BYTES (1u << 18)      /* of an image, a region, a sample */
#define MOST_WORK 500000ull        /* multiply-accumulates of a forward pass that is worth the fuzzer's time */
#define SAMPLES 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_right(uint8_t *image, uint32_t bytes)
{
    struct image_header *header = (struct image_header *)(void *)image;
    header->magic = IMAGE_MAGIC;
    header->version = IMAGE_VERSION;
    header->header_bytes = sizeof *header;
    header->total_bytes = bytes;
    header->arith_id = FQT_ARITH_ID;
    header->crc32 = fqt_crc32(0, image + CRC_START, bytes - CRC_START);
}

/* An upper bound of the work of one pass over all layers. */
static uint64_t work_of(const struct fqt_net *net)
{
    uint64_t work = 0;
    for (uint32_t i = 0; i < net->header->n_layers; i++) {
        const struct image_layer *layer = &net->layers[i];
        const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
        uint64_t maps = (uint64_t)in->h * in->w * in->c + 4ull * out->h * out->w * out->c;
        uint64_t taps = layer->weights < net->header->n_tensors ? net->tensors[layer->weights].w : 1u;
        work += maps * (taps + (uint64_t)layer->kernel_h * layer->kernel_w);
    }
    return work;
}

static void train(struct fqt_net *net)
{
    uint8_t *sample = calloc(1, net->header->sample_bytes);
    for (uint32_t i = 0; i < SAMPLES; i++) {
        memset(sample, (int)(i * 101u), net->header->sample_bytes);
        fqt_forward(net, sample, i % net->header->n_classes, true);
        fqt_backward(net);
        if (fqt_update_due(net)) {
            fqt_update(net);
        }
    }
    fqt_update(net);
    fqt_checksum(net);
    free(sample);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t bytes = (uint32_t)size & ~3u;
    if (bytes < sizeof(struct image_header) || bytes > MOST_BYTES) {
        return 0;
    }
    uint8_t *image = malloc(bytes);
    memcpy(image, data, bytes);
    put_right(image, bytes);
    const struct image_header *header = (const struct image_header *)(const void *)image;
    struct fqt_region regions[FQT_MAX_REGIONS] = {{0}};
    for (uint32_t i = 0; i < FQT_MAX_REGIONS; i++) {
        regions[i].bytes = header->region_bytes[i] < MOST_BYTES ? header->region_bytes[i] : MOST_BYTES;
        regions[i].base = calloc(1, regions[i].bytes);
    }
    struct fqt_net net;
    uint32_t detail;
    if (fqt_load(&net, image, bytes, regions, FQT_MAX_REGIONS, &detail) == FQT_OK &&
        header->sample_bytes <= MOST_BYTES && work_of(&net) <= MOST_WORK) {
        train(&net);
    }
    for (uint32_t i = 0; i < FQT_MAX_REGIONS; i++) {
        free(regions[i].base);
    }
    free(image);
    return 0;
}
