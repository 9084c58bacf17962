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

/* --- layers of several groups: window by window -------------------------------------------------------------------- */

static FQT_SMALL void add_window(const struct fqt_geometry *g, const struct fqt_gradient_job *job, const struct fqt_cover *cover,
                       uint32_t first_channel, int32_t e)
{
    uint32_t columns = cover->columns.end - cover->columns.first, n = g->group_channels;
    for (uint32_t row = cover->rows.first, y = cover->y; row < cover->rows.end; row++, y++) {
        int32_t *acc = job->acc + (row * g->kernel_w + cover->columns.first) * n;
        const uint8_t *x = job->x + (y * g->w + cover->x) * g->c + first_channel;
        for (uint32_t column = 0; column < columns; column++, acc += n, x += g->c) {
            fqt_add_scaled(acc, x, n, e, job->x_zero);
        }
    }
}

/* --- layers of one group: a list of windows, so that a few sums stay in registers while all windows are added ------- */

#define LEAST_BYTES (FQT_LIST_BYTES - _Alignof(struct fqt_list_entry))

/* Rows of a window lie `pitch` bytes apart: on the map, or in a patch where it sticks out of the map. */
struct pitches {
    uint32_t first, second;
};

struct list {
    const struct fqt_geometry *g;
    const struct fqt_gradient_job *job;
    struct fqt_patches patches;
    struct fqt_list_entry *entries;
    struct pitches *pitches;
    uint8_t *bytes; /* of patches */
    uint32_t most, most_patches, n, n_patches;
};

static void *aligned(void *memory)
{
    uintptr_t alignment = _Alignof(struct fqt_list_entry), address = (uintptr_t)memory;
    return (uint8_t *)memory + (-address & (alignment - 1u));
}

/* Half of the memory beyond the least goes to entries, half to patches: usually most windows lie on the map. */
static struct list list_of(const struct fqt_geometry *g, const struct fqt_gradient_job *job)
{
    struct list list = {.g = g, .job = job, .entries = aligned(job->list)};
    uint32_t pair = (uint32_t)(sizeof(struct fqt_list_entry) + sizeof(struct pitches));
    uint32_t bytes = job->list_bytes - (uint32_t)((uint8_t *)list.entries - (uint8_t *)job->list);
    uint32_t pairs = (bytes - FQT_LIST_PATCHES * g->stored) / (pair + 2u * g->stored), least = LEAST_BYTES / pair;
    pairs = pairs > least ? pairs : least;
    list.most = 2u * pairs;
    list.pitches = (struct pitches *)(void *)(list.entries + pairs);
    list.bytes = (uint8_t *)(list.pitches + pairs);
    list.most_patches = (bytes - pairs * pair) / g->stored;
    list.patches = (struct fqt_patches){
        .map = job->x, .h = g->h, .w = g->w, .c = g->c, .rows = g->kernel_h, .columns = g->kernel_w,
        .stored = g->stored, .fill = (uint8_t)job->x_zero, .cell = g->c,
    };
    return list;
}

/* acc += all windows of the list, whose zero points are left in; it is empty then. */
static void flush(struct list *list)
{
    const struct fqt_geometry *g = list->g;
    struct fqt_list_entry *end = list->entries + (list->n + 1u) / 2u;
    uint32_t row_values = g->kernel_w * g->c;
    int32_t *acc = list->job->acc;
    for (uint32_t row = 0; row < g->kernel_h && list->n != 0; row++, acc += row_values) {
        fqt_add_list(acc, list->entries, end, 0, row_values);
        struct pitches *pitches = list->pitches;
        for (struct fqt_list_entry *entry = list->entries; entry != end; entry++, pitches++) {
            entry->first += pitches->first;
            entry->second += pitches->second;
        }
    }
    list->n = list->n_patches = 0;
}

static void append(struct list *list, uint32_t oy, uint32_t ox, int32_t e)
{
    const struct fqt_geometry *g = list->g;
    uint32_t y = oy * g->stride_h - g->pad_top, x = ox * g->stride_w - g->pad_left, pitch = g->w * g->c; /* wraps */
    const uint8_t *values;
    if (list->n == list->most || list->n_patches == list->most_patches) {
        flush(list);
    }
    if (y < g->h && x < g->w && y + g->kernel_h <= g->h && x + g->kernel_w <= g->w) {
        values = list->job->x + (y * g->w + x) * g->c;
    } else {
        uint8_t *to = list->bytes + list->n_patches * g->stored;
        values = fqt_patch(&list->patches, (int32_t)y, (int32_t)x, to);
        pitch = g->kernel_w * g->c;
        list->n_patches++;
    }
    struct fqt_list_entry *entry = &list->entries[list->n / 2u];
    if ((list->n & 1u) == 0) {
        *entry = (struct fqt_list_entry){values, values, (uint32_t)e & 0xFFFFu};
        list->pitches[list->n / 2u] = (struct pitches){pitch, pitch};
    } else {
        entry->second = values;
        entry->factors |= (uint32_t)e << 16;
        list->pitches[list->n / 2u].second = pitch;
    }
    list->n++;
}

static void subtract(int32_t *acc, uint32_t n, int32_t less)
{
    for (uint32_t i = 0; i < n; i++) {
        acc[i] -= less;
    }
}

int32_t fqt_convolution_gradient(const struct fqt_geometry *g, const struct fqt_gradient_job *job, uint32_t filter)
{
    const uint8_t *error = job->error + filter;
    uint32_t first_channel = filter / g->group_filters * g->group_channels, at = filter;
    bool listed = g->group_filters == g->filters;
    int32_t sum = 0;
    if (is_vector(g)) {
        set_scaled(job, job->x + first_channel, g->taps, *error - FQT_ERROR_ZERO);
        return *error - FQT_ERROR_ZERO;
    }
    struct list list = list_of(g, job);
    fqt_clear(job->acc, g->taps);
    for (uint32_t oy = 0; oy < g->out_h; oy += g->pool) {
        for (uint32_t ox = 0; ox < g->out_w; ox += g->pool, at += g->filters, error += g->filters) {
            if (*error == FQT_ERROR_ZERO) {
                continue;
            }
            int32_t e = *error - FQT_ERROR_ZERO;
            uint32_t place = g->pool == 2u ? fqt_place(job->argmax, at) : 0u;
            uint32_t row = oy + (place >> 1), column = ox + (place & 1u);
            sum += e;
            if (listed) {
                append(&list, row, column, e);
            } else {
                const struct fqt_cover cover = fqt_cover_of(g, row, column);
                add_window(g, job, &cover, first_channel, e);
            }
        }
    }
    if (listed) {
        flush(&list);
        subtract(job->acc, g->taps, sum * job->x_zero);
    }
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
