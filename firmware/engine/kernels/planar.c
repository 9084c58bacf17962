/* Forward pass of planar layers, and the error, which is a forward pass of the errors through the kernels turned around. */
#include "planar.h"

#include "planar_ring.h"

static uint32_t rounded_up(uint32_t n)
{
    return (n + 3u) & ~3u;
}

/* Filters whose bytes are put as words, a block: four depthwise channels, or four filters of one channel. */
static bool has_words(const struct fqt_geometry *g)
{
    return (g->filters & 3u) == 0 && (g->group_filters == 1u || (g->group_filters & 3u) == 0);
}

static uint32_t channels_at_once(const struct fqt_geometry *g)
{
    return has_words(g) && g->group_filters * g->pool == 1u ? FQT_PLANES : 1u;
}

static uint32_t weight_bytes(const struct fqt_geometry *g)
{
    uint32_t twice = rounded_up((2u * g->kernel_h - 1u) * 2u * (g->kernel_w + 1u)), words = 4u * g->kernel_h * g->kernel_w;
    return twice > words ? twice : words;
}

uint64_t fqt_planar_bytes(const struct fqt_geometry *g)
{
    uint32_t upper = g->pool == 2u ? g->group_filters : 0u, channels = channels_at_once(g);
    return fqt_ring_bytes(g, channels) + 4u * FQT_PLANES * (uint64_t)rounded_up(g->out_w) +
           ((uint64_t)upper + 1u) * rounded_up(g->out_w) +
           (uint64_t)channels * g->group_filters * (weight_bytes(g) + 4u);
}

struct work {
    const struct fqt_geometry *g;
    struct fqt_ring ring;
    struct fqt_planar_row row;
    struct fqt_planar_filters filters; /* all that the ring serves, at most a block at once */
    int32_t *acc;           /* (FQT_PLANES, acc_pitch) */
    uint8_t *bytes, *upper; /* (out_w), (group_filters, out_w) */
    int32_t *starts;        /* of the filters that the ring serves */
    uint8_t *weights;
    uint32_t acc_pitch, weight_bytes;
    bool words;
    struct fqt_requantization q;
};

static void begin_work(struct work *work, const struct fqt_geometry *g, void *scratch, int32_t x_zero, int32_t weight_zero)
{
    uint32_t n = rounded_up(g->out_w), channels = channels_at_once(g);
    work->g = g;
    work->acc_pitch = n;
    work->weight_bytes = weight_bytes(g);
    work->acc = fqt_ring_clear(&work->ring, g, scratch, channels, (uint8_t)x_zero, true);
    work->row = (struct fqt_planar_row){g->kernel_h, g->kernel_w, g->stride_w, work->ring.pitch, g->out_w, weight_zero};
    work->bytes = (uint8_t *)(work->acc + FQT_PLANES * n);
    work->upper = work->bytes + n;
    work->starts = (int32_t *)(void *)(work->upper + (g->pool == 2u ? g->group_filters : 0u) * n);
    work->weights = (uint8_t *)(work->starts + channels * g->group_filters);
    work->filters.planes_apart = channels == 1u ? 0u : work->ring.row.apart;
    work->filters.weights_apart = work->weight_bytes;
}

/* What filter i of those that the ring serves begins with, and its weights, where they are wanted. */
static void begin_filter(const struct work *work, uint32_t i, int32_t bias, const uint8_t *weights, int32_t step)
{
    int16_t *to = (int16_t *)(void *)(work->weights + i * work->weight_bytes);
    work->starts[i] =
        bias + fqt_lay_out_weights(to, weights, work->g, step, work->row.weight_zero, work->ring.row.zero);
}

/* acc(count,acc_pitch): sums of filters from i on over the ring's rows. */
static inline void row_sums(struct work *work, uint32_t i, uint32_t count)
{
    struct fqt_planar_filters *filters = &work->filters;
    filters->first = fqt_ring_first(&work->ring);
    filters->count = count;
    filters->planes = work->ring.planes + i * filters->planes_apart;
    filters->weights = work->weights + i * filters->weights_apart;
    filters->starts = work->starts + i;
    fqt_planar_sums(&work->row, filters, work->acc);
}

/* Sums of FQT_PLANES filters from i on. */
static inline struct fqt_planar_sums block_sums(struct work *work, uint32_t i)
{
    row_sums(work, i, FQT_PLANES);
    return (struct fqt_planar_sums){work->acc, work->acc_pitch, work->g->out_w, work->g->filters};
}

