/* Weight gradient, skipping errors that are zero. */
#include "convolution.h"

#include "patch.h"
#include "scatter.h"

static bool is_vector(const struct fqt_geometry *g)
{
    return g->h * g->w * g->out_h * g->out_w * g->kernel_h * g->kernel_w == 1u;
}

/* acc[i] = e * (x[i] - zero), n values: a single window. */
static FQT_SMALL void set_scaled(const struct fqt_gradient_job *job, const uint8_t *x, uint32_t n, int32_t e)
{
    fqt_clear(job->acc, n);
    if (e != 0) {
        fqt_add_scaled(job->acc, x, n, e, job->x_zero);
    }
}

/* A window whose values are added at once: one that sticks out of the map, or of several groups. */
static FQT_NOINLINE void add_window(const struct fqt_geometry *g, const struct fqt_gradient_job *job, uint32_t oy, uint32_t ox,
                                    uint32_t first_channel, int32_t e)
{
    const struct fqt_cover cover = fqt_cover_of(g, oy, ox);
    uint32_t columns = cover.columns.end - cover.columns.first, n = g->group_channels;
    if (n == g->c) { /* a row's values lie side by side */
        n *= columns;
        columns = 1u;
    }
    for (uint32_t row = cover.rows.first, y = cover.y; row < cover.rows.end; row++, y++) {
        int32_t *acc = job->acc + (row * g->kernel_w + cover.columns.first) * g->group_channels;
        const uint8_t *x = job->x + (y * g->w + cover.x) * g->c + first_channel;
        for (uint32_t column = 0; column < columns; column++, acc += n, x += g->c) {
            fqt_add_scaled(acc, x, n, e, job->x_zero);
        }
    }
}

/* A list of windows on the map, so that a few sums stay in registers while all of them are added. */
struct list {
    struct fqt_list_entry *begin, *end; /* two windows an entry */
    const struct fqt_list_entry *full;
    bool odd;    /* the last entry has one */
    int32_t sum; /* of the errors */
};

static struct list list_of(const struct fqt_gradient_job *job)
{
    uintptr_t address = (uintptr_t)job->list;
    uint32_t skipped = (uint32_t)(-address & (_Alignof(struct fqt_list_entry) - 1u));
    uint32_t n = (job->list_bytes - skipped) / (uint32_t)sizeof(struct fqt_list_entry);
    struct fqt_list_entry *begin = (struct fqt_list_entry *)(void *)((uint8_t *)job->list + skipped);
    return (struct list){begin, begin, begin + n, false, 0};
}

/* acc += all windows of the list; it is empty then. */
static FQT_NOINLINE void flush(const struct fqt_geometry *g, const struct fqt_gradient_job *job, struct list *list)
{
    uint32_t n = g->kernel_w * g->c, pitch = g->w * g->c, offset = 0;
    int32_t *acc = job->acc, less = list->sum * job->x_zero;
    for (uint32_t row = 0; row < g->kernel_h && list->begin != list->end; row++, acc += n, offset += pitch) {
        fqt_add_list(acc, list->begin, list->end, offset, n, less);
    }
    list->end = list->begin;
    list->odd = false;
    list->sum = 0;
}

static inline void append(struct list *list, const uint8_t *values, int32_t e)
{
    struct fqt_list_entry *last = list->end;
    list->sum += e;
    list->odd = !list->odd;
    if (list->odd) {
        *last = (struct fqt_list_entry){values, values, (uint32_t)e & 0xFFFFu};
        list->end = last + 1;
    } else {
        last[-1].second = values;
        last[-1].factors |= (uint32_t)e << 16;
    }
}

int32_t fqt_convolution_gradient(const struct fqt_geometry *g, const struct fqt_gradient_job *job, uint32_t filter)
{
    const uint8_t *error = job->error + filter;
    const uint32_t filters = g->filters, pool = g->pool, out_w = g->out_w;
    uint32_t first_channel = filter / g->group_filters * g->group_channels;
    if (is_vector(g)) {
        set_scaled(job, job->x + first_channel, g->taps, *error - FQT_ERROR_ZERO);
        return *error - FQT_ERROR_ZERO;
    }
    bool listed = g->group_filters == filters;
    uint32_t rows = listed && g->h >= g->kernel_h ? g->h - g->kernel_h + 1u : 0u; /* that begin windows on the map */
    uint32_t columns = g->w >= g->kernel_w ? g->w - g->kernel_w + 1u : 0u;
    struct list list = list_of(job);
    int32_t sum = 0;
    fqt_clear(job->acc, g->taps);
    for (uint32_t oy = 0; oy < g->out_h; oy += pool) {
        for (uint32_t ox = 0; ox < out_w; ox += pool, error += filters) {
            int32_t e = *error - FQT_ERROR_ZERO;
            if (e == 0) {
                continue;
            }
            uint32_t place = pool == 2u ? fqt_place(job->argmax, (uint32_t)(error - job->error)) : 0u;
            uint32_t row = oy + (place >> 1), column = ox + (place & 1u);
            uint32_t y = row * g->stride_h - g->pad_top, x = column * g->stride_w - g->pad_left; /* wraps */
            sum += e;
            if (y >= rows || x >= columns) {
                add_window(g, job, row, column, first_channel, e);
                continue;
            }
            append(&list, job->x + (y * g->w + x) * g->c, e);
            if (list.end == list.full && !list.odd) {
                flush(g, job, &list);
            }
        }
    }
    flush(g, job, &list);
    return sum;
}

int32_t fqt_error_sum(const struct fqt_geometry *g, const uint8_t *error, uint32_t filter)
{
    uint32_t end = g->out_h / g->pool * (g->out_w / g->pool) * g->filters;
    int32_t sum = 0;
    for (uint32_t at = filter; at < end; at += g->filters) {
        sum += error[at] - FQT_ERROR_ZERO;
    }
    return sum;
}
