#include "check.h"

#define BOUND_INT32 0x7FFFFFFFu
#define LARGEST_PRODUCT (255u * 255u)       /* |w - z_w| * |x - z_x| */
#define LARGEST_ERROR_PRODUCT (255u * 128u) /* |w - z_w| * |e - 128| */
#define LARGEST_BIAS (1u << 22)

static const uint8_t element_bytes[] = {[IMAGE_U8] = 1, [IMAGE_I16] = 2, [IMAGE_I32] = 4, [IMAGE_F32] = 4, [IMAGE_I8] = 1};

/* --- tensors ------------------------------------------------------------------------------------------ */

static bool finite_positive(float value)
{
    uint32_t exponent = fqt_float_bits(value) >> 23;
    return exponent > 0 && exponent < 255; /* sign bit clear, normal */
}

static bool tensor_good(const struct fqt_net *net, const struct image_tensor *t)
{
    const struct image_header *h = net->header;
    if (t->dtype > IMAGE_I8 || t->bytes % element_bytes[t->dtype] != 0) {
        return false;
    }
    if (t->dtype == IMAGE_I32 && !finite_positive(t->scale)) {
        return false;
    }
    if (t->dtype == IMAGE_U8 && (t->zero_point < 0 || t->zero_point > 255 || !finite_positive(t->scale))) {
        return false;
    }
    if (t->init_offset != 0 && !fqt_inside(t->init_offset, t->bytes, h->total_bytes)) {
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
    return t->region < h->n_regions && fqt_inside(t->offset, t->bytes, h->region_bytes[t->region]);
}

/* A tensor of at least `count` elements of `dtype`. */
static bool holds(const struct fqt_net *net, uint32_t tensor, uint8_t dtype, uint32_t count)
{
    return tensor < net->header->n_tensors && net->tensors[tensor].dtype == dtype &&
           net->tensors[tensor].bytes / element_bytes[dtype] >= count;
}

/* As above, in an arena. */
static bool in_arena(const struct fqt_net *net, uint32_t tensor, uint8_t dtype, uint32_t count)
{
    return holds(net, tensor, dtype, count) && net->tensors[tensor].region < FQT_MAX_REGIONS;
}

/* As above, of the trained state. */
static bool lasting(const struct fqt_net *net, uint32_t tensor, uint8_t dtype, uint32_t count)
{
    return in_arena(net, tensor, dtype, count) && (net->tensors[tensor].flags & IMAGE_TRAINED_STATE) != 0;
}

/* As above, or a constant that stays in the image. */
static bool readable(const struct fqt_net *net, uint32_t tensor, uint8_t dtype, uint32_t count)
{
    return holds(net, tensor, dtype, count) &&
           (net->tensors[tensor].region == IMAGE_REGION_IN_IMAGE || lasting(net, tensor, dtype, count));
}

/* Shape and size of a map agree. */
static bool map_good(const struct fqt_net *net, uint32_t tensor, uint8_t dtype)
{
    if (tensor >= net->header->n_tensors) {
        return false;
    }
    const struct image_tensor *t = &net->tensors[tensor];
    uint64_t count = (uint64_t)t->h * t->w * t->c;
    return count > 0 && t->dtype == dtype && t->region != IMAGE_REGION_IN_IMAGE &&
           (t->flags & IMAGE_TRAINED_STATE) == 0 && t->bytes == count * element_bytes[dtype];
}

static bool writable_map(const struct fqt_net *net, uint32_t tensor, uint8_t dtype)
{
    return map_good(net, tensor, dtype) && net->tensors[tensor].region < FQT_MAX_REGIONS;
}

static bool same_shape(const struct fqt_net *net, uint32_t a, uint32_t b)
{
    const struct image_tensor *s = &net->tensors[a], *t = &net->tensors[b];
    return s->h == t->h && s->w == t->w && s->c == t->c;
}

/* An error tensor of the activation `of`: as many elements, of `dtype`. */
static bool error_good(const struct fqt_net *net, uint32_t error, uint32_t of, uint8_t dtype)
{
    return writable_map(net, error, dtype) && fqt_count(&net->tensors[error]) == fqt_count(&net->tensors[of]) &&
           (dtype != IMAGE_U8 || net->tensors[error].zero_point == FQT_ERROR_ZERO);
}

static bool optional_error_good(const struct fqt_net *net, uint32_t error, uint32_t of, uint8_t dtype)
{
    return error == IMAGE_NONE || error_good(net, error, of, dtype);
}

/* --- layers with weights ------------------------------------------------------------------------------ */

/* Along one axis: every window, `out` of them, begins on the map or in the padding before it. */
static bool axis_good(uint32_t kernel, uint32_t stride, uint32_t pad, uint32_t out, uint32_t size)
{
    return kernel >= 1u && stride >= 1u && pad < kernel && (uint64_t)(out - 1u) * stride < size + pad;
}

static bool geometry_good(const struct fqt_net *net, const struct image_layer *layer, const struct fqt_geometry *g)
{
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    if (layer->type == IMAGE_FULLY_CONNECTED) {
        return out->h == 1u && out->w == 1u && fqt_count(in) == g->taps && layer->argmax == IMAGE_NONE;
    }
    return in->c % layer->groups == 0 && out->c % layer->groups == 0 &&
           (uint64_t)g->kernel_h * g->kernel_w * g->group_channels == g->taps &&
           axis_good(g->kernel_h, g->stride_h, g->pad_top, g->out_h, g->h) &&
           axis_good(g->kernel_w, g->stride_w, g->pad_left, g->out_w, g->w);
}

/* Of a geometry that is good: neither its taps nor its filters need more than 16 bits. */
static bool bounds_good(const struct fqt_geometry *g, uint32_t outputs)
{
    return g->taps <= (BOUND_INT32 - LARGEST_BIAS) / LARGEST_PRODUCT &&
           (uint64_t)g->out_h * g->out_w <= BOUND_INT32 / LARGEST_ERROR_PRODUCT &&
           g->group_filters * g->kernel_h * g->kernel_w <= BOUND_INT32 / LARGEST_ERROR_PRODUCT &&
           outputs <= BOUND_INT32 / 128u;
}

static bool argmax_good(const struct fqt_net *net, const struct image_layer *layer, uint32_t outputs)
{
    return layer->argmax == IMAGE_NONE || (in_arena(net, layer->argmax, IMAGE_U8, (outputs + 3u) / 4u) &&
                                           net->tensors[layer->out].dtype == IMAGE_U8);
}

/* Folded biases that are computed are clamped; those that come with the image must be small as well. */
static bool folded_bias_good(const struct fqt_net *net, uint32_t tensor, uint32_t filters)
{
    if (!readable(net, tensor, IMAGE_I32, filters)) {
        return false;
    }
    const struct image_tensor *t = &net->tensors[tensor];
    if (t->region != IMAGE_REGION_IN_IMAGE) {
        return true;
    }
    for (uint32_t f = 0; f < filters; f++) {
        int32_t bias;
        memcpy(&bias, net->image + t->init_offset + 4u * f, sizeof bias);
        if (bias > (int32_t)LARGEST_BIAS || bias < -(int32_t)LARGEST_BIAS) {
            return false;
        }
    }
    return true;
}

/* Both lie in a region, so neither sum overflows. */
static bool apart(uint32_t a, uint32_t a_bytes, uint32_t b, uint32_t b_bytes)
{
    return a + a_bytes <= b || b + b_bytes <= a;
}

/* Kernels keep pointers in the scratch: nothing that they write for the layer may lie there. Other layers' maps may, and
 * what else a layer has, state_exclusive keeps apart from everything. */
static bool scratch_good(const struct fqt_net *net, const struct image_layer *layer, uint64_t bytes)
{
    const uint16_t others[] = {layer->in, layer->out, layer->error_in, layer->error_out, layer->argmax};
    if (!in_arena(net, layer->scratch, IMAGE_I32, 0) || bytes > net->tensors[layer->scratch].bytes) {
        return false;
    }
    const struct image_tensor *scratch = &net->tensors[layer->scratch];
    for (uint32_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const struct image_tensor *t = others[i] < net->header->n_tensors ? &net->tensors[others[i]] : scratch;
        if (t != scratch && t->region == scratch->region &&
            !apart(scratch->offset, scratch->bytes, t->offset, t->bytes)) {
            return false;
        }
    }
    return true;
}

static bool integer_weights_good(const struct fqt_net *net, const struct image_layer *layer,
                                 const struct fqt_geometry *g)
{
    bool trained = (layer->flags & IMAGE_FLAG_TRAINED) != 0;
    uint32_t stored = g->filters * g->stored, outputs = fqt_count(&net->tensors[layer->out]);
    uint8_t plane = layer->plane < net->header->n_tensors ? net->tensors[layer->plane].dtype : (uint8_t)IMAGE_I8;
    bool at_once = plane == IMAGE_I8;
    if (g->stored % 4u != 0 || !folded_bias_good(net, layer->bias_folded, g->filters) || !bounds_good(g, outputs) ||
        !argmax_good(net, layer, outputs) ||
        !scratch_good(net, layer, fqt_scratch_bytes(g, trained, layer->error_in != IMAGE_NONE))) {
        return false;
    }
    if (!trained) {
        return layer->plane == IMAGE_NONE && layer->velocity == IMAGE_NONE;
    }
    uint8_t velocity = plane == IMAGE_F32 ? (uint8_t)IMAGE_F32 : (uint8_t)IMAGE_I16;
    bool rounded = net->header->rounding != IMAGE_RESIDUAL;
    bool plane_good = layer->plane == IMAGE_NONE
                          ? rounded
                          : lasting(net, layer->plane, plane, stored) &&
                                plane != IMAGE_U8 && plane != IMAGE_I32;
    return plane_good && (!at_once || net->header->batch == 1) && !(rounded && layer->plane != IMAGE_NONE && at_once) &&
           (!at_once || net->header->normalization != IMAGE_STANDARDIZE) &&
           (plane == IMAGE_F32 || net->header->weight_ranges != IMAGE_WEIGHTS_DYNAMIC) &&
           (layer->velocity != IMAGE_NONE) == (net->header->momentum > 0.0f) &&
           (layer->velocity == IMAGE_NONE ||
            lasting(net, layer->velocity, velocity, stored));
}

static bool float_weights_good(const struct fqt_net *net, const struct image_layer *layer,
                               const struct fqt_geometry *g)
{
    uint32_t stored = g->filters * g->stored;
    bool trained = (layer->flags & IMAGE_FLAG_TRAINED) != 0, velocity = net->header->momentum > 0.0f;
    return layer->argmax == IMAGE_NONE &&
           (trained ? lasting(net, layer->plane, IMAGE_F32, stored) : layer->plane == IMAGE_NONE) &&
           (trained && velocity ? lasting(net, layer->velocity, IMAGE_F32, stored) : layer->velocity == IMAGE_NONE);
}

/* A uint8 layer whose folded bias is constant needs no other. */
static bool bias_good(const struct fqt_net *net, const struct image_layer *layer, uint32_t filters, bool is_float)
{
    if (!fqt_is_trained(layer)) {
        bool constant = !is_float && layer->bias_folded < net->header->n_tensors &&
                        net->tensors[layer->bias_folded].region == IMAGE_REGION_IN_IMAGE;
        return constant ? layer->bias == IMAGE_NONE : readable(net, layer->bias, IMAGE_F32, filters);
    }
    uint32_t rows = net->header->momentum > 0.0f ? 2u : 1u;
    uint32_t each = net->header->partial == IMAGE_SAMPLED ? 10u : 6u; /* bytes: importance, key, place in the list */
    bool listed = net->header->partial == IMAGE_FULL ||
                  in_arena(net, layer->selection, IMAGE_I32, (each * filters + 3u) / 4u);
    return listed && lasting(net, layer->bias, IMAGE_F32, filters) &&
           lasting(net, layer->bias_step, IMAGE_F32, rows * filters);
}

static bool weighted_good(const struct fqt_net *net, const struct image_layer *layer, uint8_t in_type, uint8_t out_type)
{
    if (layer->weights >= net->header->n_tensors || (layer->type == IMAGE_CONVOLUTION && layer->groups < 1)) {
        return false;
    }
    const struct image_tensor *weights = &net->tensors[layer->weights];
    struct fqt_geometry g = fqt_geometry_of(net, layer);
    bool is_float = weights->dtype == IMAGE_F32, trained = (layer->flags & IMAGE_FLAG_TRAINED) != 0;
    uint8_t type = is_float ? (uint8_t)IMAGE_F32 : (uint8_t)IMAGE_U8;
    uint32_t stored = g.filters * g.stored; /* 16 bits each */
    return g.filters >= 1 && g.taps >= 1 && g.stored >= g.taps && net->tensors[layer->out].c == g.filters &&
           weights->bytes == (uint64_t)stored * element_bytes[type] && readable(net, layer->weights, type, stored) &&
           (!trained || weights->region < FQT_MAX_REGIONS) && in_type == type && is_float == (out_type == IMAGE_F32) &&
           (!trained || (layer->flags & IMAGE_FLAG_BIAS_TRAINED) != 0) && geometry_good(net, layer, &g) &&
           bias_good(net, layer, g.filters, is_float) &&
           (is_float ? float_weights_good(net, layer, &g) : integer_weights_good(net, layer, &g)) &&
           optional_error_good(net, layer->error_in, layer->in, type) &&
           (layer->error_out == IMAGE_NONE ? layer->error_in == IMAGE_NONE && !fqt_is_trained(layer)
                                           : error_good(net, layer->error_out, layer->out, type));
}

/* --- layers without weights --------------------------------------------------------------------------- */

static bool pool_good(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    return layer->kernel_h >= 1 && layer->kernel_w >= 1 && out->c == in->c &&
           (uint32_t)out->h * layer->kernel_h <= in->h && (uint32_t)out->w * layer->kernel_w <= in->w &&
           (uint32_t)layer->kernel_h * layer->kernel_w <= BOUND_INT32 / 512u;
}

/* A flattened tensor is one memory under two names. */
static bool flatten_good(const struct fqt_net *net, const struct image_layer *layer)
{
    const struct image_tensor *in = &net->tensors[layer->in], *out = &net->tensors[layer->out];
    bool same = fqt_count(out) == fqt_count(in) && out->region == in->region && out->offset == in->offset;
    if (layer->error_in == IMAGE_NONE) {
        return same;
    }
    const struct image_tensor *error_in = &net->tensors[layer->error_in], *error_out = &net->tensors[layer->error_out];
    return same && error_in->offset == error_out->offset && error_in->region == error_out->region;
}

static bool map_layer_good(const struct fqt_net *net, const struct image_layer *layer, uint8_t in_type, uint8_t out_type)
{
    bool backward = layer->error_in != IMAGE_NONE;
    if (backward && (!error_good(net, layer->error_in, layer->in, in_type) ||
                     !error_good(net, layer->error_out, layer->out, out_type))) {
        return false;
    }
    if ((layer->type == IMAGE_DEQUANTIZE) != (in_type != out_type)) {
        return false;
    }
    switch (layer->type) {
    case IMAGE_MAX_POOL:
    case IMAGE_AVERAGE_POOL:
        return pool_good(net, layer);
    case IMAGE_FLATTEN:
        return flatten_good(net, layer);
    case IMAGE_DEQUANTIZE:
        return in_type == IMAGE_U8 && same_shape(net, layer->in, layer->out);
    case IMAGE_ADD:
        return same_shape(net, layer->in, layer->out) && map_good(net, layer->other, in_type) &&
               same_shape(net, layer->other, layer->out) &&
               (layer->error_other == IMAGE_NONE ||
                (backward && error_good(net, layer->error_other, layer->other, in_type)));
    default: /* IMAGE_FORK */
        return layer->out == layer->in && (!backward || error_good(net, layer->error_other, layer->in, in_type));
    }
}

/* --- the chain ---------------------------------------------------------------------------------------- */

/* Whether a layer before `index` writes the activation, or it is the sample. */
static bool written_before(const struct fqt_net *net, uint32_t index, uint32_t tensor)
{
    if (net->tensors[tensor].region == IMAGE_REGION_SAMPLE) {
        return net->tensors[tensor].bytes == net->header->sample_bytes;
    }
    for (uint32_t i = 0; i < index; i++) {
        if (net->layers[i].out == tensor) {
            return true;
        }
    }
    return false;
}

static bool head_good(const struct fqt_net *net, const struct image_layer *layer)
{
    uint8_t type = net->tensors[layer->in].dtype;
    uint8_t error_type = type == IMAGE_F32 ? (uint8_t)IMAGE_F32 : (uint8_t)IMAGE_U8;
    return (type == IMAGE_I32 || type == IMAGE_F32) && writable_map(net, layer->in, type) &&
           layer->out == layer->in && fqt_count(&net->tensors[layer->in]) == net->header->n_classes &&
           optional_error_good(net, layer->error_in, layer->in, error_type);
}

static bool layer_good(const struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    bool head = layer->type == IMAGE_SOFTMAX_CROSS_ENTROPY, last = index + 1u == net->header->n_layers;
    uint32_t n = net->header->n_tensors;
    if (layer->in >= n || layer->out >= n || head != last || !written_before(net, index, layer->in) ||
        !(layer->error_ratio >= 0.0f) || fqt_float_bits(layer->error_ratio) >= 0x7F800000u ||
        layer->gradient_exponent < -100 || layer->gradient_exponent > 100) {
        return false;
    }
    if (head) {
        return head_good(net, layer);
    }
    uint8_t in_type = net->tensors[layer->in].dtype, out_type = net->tensors[layer->out].dtype;
    bool before_head = net->layers[index + 1u].type == IMAGE_SOFTMAX_CROSS_ENTROPY;
    bool types = (in_type == IMAGE_U8 || in_type == IMAGE_F32) &&
                 (out_type == IMAGE_F32 || out_type == (before_head ? IMAGE_I32 : IMAGE_U8));
    if (!types || !map_good(net, layer->in, in_type) || !map_good(net, layer->out, out_type) ||
        (before_head && !fqt_has_weights(layer)) ||
        (layer->type == IMAGE_ADD && (layer->other >= n || !written_before(net, index, layer->other)))) {
        return false;
    }
    if (layer->type != IMAGE_FLATTEN && layer->type != IMAGE_FORK && net->tensors[layer->out].region >= FQT_MAX_REGIONS) {
        return false;
    }
    if ((layer->flags & IMAGE_FLAG_TRACKED) != 0 && !fqt_has_range(net, layer)) {
        return false;
    }
    return fqt_has_weights(layer) ? weighted_good(net, layer, in_type, out_type)
                                  : map_layer_good(net, layer, in_type, out_type);
}

/* --- what lasts --------------------------------------------------------------------------------------- */

/* Whether bytes [offset, offset+bytes) of a region belong to no tensor but `owner`. */
static bool exclusive(const struct fqt_net *net, uint32_t region, uint32_t offset, uint32_t bytes, uint32_t owner)
{
    for (uint32_t i = 0; i < net->header->n_tensors; i++) {
        const struct image_tensor *t = &net->tensors[i];
        if (i != owner && t->region == region && !apart(offset, bytes, t->offset, t->bytes)) {
            return false;
        }
    }
    return true;
}

/* Of a layer's fields, halfwords, those that name a tensor; `scratch` and `selection` come next. */
#define FIRST_TENSOR (offsetof(struct image_layer, in) / sizeof(uint16_t))
#define END_OF_TENSORS (offsetof(struct image_layer, scratch) / sizeof(uint16_t))

/* What layers use a tensor as, a bit each. */
enum { IS_SCRATCH = 1, IS_SELECTION = 2, HAS_ANOTHER_ROLE = 4 };

static uint32_t roles_of(const struct fqt_net *net, uint32_t tensor)
{
    uint32_t roles = 0;
    for (uint32_t i = 0; i < net->header->n_layers; i++) {
        const struct image_layer *l = &net->layers[i];
        const uint16_t *fields = (const uint16_t *)(const void *)l;
        for (uint32_t j = FIRST_TENSOR; j < END_OF_TENSORS; j++) {
            roles |= fields[j] == tensor ? HAS_ANOTHER_ROLE : 0u;
        }
        roles |= (l->scratch == tensor ? IS_SCRATCH : 0u) | (l->selection == tensor ? IS_SELECTION : 0u);
    }
    return roles;
}

/* What lives as long as the network shares its bytes with nothing: states, buffers, trained tensors, selection. */
static bool state_exclusive(const struct fqt_net *net, uint32_t *detail)
{
    struct fqt_block blocks[FQT_BLOCKS];
    fqt_blocks_of(net->header, blocks);
    *detail = IMAGE_NONE;
    for (uint32_t i = 0; i < FQT_BLOCKS; i++) {
        const uint32_t bytes = (uint32_t)blocks[i].bytes; /* it lies in region 0 */
        if (!exclusive(net, 0, blocks[i].offset, bytes, IMAGE_NONE)) {
            return false;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (!apart(blocks[i].offset, bytes, blocks[j].offset, (uint32_t)blocks[j].bytes)) {
                return false;
            }
        }
    }
    for (uint32_t i = 0; i < net->header->n_tensors; i++) {
        const struct image_tensor *t = &net->tensors[i];
        const uint32_t roles = roles_of(net, i);
        *detail = i;
        if ((roles & (IS_SCRATCH | IS_SELECTION)) != 0 && (roles & (roles - 1u)) != 0) {
            return false; /* what one layer writes there, another would read */
        }
        if (t->region < FQT_MAX_REGIONS && ((roles & IS_SELECTION) != 0 || (t->flags & IMAGE_TRAINED_STATE) != 0) &&
            !exclusive(net, t->region, t->offset, t->bytes, i)) {
            return false;
        }
    }
    return true;
}

enum fqt_status fqt_check_tables(const struct fqt_net *net, uint32_t *detail)
{
    const struct image_header *h = net->header;
    for (uint32_t i = 0; i < h->n_tensors; i++) {
        *detail = i;
        if (!tensor_good(net, &net->tensors[i])) {
            return FQT_BAD_TENSOR;
        }
    }
    for (uint32_t i = 0; i < h->n_layers; i++) {
        uint16_t type = net->layers[i].type;
        *detail = i << 16 | type;
        if (type < IMAGE_CONVOLUTION || type > IMAGE_DEQUANTIZE) {
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