static __attribute__((noinline)) void track(struct fqt_layer_state *state, const int32_t *acc, uint32_t n)
{
    struct fqt_layer_state local = *state; /* sums may alias the layer's */
    for (const int32_t *end = acc + n; acc != end; acc++) {
        fqt_track(&local, *acc);
    }
    state->acc_min = local.acc_min;
    state->acc_max = local.acc_max;
}

/* --- forward pass, words --------------------------------------------------------------------------------------------- */

static void track_block(struct fqt_layer_state *state, const struct fqt_planar_sums *sums)
{
    for (uint32_t k = 0; k < FQT_PLANES; k++) {
        track(state, sums->acc + k * sums->pitch, sums->n);
    }
}

/* The filters from i on, of those that the ring serves, to `out`. */
static inline void forward_words(struct work *work, const struct fqt_forward_job *job, uint32_t i, uint8_t *out)
{
    const struct fqt_planar_sums sums = block_sums(work, i);
    if (job->tracked != NULL) {
        track_block(job->tracked, &sums);
    }
    fqt_put_planes(&sums, &work->q, out);
}

/* All rows of four depthwise channels. */
static void forward_channels(struct work *work, const struct fqt_forward_job *job, uint32_t filter)
{
    const struct fqt_geometry *g = work->g;
    uint32_t row_bytes = g->out_w * g->filters, rows = g->out_h;
    uint8_t *out = (uint8_t *)job->out + filter;
    for (uint32_t oy = 0; oy < rows; oy++, out += row_bytes) {
        fqt_ring_load(&work->ring, oy);
        forward_words(work, job, 0, out);
    }
}

/* --- forward pass, filter by filter ---------------------------------------------------------------------------------- */

/* Sums of filter i's row, requantized, to `to`. */
static void row_bytes(struct work *work, const struct fqt_forward_job *job, uint32_t i, uint8_t *to)
{
    row_sums(work, i, 1u);
    if (job->tracked != NULL) {
        track(job->tracked, work->acc, work->g->out_w);
    }
    fqt_requantize(&work->q, work->acc, work->g->out_w, to);
}

/* The row of filter i, whose output begins at `at`. */
static void forward_filter(struct work *work, const struct fqt_forward_job *job, uint32_t i, uint32_t at)
{
    const struct fqt_geometry *g = work->g;
    if (job->out_is_int32) {
        row_sums(work, i, 1u);
        for (uint32_t ox = 0; ox < g->out_w; ox++) {
            ((int32_t *)job->out)[at + ox * g->filters] = work->acc[ox];
        }
        return;
    }
    row_bytes(work, job, i, work->bytes);
    for (uint32_t ox = 0; ox < g->out_w; ox++) {
        ((uint8_t *)job->out)[at + ox * g->filters] = work->bytes[ox];
    }
}

/* The largest of two by two bytes of two rows, the first of equal ones; and its place. */
static void put_pooled(const struct work *work, const struct fqt_forward_job *job, const uint8_t *upper, uint32_t at)
{
    const struct fqt_geometry *g = work->g;
    const uint8_t *lower = work->bytes;
    uint8_t *out = job->out;
    for (uint32_t left = g->out_w / 2u; left != 0; left--, upper += 2, lower += 2, at += g->filters) {
        uint32_t best = upper[0], place = 0;
        if (upper[1] > best) {
            best = upper[1];
            place = 1u;
        }
        if (lower[0] > best) {
            best = lower[0];
            place = 2u;
        }
        if (lower[1] > best) {
            best = lower[1];
            place = 3u;
        }
        uint32_t shift = 2u * (at & 3u);
        uint8_t *word = &job->argmax[at >> 2];
        out[at] = (uint8_t)best;
        *word = (uint8_t)((*word & ~(3u << shift)) | place << shift);
    }
}

/* --- forward pass ------------------------------------------------------------------------------------------------------ */

static void forward_row(struct work *work, const struct fqt_forward_job *job, uint32_t filter, uint32_t oy)
{
    const struct fqt_geometry *g = work->g;
    uint32_t n = work->ring.channels * g->group_filters;
    uint32_t at = oy * g->out_w * g->filters + filter;
    bool words = work->words;
    fqt_ring_load(&work->ring, oy);
    for (uint32_t i = 0; i < n; i += words ? FQT_PLANES : 1u) {
        if (words) {
            forward_words(work, job, i, (uint8_t *)job->out + at + i);
        } else {
            forward_filter(work, job, i, at + i);
        }
    }
}

