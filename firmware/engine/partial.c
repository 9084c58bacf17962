/* Dynamic partial gradient updates: which structures (filters, rows) of a layer a sample updates. */
#include "internal.h"
#include "kernels/float32.h"
#include "kernels/importance.h"
#include "random.h"

#define DECAY (1.0f - 1.0f / 65536.0f) /* of the largest average error, per sample */
#define SELECTION_STREAM 0x8000u      /* keeps these random numbers apart from those of the rounding */

/* importance(F) = sum |e|: int32, or the bits of a float32 sum in window order: both compare as integers. */
static void weigh(const struct fqt_net *net, const struct image_layer *layer, uint32_t filters, uint32_t *importance)
{
    const void *error = fqt_tensor_read(net, layer->error_out);
    uint32_t windows = fqt_count(&net->tensors[layer->error_out]) / filters;
    if (fqt_is_float(net, layer->error_out)) {
        fqt_float_weigh(error, windows, filters, importance);
    } else {
        fqt_weigh(error, windows, filters, importance);
    }
}

/* lambda_min + e/e_max * (lambda_max - lambda_min) */
static float dynamic_share(struct fqt_net *net, uint32_t index, uint32_t filters, const uint32_t *importance)
{
    const struct image_layer *layer = &net->layers[index];
    struct fqt_layer_state *state = &net->layer_state[index];
    float count = (float)fqt_count(&net->tensors[layer->error_out]), average;
    if (fqt_is_float(net, layer->error_out)) {
        float total = 0.0f;
        for (uint32_t f = 0; f < filters; f++) {
            total = total + fqt_float_from_bits(importance[f]);
        }
        average = total / count;
    } else {
        uint32_t total = 0;
        for (uint32_t f = 0; f < filters; f++) {
            total += importance[f];
        }
        average = net->tensor_state[layer->error_out].scale * (float)total / count;
    }
    float largest = state->error_max * DECAY;
    largest = average > largest ? average : largest;
    state->error_max = largest;
    float ratio = largest > 0.0f ? average / largest : 1.0f;
    return net->header->lambda_min + ratio * (net->header->lambda_max - net->header->lambda_min);
}

/* The k largest, ascending by index; ties go to the lower index. */
static void list_largest(const uint32_t *importance, uint32_t n, uint32_t k, uint16_t *list)
{
    uint32_t threshold = fqt_threshold(importance, n, k), ties = k, listed = 0;
    for (uint32_t i = 0; i < n; i++) {
        ties -= importance[i] > threshold ? 1u : 0u;
    }
    for (uint32_t i = 0; i < n; i++) {
        bool tied = importance[i] == threshold && ties > 0;
        if (importance[i] > threshold || tied) {
            list[listed++] = (uint16_t)i;
            ties -= tied ? 1u : 0u;
        }
    }
}

static uint32_t stream_of(const struct fqt_net *net, uint32_t index)
{
    return fqt_random_of_layer(net->header->seed, net->step, index + SELECTION_STREAM);
}

static uint32_t random_of(uint32_t stream, uint32_t filter)
{
    uint32_t state = fqt_random_begin(stream, filter);
    return fqt_random_next(&state);
}

/* --- priority sampling (Duffield, Lund, Thorup, J. ACM 54(6), 2007) ------------------------------------------------ */

#define UNIT 16777216.0f /* random numbers are whole, 1..UNIT, instead of 0..1 */
#define MOST_AMPLIFIED 128.0f

static float importance_of(bool is_float, uint32_t importance)
{
    return is_float ? fqt_float_from_bits(importance) : (float)importance;
}

/* keys(F): the bits of importance / random number, which compare as integers. */
static void draw_keys(const struct fqt_net *net, uint32_t index, uint32_t filters, const uint32_t *importance,
                      uint32_t *keys)
{
    uint32_t stream = stream_of(net, index);
    bool is_float = fqt_is_float(net, net->layers[index].error_out);
    for (uint32_t f = 0; f < filters; f++) {
        float random = (float)((random_of(stream, f) >> 8) + 1u);
        keys[f] = fqt_float_bits(importance_of(is_float, importance[f]) / random);
    }
}

/* The largest key that is not in the list. */
static float first_missed(const uint32_t *keys, uint32_t filters, const struct fqt_selection *selection)
{
    uint32_t largest = 0;
    const uint16_t *next = selection->list, *end = next + selection->n;
    for (uint32_t f = 0; f < filters; f++) {
        if (next != end && *next == f) {
            next++;
        } else {
            largest = keys[f] > largest ? keys[f] : largest;
        }
    }
    return fqt_float_from_bits(largest);
}

/* Who was drawn with probability p < 1 counts 1/p times, so that the expected gradient is that of all. */
static void amplify(struct fqt_net *net, const struct image_layer *layer, const uint32_t *importance, float missed,
                    const struct fqt_selection *selection)
{
    const struct image_tensor *error = &net->tensors[layer->error_out];
    uint32_t filters = net->tensors[layer->weights].h, windows = fqt_count(error) / filters;
    bool is_float = fqt_is_float(net, layer->error_out);
    for (uint32_t i = 0; i < selection->n; i++) {
        uint32_t f = selection->list[i];
        float own = importance_of(is_float, importance[f]);
        float by = own > 0.0f ? missed * UNIT / own : 1.0f;
        by = by < MOST_AMPLIFIED ? by : MOST_AMPLIFIED;
        if (!(by > 1.0f)) {
            continue;
        }
        if (is_float) {
            fqt_float_amplify(fqt_tensor_write(net, layer->error_out), windows, filters, f, by);
        } else {
            fqt_amplify(fqt_tensor_write(net, layer->error_out), windows, filters, f, fqt_round_to_int(by * 32768.0f));
        }
    }
}

/* --- the choice ---------------------------------------------------------------------------------------------------- */

struct fqt_selection fqt_select(struct fqt_net *net, uint32_t index)
{
    const struct image_layer *layer = &net->layers[index];
    uint32_t filters = net->tensors[layer->weights].h, rule = net->header->partial;
    struct fqt_selection selection = {NULL, filters};
    net->layer_state[index].updated = (uint16_t)filters;
    if (rule == IMAGE_FULL || (layer->flags & IMAGE_FLAG_WHOLE) != 0) {
        return selection;
    }
    uint32_t *importance = fqt_tensor_write(net, layer->selection), *keys = importance;
    float share = net->header->lambda_min;
    if (rule == IMAGE_RANDOM_K) {
        uint32_t stream = stream_of(net, index);
        for (uint32_t f = 0; f < filters; f++) {
            importance[f] = random_of(stream, f) >> 1;
        }
    } else {
        weigh(net, layer, filters, importance);
    }
    if (rule == IMAGE_DYNAMIC || rule == IMAGE_SAMPLED) {
        share = dynamic_share(net, index, filters, importance);
    }
    if (rule == IMAGE_SAMPLED) {
        keys += filters;
        draw_keys(net, index, filters, importance, keys);
    }
    /* a NaN, which no sound image leads to, gives 1 */
    uint32_t k = share >= 1.0f ? filters : (share > 0.0f ? (uint32_t)(share * (float)filters) : 1u);
    uint16_t *list = (uint16_t *)(void *)(keys + filters);
    selection.n = k < 1u ? 1u : k;
    list_largest(keys, filters, selection.n, list);
    selection.list = list;
    net->layer_state[index].updated = (uint16_t)selection.n;
    if (rule == IMAGE_SAMPLED) {
        amplify(net, layer, importance, first_missed(keys, filters, &selection), &selection);
    }
    return selection;
}
