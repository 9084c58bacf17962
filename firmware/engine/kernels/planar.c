#include "planar.h"

#include "patch.h"
#include "planar_rows.h"
#include "rows.h"

static uint32_t rounded_up(uint32_t n)
{
    return (n + 3u) & ~3u;
}

static uint32_t cells(const struct fqt_geometry *g)
{
    return g->w + g->kernel_w + g->stride_w + 2u;
}

static uint32_t weight_bytes(const struct fqt_geometry *g)
{
    return rounded_up((2u * g->kernel_h - 1u) * 2u * (g->kernel_w + 1u));
}

uint64_t fqt_planar_bytes(const struct fqt_geometry *g)
{
    uint64_t planes = (uint64_t)g->kernel_h * cells(g) * FQT_PLANE_BYTES, upper = g->pool == 2u ? g->group_filters : 0u;
    return planes + 4u * (uint64_t)(g->out_w + 1u) + (upper + 1u) * rounded_up(g->out_w) +
           (uint64_t)g->group_filters * (weight_bytes(g) + 4u);
}

struct work {
    const struct fqt_geometry *g;
    const struct fqt_forward_job *job;
    struct fqt_planar_row row;
    struct fqt_plane_row fill;
    uint8_t *planes;
    int32_t *acc;
    uint8_t *bytes, *upper; /* (out_w), (group_filters,out_w) */
    int32_t *starts;        /* (group_filters) */
    uint8_t *weights;
    uint32_t weight_bytes, loaded, slot; /* map rows from -pad_top on that went into the ring; where the next one goes */
    const uint8_t *x;                    /* the group's channel */
    uint32_t filter;                     /* its first filter */
};

static struct work work_of(const struct fqt_geometry *g, const struct fqt_forward_job *job)
{
    struct work work = {.g = g, .job = job, .planes = job->scratch, .weight_bytes = weight_bytes(g)};
    uint32_t pitch = cells(g) * FQT_PLANE_BYTES, row_bytes = rounded_up(g->out_w);
    work.row = (struct fqt_planar_row){work.planes, g->kernel_h, g->kernel_w, g->stride_w, pitch, g->out_w,
                                       job->weight_zero};
    work.fill = (struct fqt_plane_row){NULL, g->pad_left, g->w, g->c, cells(g), (uint8_t)job->x_zero};
    work.acc = (int32_t *)(void *)(work.planes + g->kernel_h * pitch);
    work.bytes = (uint8_t *)(work.acc + g->out_w + 1u);
    work.upper = work.bytes + row_bytes;
    work.starts = (int32_t *)(void *)(work.upper + (g->pool == 2u ? g->group_filters : 0u) * row_bytes);
    work.weights = (uint8_t *)(work.starts + g->group_filters);
    return work;
}

static void begin_group(struct work *work, uint32_t filter, uint32_t channel)
{
    const struct fqt_geometry *g = work->g;
    const struct fqt_forward_job *job = work->job;
    work->loaded = work->slot = 0;
    work->x = job->x + channel;
    work->filter = filter;
    for (uint32_t f = 0; f < g->group_filters; f++) {
        int16_t *to = (int16_t *)(void *)(work->weights + f * work->weight_bytes);
        work->starts[f] = job->bias[filter + f] +
                          fqt_lay_out_weights(to, job->weights + (filter + f) * g->stored, g->kernel_h, g->kernel_w,
                                              job->weight_zero, job->x_zero);
    }
}

/* Fill the ring up to the last row that output row oy meets. */
static void load_rows(struct work *work, uint32_t oy)
{
    const struct fqt_geometry *g = work->g;
    for (uint32_t end = oy * g->stride_h + g->kernel_h; work->loaded < end; work->loaded++) {
        uint32_t y = work->loaded - g->pad_top; /* wraps above the map */
        work->fill.from = y < g->h ? work->x + y * g->w * g->c : NULL;
        fqt_fill_plane(work->planes + work->slot * work->row.pitch, &work->fill, g->stride_w);
        work->slot = work->slot + 1u < g->kernel_h ? work->slot + 1u : 0u;
    }
}