static void forward_pooled_rows(struct work *work, const struct fqt_forward_job *job, uint32_t filter, uint32_t oy)
{
    const struct fqt_geometry *g = work->g;
    uint32_t at = oy / 2u * (g->out_w / 2u) * g->filters + filter, n = g->group_filters;
    for (uint32_t i = 0; i < n; i++) {
        fqt_ring_load(&work->ring, oy);
        row_bytes(work, job, i, work->upper + i * rounded_up(g->out_w));
    }
    for (uint32_t i = 0; i < n; i++) {
        fqt_ring_load(&work->ring, oy + 1u);
        row_bytes(work, job, i, work->bytes);
        put_pooled(work, job, work->upper + i * rounded_up(g->out_w), at + i);
    }
}

void fqt_planar_forward(const struct fqt_geometry *g, const struct fqt_forward_job *job)
{
    struct work work;
    begin_work(&work, g, job->scratch, job->x_zero, job->weight_zero);
    uint32_t n = work.ring.channels * g->group_filters;
    work.words = has_words(g) && !job->out_is_int32;
    work.q = (struct fqt_requantization){job->by, job->out_zero, job->lowest, job->highest};
    for (uint32_t filter = 0, channel = 0; filter < g->filters; filter += n, channel += work.ring.channels) {
        fqt_ring_begin(&work.ring, job->x + channel);
        for (uint32_t i = 0; i < n; i++) {
            begin_filter(&work, i, job->bias[filter + i], job->weights + (filter + i) * g->stored, 1);
        }
        if (work.words && work.ring.channels == FQT_PLANES) {
            forward_channels(&work, job, filter);
            continue;
        }
        for (uint32_t oy = 0; oy < g->out_h; oy += g->pool) {
            if (g->pool == 2u) {
                forward_pooled_rows(&work, job, filter, oy);
            } else {
                forward_row(&work, job, filter, oy);
            }
        }
    }
}

/* --- error ------------------------------------------------------------------------------------------------------------- */

/* The layer from its errors to its input. */
static struct fqt_geometry turned_around(const struct fqt_geometry *g)
{
    struct fqt_geometry turned = *g;
    turned.h = g->out_h;
    turned.w = g->out_w;
    turned.out_h = g->h;
    turned.out_w = g->w;
    turned.pad_top = g->kernel_h - 1u - g->pad_top;
    turned.pad_left = g->kernel_w - 1u - g->pad_left;
    return turned;
}

uint64_t fqt_planar_error_bytes(const struct fqt_geometry *g)
{
    const struct fqt_geometry turned = turned_around(g);
    return fqt_planar_bytes(&turned);
}

/* Whether the selection has `filter`; *i is behind those that are smaller. */
static bool has(const struct fqt_selection *selection, uint32_t *i, uint32_t filter)
{
    while (*i < selection->n && fqt_selected(selection, *i) < filter) {
        (*i)++;
    }
    return *i < selection->n && fqt_selected(selection, *i) == filter;
}

int32_t fqt_planar_error(const struct fqt_geometry *g, const struct fqt_dense_error_job *job)
{
    const struct fqt_geometry turned = turned_around(g);
    struct work work;
    uint8_t zero = (uint8_t)job->weight_zero;
    uint32_t at_selection = 0;
    int32_t largest = 0;
    begin_work(&work, &turned, job->scratch, FQT_ERROR_ZERO, job->weight_zero);
    for (uint32_t channel = 0; channel < g->c; channel += FQT_PLANES) {
        fqt_ring_begin(&work.ring, job->error + channel);
        for (uint32_t i = 0; i < FQT_PLANES; i++) {
            bool selected = has(&job->selection, &at_selection, channel + i);
            const uint8_t *last = job->weights + (channel + i) * g->stored + g->taps - 1u;
            begin_filter(&work, i, 0, selected ? last : &zero, selected ? -1 : 0);
        }
        for (uint32_t y = 0; y < g->h; y++) {
            uint32_t at = y * g->w * g->c + channel;
            const struct fqt_masked to = {job->by, job->mask, job->x + at, job->error_in + at};
            fqt_ring_load(&work.ring, y);
            const struct fqt_planar_sums sums = block_sums(&work, 0);
            int32_t magnitude = fqt_put_plane_errors(&sums, &to, job->tracking);
            largest = magnitude > largest ? magnitude : largest;
        }
    }
    return largest;
}
