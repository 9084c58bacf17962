/* Layers with weights in float32 where floats have registers: outputs, or gradients, side by side. Each sum runs in its
 * own order, that of float32.c. */
#include "float32.h"
#include "float_sums.h"

#if FQT_FPU

/* Where a run of values begins; how far it is to that of the next row and of the next column. In elements. */
struct place {
    uint32_t first, row, column;
};

/* The taps of a window that lie on the map: rows x columns runs of `run` values each, in x and in a filter's weights.
 * With one group a row of the kernel is a single run. */
struct taps {
    uint32_t rows, columns, run;
    struct place x, w;
};

/* Of a window in row `oy` that begins at column `left`, padding included. */
static FQT_SMALL struct taps taps_of(const struct fqt_geometry *g, uint32_t oy, uint32_t left, struct fqt_span columns)
{
    uint32_t top = oy * g->stride_h, n = g->group_channels, width = columns.end - columns.first;
    struct fqt_span rows = fqt_clip(top, g->pad_top, g->kernel_h, g->h);
    bool any = rows.first < rows.end && columns.first < columns.end, whole = n == g->c;
    return (struct taps){
        .rows = any ? rows.end - rows.first : 0u,
        .columns = whole ? 1u : width,
        .run = whole ? n * width : n,
        .x = {((top + rows.first - g->pad_top) * g->w + left + columns.first - g->pad_left) * g->c, g->w * g->c, g->c},
        .w = {(rows.first * g->kernel_w + columns.first) * n, g->kernel_w * n, n},
    };
}

static FQT_SMALL struct taps taps_of_window(const struct fqt_geometry *g, uint32_t oy, uint32_t ox)
{
    uint32_t left = ox * g->stride_w;
    return taps_of(g, oy, left, fqt_clip(left, g->pad_left, g->kernel_w, g->w));
}

/* In how many columns a window may begin without reaching beyond the map. */
static uint32_t room_of(const struct fqt_geometry *g)
{
    return g->w >= g->kernel_w ? g->w - g->kernel_w + 1u : 0u;
}

/* --- forward ------------------------------------------------------------------------------------------ */

struct layer {
    const struct fqt_geometry *g;
    const float *weights, *bias;
    uint32_t flags;
};

/* The channels that a filter sees, and its weights under the taps. */
static const float *channels_of(const struct layer *layer, const float *x, uint32_t f)
{
    return x + f / layer->g->group_filters * layer->g->group_channels;
}

static const float *row_of(const struct layer *layer, const struct taps *t, uint32_t f)
{
    return layer->weights + f * layer->g->stored + t->w.first;
}

static FQT_SMALL FQT_NOINLINE void store(const struct layer *layer, const float acc[4], uint32_t n, float *y,
                                         uint32_t next)
{
    for (uint32_t k = 0; k < n; k++) {
        y[k * next] = fqt_float_clamped(acc[k], layer->flags);
    }
}

/* acc(4) += one times 4 others, which lie `next` apart: a window and filters, or a filter and windows. */
static FQT_SMALL FQT_NOINLINE void one_by_four(const struct taps *t, const float *one, const struct place *at,
                                           const float *four, const struct place *four_at, uint32_t next, float acc[4])
{
    for (uint32_t row = 0; row < t->rows; row++) {
        for (uint32_t column = 0; column < t->columns; column++) {
            fqt_float_dot_1x4(one + row * at->row + column * at->column,
                              four + row * four_at->row + column * four_at->column, next, t->run, acc);
        }
    }
}

/* 4 filters of a group at a time; one that is left over is computed 4 times. */
static FQT_SMALL void one_window(const struct layer *layer, const struct taps *t, const float *x, float *y)
{
    const struct fqt_geometry *g = layer->g;
    for (uint32_t f = 0, n; f < g->filters; f += n) {
        n = g->group_filters - f % g->group_filters >= 4u ? 4u : 1u;
        float acc[4];
        for (uint32_t k = 0; k < 4u; k++) {
            acc[k] = layer->bias[f + k % n];
        }
        one_by_four(t, channels_of(layer, x, f), &t->x, row_of(layer, t, f), &t->w, n == 4u ? g->stored : 0u, acc);
        store(layer, acc, n, y + f, 1);
    }
}