/* Sums of filter f of the group over the ring's rows. */
static void row_sums(const struct work *work, uint32_t f)
{
    const struct fqt_planar_filter filter = {(const int16_t *)(const void *)(work->weights + f * work->weight_bytes),
                                             work->starts[f]};
    uint32_t first = work->slot == 0 ? 0u : work->g->kernel_h - work->slot; /* the oldest row lies in `slot` */
    fqt_planar_sums(&work->row, &filter, first, work->acc);
}

static void track(struct fqt_layer_state *state, const int32_t *acc, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        fqt_track(state, acc[i]);
    }
}

/* The row's sums, requantized, to `to`. */
static void row_bytes(const struct work *work, uint8_t *to)
{
    const struct fqt_forward_job *job = work->job;
    const struct fqt_requantization q = {job->by, job->out_zero, job->lowest, job->highest};
    if (job->tracked != NULL) {
        track(job->tracked, work->acc, work->g->out_w);
    }
    fqt_requantize(&q, work->acc, work->g->out_w, to);
}

static void put_row(const struct work *work, uint32_t f, uint32_t oy)
{
    const struct fqt_geometry *g = work->g;
    uint32_t at = oy * g->out_w * g->filters + work->filter + f, filters = g->filters;
    if (work->job->out_is_int32) {
        int32_t *out = (int32_t *)work->job->out + at;
        for (uint32_t ox = 0; ox < g->out_w; ox++, out += filters) {
            *out = work->acc[ox];
        }
        return;
    }
    row_bytes(work, work->bytes);
    uint8_t *out = (uint8_t *)work->job->out + at;
    const uint8_t *from = work->bytes, *end = from + g->out_w;
#pragma GCC unroll 4
    for (; from != end; out += filters) {
        *out = *from++;
    }
}

/* The largest of two by two bytes of two rows, the first of equal ones; and its place. */
static void put_pooled(const struct work *work, uint32_t f, uint32_t oy)
{
    const struct fqt_geometry *g = work->g;
    const uint8_t *upper = work->upper + f * rounded_up(g->out_w), *lower = work->bytes;
    uint32_t at = oy / 2u * (g->out_w / 2u) * g->filters + work->filter + f;
    uint8_t *out = work->job->out;
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
        uint8_t *word = &work->job->argmax[at >> 2];
        out[at] = (uint8_t)best;
        *word = (uint8_t)((*word & ~(3u << shift)) | place << shift);
    }
}

static void forward_row(struct work *work, uint32_t oy)
{
    load_rows(work, oy);
    for (uint32_t f = 0; f < work->g->group_filters; f++) {
        row_sums(work, f);
        put_row(work, f, oy);
    }
}

static void forward_pooled_rows(struct work *work, uint32_t oy)
{
    load_rows(work, oy);
    for (uint32_t f = 0; f < work->g->group_filters; f++) {
        row_sums(work, f);
        row_bytes(work, work->upper + f * rounded_up(work->g->out_w));
    }
    load_rows(work, oy + 1u);
    for (uint32_t f = 0; f < work->g->group_filters; f++) {
        row_sums(work, f);
        row_bytes(work, work->bytes);
        put_pooled(work, f, oy);
    }
}

void fqt_planar_forward(const struct fqt_geometry *g, const struct fqt_forward_job *job)
{
    struct work work = work_of(g, job);
    for (uint32_t f = 0, channel = 0; f < g->filters; f += g->group_filters, channel++) {
        begin_group(&work, f, channel);
        for (uint32_t oy = 0; oy < g->out_h; oy += g->pool) {
            if (g->pool == 2u) {
                forward_pooled_rows(&work, oy);
            } else {
                forward_row(&work, oy);
            }
        }
    }
}
