/* libFuzzer target: arbitrary bytes as a model image. What the loader accepts is trained.
 *
 * The fields that only say "this is an image" are set here, or no mutation would get past them: magic, version, sizes,
 * CRC. The batch is kept small, or no update would follow. The image and the arenas lie in blocks of exactly their sizes,
 * the image must be the same afterwards, and what is nobody's in an arena is poisoned for the address sanitizer: the
 * receiver's buffers, and the gaps between tensors. A plan has few gaps, so an odd seed doubles every offset: behind
 * each tensor there is then a gap of its size. (An even one leaves overlaps as they are.) */
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fqt.h"

#define CRC_START 16u
#define N_SAMPLES 5u
#define MAX_BATCH 4u
#define MAX_SAMPLE_BYTES 4096u
/* What one region may take, in bytes: with small inputs this bounds the work of a step, so that no input is slow. */
#define MAX_REGION_BYTES 32768u

#define ARENA_FILL 0xA5u

static void spread(uint8_t *image, uint32_t bytes)
{
    struct image_header *header = (struct image_header *)(void *)image;
    for (uint32_t i = 0; i < FQT_MAX_REGIONS; i++) {
        header->region_bytes[i] *= 2u;
    }
    header->tensor_state_offset *= 2u;
    header->layer_state_offset *= 2u;
    header->slots_offset *= 2u;
    header->ring_offset *= 2u;
    const uint64_t tensors_bytes = (uint64_t)header->n_tensors * sizeof(struct image_tensor);
    if (header->tensors_offset % 4u != 0 || header->tensors_offset < sizeof *header ||
        header->tensors_offset + tensors_bytes > bytes) {
        return;
    }
    struct image_tensor *tensors = (struct image_tensor *)(void *)(image + header->tensors_offset);
    for (uint32_t i = 0; i < header->n_tensors; i++) {
        tensors[i].offset *= 2u;
    }
}

static void make_plausible(uint8_t *image, uint32_t bytes)
{
    struct image_header *header = (struct image_header *)(void *)image;
    header->magic = IMAGE_MAGIC;
    header->version = IMAGE_VERSION;
    header->header_bytes = sizeof *header;
    header->total_bytes = bytes;
    header->arith_id = FQT_ARITH_ID;
    header->batch = (uint16_t)(1u + (header->batch - 1u) % MAX_BATCH);
    if ((header->seed & 1u) != 0) {
        spread(image, bytes);
    }
    header->crc32 = fqt_crc32(0, image + CRC_START, bytes - CRC_START);
}

static void train(struct fqt_net *net, uint32_t random)
{
    const uint32_t bytes = net->header->sample_bytes;
    if (bytes > MAX_SAMPLE_BYTES) {
        return;
    }
    uint8_t *sample = malloc(bytes);
    for (uint32_t step = 0; step < N_SAMPLES; step++) {
        for (uint32_t i = 0; i < bytes; i++) {
            random = random * 1664525u + 1013904223u; /* Numerical Recipes, 7.1 */
            sample[i] = (uint8_t)(random >> 24);
        }
        (void)fqt_forward(net, sample, random % net->header->n_classes, true);
        fqt_backward(net);
        if (fqt_update_due(net)) {
            fqt_update(net);
        }
        (void)fqt_checksum(net);
    }
    (void)fqt_forward(net, sample, 0, false);
    free(sample);
}

/* What a host may read of a network: every tensor that there is, and one that there isn't. */
static uint32_t read_all(const struct fqt_net *net)
{
    uint32_t crc = 0;
    for (uint32_t i = 0; i <= net->header->n_tensors; i++) {
        const uint32_t bytes = i < net->header->n_tensors ? net->tensors[i].bytes : 1u;
        const uint8_t *content = fqt_tensor_bytes(net, i, 0, bytes);
        if (content != NULL) {
            crc = fqt_crc32(crc, content, bytes);
        }
    }
    for (uint32_t i = 0; i <= fqt_n_trained(net); i++) {
        crc += fqt_structures_updated(net, i);
    }
    return crc;
}

static void promise(bool kept, const char *text)
{
    if (kept) {
        return;
    }
    fprintf(stderr, "broken promise: %s\n", text);
    abort();
}

/* Leave to the engine only what the image gives to its tensors and states. */
static void poison_the_rest(const struct fqt_net *net)
{
    const struct image_header *header = net->header;
    for (uint32_t i = 0; i < header->n_regions; i++) {
        ASAN_POISON_MEMORY_REGION(net->regions[i].base, net->regions[i].bytes);
    }
    ASAN_UNPOISON_MEMORY_REGION(net->tensor_state, header->n_tensors * sizeof *net->tensor_state);
    ASAN_UNPOISON_MEMORY_REGION(net->layer_state, header->n_layers * sizeof *net->layer_state);
    for (uint32_t i = 0; i < header->n_tensors; i++) {
        const struct image_tensor *tensor = &net->tensors[i];
        if (tensor->region < FQT_MAX_REGIONS) {
            ASAN_UNPOISON_MEMORY_REGION(net->regions[tensor->region].base + tensor->offset, tensor->bytes);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint32_t bytes = (uint32_t)size & ~3u;
    if (bytes < sizeof(struct image_header)) {
        return 0;
    }
    uint8_t *image = malloc(bytes);
    memcpy(image, data, bytes);
    make_plausible(image, bytes);

    struct fqt_region regions[FQT_MAX_REGIONS];
    const struct image_header *header = (const struct image_header *)(const void *)image;
    for (uint32_t i = 0; i < FQT_MAX_REGIONS; i++) {
        const uint32_t wanted = header->region_bytes[i];
        regions[i].bytes = wanted < MAX_REGION_BYTES ? wanted : MAX_REGION_BYTES;
        regions[i].base = malloc(regions[i].bytes);
        memset(regions[i].base, ARENA_FILL, regions[i].bytes);
    }
    struct fqt_net net;
    uint32_t detail;
    if (fqt_load(&net, image, bytes, regions, FQT_MAX_REGIONS, &detail) == FQT_OK) {
        poison_the_rest(&net);
        train(&net, header->seed);
        (void)read_all(&net);
    }
    promise(fqt_crc32(0, image + CRC_START, bytes - CRC_START) == header->crc32, "the image is not written");
    for (uint32_t i = 0; i < FQT_MAX_REGIONS; i++) {
        free(regions[i].base);
    }
    free(image);
    return 0;
}