/* 4 windows, next_window apart, that have all their columns. */
static FQT_SMALL void four_windows(const struct layer *layer, const struct taps *t, const float *x,
                                   uint32_t next_window, float *y)
{
    const struct fqt_geometry *g = layer->g;
    uint32_t f = 0;
    for (; g->group_channels == g->c && f + 4u <= g->filters; f += 4u) {
        const float *window = x, *row = row_of(layer, t, f);
        float acc[16];
        for (uint32_t k = 0; k < 16u; k++) {
            acc[k] = layer->bias[f + k % 4u];
        }
        for (uint32_t rows = t->rows; rows != 0; rows--, window += t->x.row, row += t->w.row) {
            fqt_float_dot_4x4(window, next_window, row, g->stored, t->run, acc);
        }
        for (uint32_t p = 0; p < 4u; p++) {
            store(layer, acc + 4u * p, 4, y + p * g->filters + f, 1);
        }
    }
    for (; f < g->filters; f++) {
        float b = layer->bias[f], acc[4] = {b, b, b, b};
        one_by_four(t, row_of(layer, t, f), &t->w, channels_of(layer, x, f), &t->x, next_window, acc);
        store(layer, acc, 4, y + f, g->filters);
    }
}

FQT_SMALL void fqt_float_forward(const struct fqt_geometry *g, const float *x, const float *weights, const float *bias,
                                 float *y, uint32_t flags)
{
    const struct layer layer = {g, weights, bias, flags};
    const uint32_t room = room_of(g);
    for (uint32_t oy = 0; oy < g->out_h; oy++) {
        for (uint32_t ox = 0, n; ox < g->out_w; ox += n, y += n * g->filters) {
            const struct taps t = taps_of_window(g, oy, ox);
            const uint32_t left = ox * g->stride_w - g->pad_left;
            if (ox + 4u <= g->out_w && left < room && left + 3u * g->stride_w < room) {
                four_windows(&layer, &t, x + t.x.first, g->stride_w * g->c, y);
                n = 4;
            } else {
                one_window(&layer, &t, x + t.x.first, y);
                n = 1;
            }
        }
    }
}

/* --- backward ----------------------------------------------------------------------------------------- */

#define TERMS 32u /* collected before they are added */

struct terms {
    uint32_t n;
    struct fqt_term list[TERMS];
};

/* sums(n) += the terms' rows from their element `from` on; n is a multiple of the width. */
static FQT_NOINLINE void add_blocks(const struct terms *terms, uint32_t from, float *sums, uint32_t n)
{
    for (; n != 0; n -= FQT_FLOAT_WIDTH, from += FQT_FLOAT_WIDTH, sums += FQT_FLOAT_WIDTH) {
        fqt_float_add_terms(terms->list, terms->n, from, sums);
    }
}

/* Empties the list: sums (NULL: not wanted) += the terms' rows, run by run; the rows begin at `from`'s first already. */
static FQT_NOINLINE void add(struct terms *terms, const struct taps *t, const struct place *from,
                             const struct place *to, float *sums)
{
    const uint32_t n = t->run, blocks = n / FQT_FLOAT_WIDTH * FQT_FLOAT_WIDTH, n_terms = terms->n;
    uint32_t from_row = 0, to_row = to->first;
    for (uint32_t rows = n_terms != 0 && sums != NULL ? t->rows : 0u; rows != 0; rows--) {
        float *run = sums + to_row;
        for (uint32_t columns = t->columns, at = from_row; columns != 0; columns--, at += from->column) {
            if (blocks != 0) {
                add_blocks(terms, at, run, blocks);
            }
            for (uint32_t i = blocks; i < n; i++) {
                float sum = run[i];
                const struct fqt_term *term = terms->list;
                for (uint32_t left = n_terms; left != 0; left--, term++) {
                    sum = sum + term->e * term->row[at + i];
                }
                run[i] = sum;
            }
            run += to->column;
        }
        from_row += from->row;
        to_row += to->row;
    }
    terms->n = 0;
}

