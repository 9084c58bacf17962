/* Checking a model image and laying out its initial state. The image may be anything: whatever passes here
 * can't make the engine read or write outside the image and the regions, nor overflow an accumulator. */
#include "internal.h"

#define BOUND_INT32 0x7FFFFFFFull
#define LARGEST_PRODUCT (255ull * 255ull)       /* |w - z_w| * |x - z_x| */
#define LARGEST_ERROR_PRODUCT (255ull * 128ull) /* |w - z_w| * |e - 128| */
#define LARGEST_BIAS (1ull << 22)
#define CRC_START 16u

static bool inside(uint64_t offset, uint64_t bytes, uint64_t limit)
{
    return offset % 4u == 0 && offset <= limit && bytes <= limit - offset;
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
    if (!inside(h->tensors_offset, (uint64_t)h->n_tensors * sizeof(struct image_tensor), h->total_bytes) ||
        !inside(h->layers_offset, (uint64_t)h->n_layers * sizeof(struct image_layer), h->total_bytes) ||
        !inside(h->rates_offset, (uint64_t)h->n_rates * sizeof(struct image_rate), h->total_bytes)) {
        *detail = h->total_bytes;
        return FQT_BAD_LENGTH;
    }
    return FQT_OK;
}

/* The fields with a meaning that this engine may not know; the detail is the field's number in this list. */
static enum fqt_status check_features(const struct image_header *h, uint32_t *detail)
{
    const bool known[] = {
        h->configuration == 0, h->recipe == 0, h->optimizer == 0, h->rounding == 0, h->partial == 0,
        h->residual_bits == FQT_RESIDUAL_BITS, h->lambda_min == 1.0f && h->lambda_max == 1.0f,
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
    uint32_t arena = h->region_bytes[0];
    if (!inside(h->tensor_state_offset, (uint64_t)h->n_tensors * sizeof(struct fqt_tensor_state), arena) ||
        !inside(h->layer_state_offset, (uint64_t)h->n_layers * sizeof(struct fqt_layer_state), arena) ||
        h->n_slots < 1 || h->slot_stride % 4u != 0 ||
        !inside(h->slots_offset, (uint64_t)h->n_slots * h->slot_stride, arena) ||
        !inside(h->ring_offset, 2ull * h->ring_half_bytes, arena)) {
        *detail = arena;
        return FQT_BAD_IO;
    }
    return FQT_OK;
}

static bool finite_positive(float value)
{
    uint32_t exponent = fqt_float_bits(value) >> 23;
    return exponent > 0 && exponent < 255; /* sign bit clear, normal */
}

static bool tensor_good(const struct fqt_net *net, const struct image_tensor *t)
{
    static const uint8_t element_bytes[] = {1, 2, 4, 4};
    const struct image_header *h = net->header;
    if (t->dtype > IMAGE_F32 || t->bytes % element_bytes[t->dtype] != 0) {
        return false;
    }
    if (t->dtype == IMAGE_U8 && (t->zero_point < 0 || t->zero_point > 255 || !finite_positive(t->scale))) {
        return false;
    }
    if (t->init_offset != 0 && !inside(t->init_offset, t->bytes, h->total_bytes)) {
        return false;
    }
    if ((t->flags & IMAGE_TRAINED_STATE) != 0 && t->region >= FQT_MAX_REGIONS) {
        return false; /* the checksum reads trained tensors, also while there is no sample */
    }
    if (t->region == IMAGE_REGION_SAMPLE) {
        return t->dtype == IMAGE_U8 && t->bytes <= h->sample_bytes;
    }
    if (t->region == IMAGE_REGION_IN_IMAGE) {
        return t->init_offset != 0;
    }
    return t->region < h->n_regions && inside(t->offset, t->bytes, h->region_bytes[t->region]);
}

static bool in_arena(const struct fqt_net *net, uint32_t tensor, uint8_t dtype, uint64_t bytes)
{
    return tensor < net->header->n_tensors && net->tensors[tensor].region < FQT_MAX_REGIONS &&
           net->tensors[tensor].dtype == dtype && net->tensors[tensor].bytes >= bytes;
}

/* Shape and size of a map agree; the map is readable. */
static bool map_good(const struct fqt_net *net, uint32_t tensor, uint8_t dtype)
{
    if (tensor >= net->header->n_tensors) {
        return false;
    }
    const struct image_tensor *t = &net->tensors[tensor];
    uint64_t count = (uint64_t)t->h * t->w * t->c;
    return count > 0 && t->dtype == dtype && t->region != IMAGE_REGION_IN_IMAGE &&
           t->bytes == count * (dtype == IMAGE_U8 ? 1u : 4u);
}

static bool weights_good(const struct fqt_net *net, const struct image_layer *layer)
{
    if (layer->weights >= net->header->n_tensors) {
        return false;
    }
    const struct image_tensor *weights = &net->tensors[layer->weights];
    struct fqt_geometry g = fqt_geometry_of(net, layer);
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    uint64_t used = layer->type == IMAGE_CONV2D ? (uint64_t)g.kernel_h * g.kernel_w * g.c : fqt_count(in);
    uint64_t windows = (uint64_t)g.out_h * g.out_w;
    uint64_t reach = (uint64_t)g.filters * g.kernel_h * g.kernel_w;
    uint64_t stored = (uint64_t)g.filters * g.stored;
    return g.filters >= 1 && used == g.taps && g.stored >= g.taps && g.stored % 4u == 0 && out->c == g.filters &&
           (layer->type == IMAGE_CONV2D || (uint64_t)out->h * out->w == 1u) &&
           g.kernel_h >= 1 && g.kernel_w >= 1 && g.stride_h >= 1 && g.stride_w >= 1 &&
           g.pad_top < g.kernel_h && g.pad_left < g.kernel_w &&
           (uint64_t)(g.out_h - 1u) * g.stride_h < g.h + g.pad_top &&
           (uint64_t)(g.out_w - 1u) * g.stride_w < g.w + g.pad_left &&
           in_arena(net, layer->weights, IMAGE_U8, stored) && weights->bytes == stored &&
           in_arena(net, layer->plane, IMAGE_I16, 2u * stored) &&
           in_arena(net, layer->bias, IMAGE_F32, 12ull * g.filters) &&
           (weights->flags & net->tensors[layer->plane].flags & net->tensors[layer->bias].flags &
            IMAGE_TRAINED_STATE) != 0 &&
           net->tensors[layer->bias].bytes == 12ull * g.filters &&
           in_arena(net, layer->scratch, IMAGE_I32, fqt_scratch_bytes(&g)) && layer->scratch != layer->out &&
           g.taps * LARGEST_PRODUCT + LARGEST_BIAS <= BOUND_INT32 &&
           windows * LARGEST_ERROR_PRODUCT <= BOUND_INT32 && reach * LARGEST_ERROR_PRODUCT <= BOUND_INT32 &&
           layer->gradient_exponent >= -100 && layer->gradient_exponent <= 100 && layer->error_ratio >= 0.0f &&
           fqt_float_bits(layer->error_ratio) < 0x7F800000u;
}

static bool pool_good(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    return layer->kernel_h >= 1 && layer->kernel_w >= 1 && layer->stride_h >= layer->kernel_h &&
           layer->stride_w >= layer->kernel_w && out->c == in->c &&
           (out->h - 1u) * layer->stride_h + layer->kernel_h <= in->h &&
           (out->w - 1u) * layer->stride_w + layer->kernel_w <= in->w;
}

static bool errors_good(const struct fqt_net *net, const struct image_layer *layer, bool head)
{
    if (layer->error_in != IMAGE_NONE &&
        (!map_good(net, layer->error_in, IMAGE_U8) || net->tensors[layer->error_in].region >= FQT_MAX_REGIONS ||
         net->tensors[layer->error_in].zero_point != FQT_ERROR_ZERO ||
         fqt_count(&net->tensors[layer->error_in]) != fqt_count(&net->tensors[layer->in]))) {
        return false;
    }
    if (head) {
        return true;
    }
    bool needed = layer->error_in != IMAGE_NONE || fqt_has_weights(layer);
    if (layer->error_out == IMAGE_NONE) {
        return !needed;
    }
    return map_good(net, layer->error_out, IMAGE_U8) &&
           net->tensors[layer->error_out].region < FQT_MAX_REGIONS &&
           fqt_count(&net->tensors[layer->error_out]) == fqt_count(&net->tensors[layer->out]);
}

/* Layers form a chain: each reads what the one before wrote, forward and backward. */
static bool chained(const struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    if (index == 0) {
        return net->tensors[layer->in].region == IMAGE_REGION_SAMPLE && layer->error_in == IMAGE_NONE &&
               net->tensors[layer->in].bytes == net->header->sample_bytes;
    }
    return layer->in == net->layers[index - 1u].out && layer->error_in == net->layers[index - 1u].error_out;
}

static bool layer_good(const struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    bool head = layer->type == IMAGE_SOFTMAX_CROSS_ENTROPY;
    bool last = index + 1u == net->header->n_layers;
    if (layer->in >= net->header->n_tensors || head != last || !chained(net, index)) {
        return false;
    }
    if (head) {
        return map_good(net, layer->in, IMAGE_I32) && net->tensors[layer->in].region < FQT_MAX_REGIONS &&
               fqt_count(&net->tensors[layer->in]) == net->header->n_classes && errors_good(net, layer, true);
    }
    bool before_head = net->layers[index + 1u].type == IMAGE_SOFTMAX_CROSS_ENTROPY;
    if (!map_good(net, layer->in, IMAGE_U8) || !map_good(net, layer->out, before_head ? IMAGE_I32 : IMAGE_U8) ||
        (before_head && !fqt_has_weights(layer)) || !errors_good(net, layer, false)) {
        return false;
    }
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    if (layer->type != IMAGE_FLATTEN && out->region >= FQT_MAX_REGIONS) {
        return false;
    }
    switch (layer->type) {
    case IMAGE_CONV2D:
    case IMAGE_FULLY_CONNECTED:
        return weights_good(net, layer);
    case IMAGE_MAX_POOL:
        return pool_good(net, layer);
    case IMAGE_GLOBAL_AVERAGE_POOL:
        return fqt_count(out) == in->c && (uint64_t)in->h * in->w * 512u <= BOUND_INT32;
    default: /* IMAGE_FLATTEN: one memory under two names */
        return fqt_count(out) == fqt_count(in) && out->region == in->region && out->offset == in->offset &&
               (layer->error_in == IMAGE_NONE ||
                net->tensors[layer->error_in].offset == net->tensors[layer->error_out].offset);
    }
}

static bool apart(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a + a_bytes <= b || b + b_bytes <= a;
}

/* Whether bytes [offset, offset+bytes) of a region belong to no tensor but `owner`. */
static bool exclusive(const struct fqt_net *net, uint32_t region, uint64_t offset, uint64_t bytes, uint32_t owner)
{
    for (uint32_t i = 0; i < net->header->n_tensors; i++) {
        const struct image_tensor *t = &net->tensors[i];
        if (i != owner && t->region == region && !apart(offset, bytes, t->offset, t->bytes)) {
            return false;
        }
    }
    return true;
}

/* What lives as long as the network shares its bytes with nothing: states, buffers, trained tensors, scratch. */
static bool state_exclusive(const struct fqt_net *net, uint32_t *detail)
{
    const struct image_header *h = net->header;
    const uint64_t blocks[][2] = {
        {h->tensor_state_offset, (uint64_t)h->n_tensors * sizeof(struct fqt_tensor_state)},
        {h->layer_state_offset, (uint64_t)h->n_layers * sizeof(struct fqt_layer_state)},
        {h->slots_offset, (uint64_t)h->n_slots * h->slot_stride},
        {h->ring_offset, 2ull * h->ring_half_bytes},
    };
    for (uint32_t i = 0; i < 4; i++) {
        *detail = IMAGE_NONE;
        if (!exclusive(net, 0, blocks[i][0], blocks[i][1], IMAGE_NONE)) {
            return false;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (!apart(blocks[i][0], blocks[i][1], blocks[j][0], blocks[j][1])) {
                return false;
            }
        }
    }
    for (uint32_t i = 0; i < h->n_tensors; i++) {
        const struct image_tensor *t = &net->tensors[i];
        bool scratch = false;
        for (uint32_t j = 0; j < h->n_layers; j++) {
            scratch |= fqt_has_weights(&net->layers[j]) && net->layers[j].scratch == i;
        }
        *detail = i;
        if (t->region < FQT_MAX_REGIONS && (scratch || (t->flags & IMAGE_TRAINED_STATE) != 0) &&
            !exclusive(net, t->region, t->offset, t->bytes, i)) {
            return false;
        }
    }
    return true;
}

static enum fqt_status check_tables(const struct fqt_net *net, uint32_t *detail)
{
    const struct image_header *h = net->header;
    for (uint32_t i = 0; i < h->n_tensors; i++) {
        *detail = i;
        if (!tensor_good(net, &net->tensors[i])) {
            return FQT_BAD_TENSOR;
        }
    }
    for (uint32_t i = 0; i < h->n_layers; i++) {
        uint8_t type = net->layers[i].type;
        *detail = i << 16 | type;
        if (type < IMAGE_CONV2D || type > IMAGE_SOFTMAX_CROSS_ENTROPY) {
            return FQT_UNKNOWN_LAYER;
        }
        *detail = i;
        if (!layer_good(net, i)) {
            return FQT_BAD_LAYER;
        }
    }
    if (!state_exclusive(net, detail)) {
        return FQT_BAD_TENSOR;
    }
    return FQT_OK;
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
            net->layers[i].error_ratio, net->layers[i].gradient_exponent, FQT_ACC_MIN_UNSET, FQT_ACC_MAX_UNSET};
    }
    for (uint32_t i = 0; i < h->n_layers; i++) {
        if (fqt_has_weights(&net->layers[i])) {
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
    status = check_tables(net, detail);
    if (status == FQT_OK) {
        *detail = 0;
        initialize(net);
    }
    return status;
}
