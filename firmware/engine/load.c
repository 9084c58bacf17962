/* Loading a model image: its header, its place in the regions, its initial state. check.c looks at the tables. */
#include "check.h"

#define CRC_START 16u

bool fqt_inside(uint32_t offset, uint64_t bytes, uint32_t limit)
{
    return offset % 4u == 0 && offset <= limit && bytes <= limit - offset;
}

void fqt_blocks_of(const struct image_header *h, struct fqt_block blocks[FQT_BLOCKS])
{
    blocks[0] = (struct fqt_block){h->tensor_state_offset, h->n_tensors * sizeof(struct fqt_tensor_state)};
    blocks[1] = (struct fqt_block){h->layer_state_offset, h->n_layers * sizeof(struct fqt_layer_state)};
    blocks[2] = (struct fqt_block){h->slots_offset, (uint64_t)h->n_slots * h->slot_stride};
    blocks[3] = (struct fqt_block){h->ring_offset, 2ull * h->ring_half_bytes};
}

static enum fqt_status check_header(struct fqt_net *net, uint32_t capacity, uint32_t *detail)
{
    const struct image_header *h = net->header;
    if (capacity < sizeof *h || h->magic != IMAGE_MAGIC) {
        return FQT_BAD_MAGIC;
    }
    *detail = h->version;
    if (h->version != IMAGE_VERSION || h->header_bytes != sizeof *h) {
        return FQT_BAD_VERSION;
    }
    *detail = h->arith_id;
    if (h->arith_id != FQT_ARITH_ID) {
        return FQT_BAD_ARITH;
    }
    *detail = h->total_bytes;
    if (h->total_bytes > capacity || h->total_bytes % 4u != 0 || h->total_bytes < sizeof *h) {
        return FQT_BAD_LENGTH;
    }
    *detail = fqt_crc32(0, net->image + CRC_START, h->total_bytes - CRC_START);
    if (*detail != h->crc32) {
        return FQT_BAD_CRC;
    }
    if (!fqt_inside(h->tensors_offset, h->n_tensors * sizeof(struct image_tensor), h->total_bytes) ||
        !fqt_inside(h->layers_offset, h->n_layers * sizeof(struct image_layer), h->total_bytes) ||
        !fqt_inside(h->rates_offset, h->n_rates * sizeof(struct image_rate), h->total_bytes)) {
        *detail = h->total_bytes;
        return FQT_BAD_LENGTH;
    }
    return FQT_OK;
}

/* The fields with a meaning that this engine may not know; the detail is the field's number in this list. */
static enum fqt_status check_features(const struct image_header *h, uint32_t *detail)
{
    const bool known[] = {
        h->configuration <= 2, h->recipe <= 1, h->normalization <= IMAGE_PLAIN, h->rounding <= IMAGE_NEAREST,
        h->partial <= IMAGE_SAMPLED, h->weight_ranges <= IMAGE_WEIGHTS_DYNAMIC,
        h->error_ranges <= IMAGE_ERRORS_TRACKED, h->lambda_min > 0.0f && h->lambda_min <= 1.0f,
        h->lambda_max >= h->lambda_min && h->lambda_max <= 1.0f, h->momentum >= 0.0f && h->momentum < 1.0f,
        h->batch >= 1, h->track_period >= 1, h->n_classes >= 1, h->n_rates >= 1, h->n_tensors >= 1,
        h->n_layers >= 1, h->n_regions >= 1 && h->n_regions <= FQT_MAX_REGIONS,
    };
    for (uint32_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!known[i]) {
            *detail = i;
            return FQT_UNKNOWN_FEATURE;
        }
    }
    return FQT_OK;
}

static enum fqt_status check_arena(const struct fqt_net *net, uint32_t n_regions, uint32_t *detail)
{
    const struct image_header *h = net->header;
    for (uint32_t i = 0; i < h->n_regions; i++) {
        uint32_t offered = i < n_regions ? net->regions[i].bytes : 0;
        if (h->region_bytes[i] > offered) {
            *detail = h->region_bytes[i] - offered;
            return FQT_ARENA_TOO_SMALL;
        }
    }
    struct fqt_block blocks[FQT_BLOCKS];
    fqt_blocks_of(h, blocks);
    bool good = h->n_slots >= 1 && h->slot_stride % 4u == 0;
    for (uint32_t i = 0; i < FQT_BLOCKS; i++) {
        good = good && fqt_inside(blocks[i].offset, blocks[i].bytes, h->region_bytes[0]);
    }
    *detail = good ? *detail : h->region_bytes[0];
    return good ? FQT_OK : FQT_BAD_IO;
}

static void initialize(struct fqt_net *net)
{
    const struct image_header *h = net->header;
    for (uint32_t i = 0; i < h->n_tensors; i++) {
        const struct image_tensor *t = &net->tensors[i];
        if (t->region < FQT_MAX_REGIONS && (t->flags & IMAGE_TRAINED_STATE) != 0) {
            uint8_t *content = fqt_tensor_write(net, i);
            if (t->init_offset != 0) {
                memcpy(content, net->image + t->init_offset, t->bytes);
            } else {
                memset(content, 0, t->bytes);
            }
        }
        float zero_point = (float)t->zero_point;
        net->tensor_state[i] = (struct fqt_tensor_state){
            t->scale, t->zero_point, t->scale * -zero_point, t->scale * (255.0f - zero_point)};
    }
    for (uint32_t i = 0; i < h->n_layers; i++) {
        net->layer_state[i] = (struct fqt_layer_state){
            net->layers[i].error_ratio, net->layers[i].gradient_exponent, FQT_ACC_MIN_UNSET, FQT_ACC_MAX_UNSET,
            0.0f, 0, 0};
    }
    for (uint32_t i = 0; i < h->n_layers; i++) {
        if (fqt_has_weights(&net->layers[i]) && !fqt_is_float(net, net->layers[i].weights)) {
            fqt_fold_bias(net, &net->layers[i]);
        }
    }
    net->step = 0;
    net->in_batch = 0;
}

enum fqt_status fqt_load(struct fqt_net *net, const uint8_t *image, uint32_t capacity,
                         const struct fqt_region *regions, uint32_t n_regions, uint32_t *detail)
{
    memset(net, 0, sizeof *net);
    *detail = 0;
    net->image = image;
    net->header = (const struct image_header *)(const void *)image;
    for (uint32_t i = 0; i < n_regions && i < FQT_MAX_REGIONS; i++) {
        net->regions[i] = regions[i];
    }
    enum fqt_status status = check_header(net, capacity, detail);
    if (status == FQT_OK) {
        status = check_features(net->header, detail);
    }
    if (status == FQT_OK) {
        status = check_arena(net, n_regions, detail);
    }
    if (status != FQT_OK) {
        return status;
    }
    const struct image_header *h = net->header;
    net->tensors = (const struct image_tensor *)(const void *)(image + h->tensors_offset);
    net->layers = (const struct image_layer *)(const void *)(image + h->layers_offset);
    net->tensor_state = (struct fqt_tensor_state *)(void *)(net->regions[0].base + h->tensor_state_offset);
    net->layer_state = (struct fqt_layer_state *)(void *)(net->regions[0].base + h->layer_state_offset);
    status = fqt_check_tables(net, detail);
    if (status == FQT_OK) {
        *detail = 0;
        initialize(net);
    }
    return status;
}