/* Windows of a row that have all their columns share a list; the others come one by one. */
FQT_SMALL void fqt_float_gradient(const struct fqt_geometry *g, const float *x, const float *error, uint32_t filter,
                                  float *gradient, float *bias_gradient)
{
    const uint32_t next_error = g->filters, next_window = g->stride_w * g->c, room = room_of(g);
    float bias = *bias_gradient;
    struct terms terms;
    terms.n = 0;
    x += filter / g->group_filters * g->group_channels;
    error += filter;
    for (uint32_t oy = 0; oy < g->out_h; oy++) {
        const struct taps whole = taps_of(g, oy, 0, (struct fqt_span){0, g->kernel_w});
        uint32_t at = whole.x.first, left = 0u - g->pad_left;
        for (uint32_t ox = 0; ox < g->out_w; ox++, error += next_error, at += next_window, left += g->stride_w) {
            const float e = *error;
            if (e == 0.0f) {
                continue;
            }
            bias = bias + e;
            if (terms.n == TERMS || left >= room) {
                add(&terms, &whole, &whole.x, &whole.w, gradient);
            }
            if (left < room) {
                terms.list[terms.n++] = (struct fqt_term){e, x + at};
            } else {
                const struct taps t = taps_of_window(g, oy, ox);
                terms.list[terms.n++] = (struct fqt_term){e, x + t.x.first};
                add(&terms, &t, &t.x, &t.w, gradient);
            }
        }
        add(&terms, &whole, &whole.x, &whole.w, gradient);
    }
    *bias_gradient = bias;
}

/* Filters of a group see some of the channels only, few products each: error_in += e * w, tap by tap. */
static FQT_NOINLINE void scatter(const struct taps *t, float e, const float *w, float *error_in)
{
    for (uint32_t rows = t->rows; rows != 0; rows--, error_in += t->x.row, w += t->w.row) {
        const float *value = w;
        float *cell = error_in;
        for (uint32_t columns = t->columns; columns != 0; columns--, cell += t->x.column, value += t->run) {
            for (uint32_t i = 0; i < t->run; i++) {
                cell[i] = cell[i] + e * value[i];
            }
        }
    }
}

/* The errors of one window times their weights. */
static FQT_SMALL void add_errors(const struct fqt_geometry *g, const float *error, const float *weights,
                                 const struct fqt_selection *selection, const struct taps *t, float *error_in)
{
    struct terms terms;
    terms.n = 0;
    weights += t->w.first;
    for (uint32_t i = 0; i < selection->n; i++) {
        uint32_t f = fqt_selected(selection, i);
        const float *row = weights + f * g->stored;
        if (error[f] == 0.0f) {
            continue;
        }
        if (g->group_channels != g->c) {
            scatter(t, error[f], row, error_in + t->x.first + f / g->group_filters * g->group_channels);
            continue;
        }
        terms.list[terms.n++] = (struct fqt_term){error[f], row};
        if (terms.n == TERMS) {
            add(&terms, t, &t->w, &t->x, error_in);
        }
    }
    add(&terms, t, &t->w, &t->x, error_in);
}

FQT_SMALL void fqt_float_error(const struct fqt_geometry *g, const float *x, const float *error, const float *weights,
                               struct fqt_selection selection, float *error_in, uint32_t flags)
{
    uint32_t n = g->h * g->w * g->c;
    memset(error_in, 0, n * sizeof *error_in);
    for (uint32_t oy = 0; oy < g->out_h; oy++) {
        for (uint32_t ox = 0; ox < g->out_w; ox++, error += g->filters) {
            struct taps t = taps_of_window(g, oy, ox);
            add_errors(g, error, weights, &selection, &t, error_in);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        error_in[i] = fqt_float_hidden(flags, x[i]) ? 0.0f : error_in[i];
    }
}

#endif
