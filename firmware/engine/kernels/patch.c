#include "patch.h"

/* First and last+1 index k in 0..n with 0 <= start + k < size. */
struct span {
    uint32_t first, end;
};

static struct span inside(int32_t start, uint32_t n, uint32_t size)
{
    uint32_t first = start < 0 ? (uint32_t)-start : 0u;
    int32_t left = (int32_t)size - start;
    uint32_t end = left < 0 ? 0u : ((uint32_t)left < n ? (uint32_t)left : n);
    first = first < end ? first : end;
    return (struct span){first, end};
}

static FQT_NOINLINE uint8_t *fill(uint8_t *to, uint32_t n, uint8_t value)
{
    uint8_t *end = to + n;
#if FQT_UNALIGNED
    uint32_t word = value * 0x01010101u;
    for (; n >= 4u; n -= 4u, to += 4) {
        fqt_copy_word(to, (const uint8_t *)&word);
    }
#endif
    while (to != end) {
        *to++ = value;
#if defined(__GNUC__)
        __asm__("" : : : "memory"); /* or the loop becomes a call of memset */
#endif
    }
    return end;
}

static FQT_NOINLINE bool is_inside(const struct fqt_patches *p, int32_t top, int32_t left)
{
    return fqt_is_inside(p, (struct fqt_corner){top, left});
}

/* `columns` cells from `from`. */
static FQT_NOINLINE uint8_t *copy_cells(const struct fqt_patches *p, uint8_t *to, const uint8_t *from, uint32_t columns)
{
    if (p->channels == NULL && p->cell == p->c) {
        fqt_copy(to, from, columns * p->c);
        return to + columns * p->c;
    }
    for (; columns != 0; columns--, from += p->c) {
        if (p->channels == NULL) {
            fqt_copy(to, from, p->cell);
            to += p->cell;
            continue;
        }
        for (const uint16_t *channel = p->channels, *end = channel + p->cell; channel != end; channel++) {
            *to++ = from[*channel];
        }
    }
    return to;
}

#if FQT_UNALIGNED

/* A window that lies inside, of whole cells. Rows are copied in words; what a row's last word brings too much, the next
 * row overwrites, and the map goes on behind it. The last row is copied exactly. */
static void copy_rows(const struct fqt_patches *p, const uint8_t *from, uint8_t *to)
{
    uint32_t n = p->columns * p->cell, pitch = p->w * p->c;
    uint8_t *end = to + p->stored;
    bool in_words = p->rows * n + ((n + 3u) & ~3u) <= p->stored + 2u * n; /* the last but one row ends in `to` */
    for (uint32_t row = p->rows; row > 1u; row--, to += n, from += pitch) {
        if (!in_words) {
            fqt_copy(to, from, n);
            continue;
        }
        for (uint32_t i = 0; i < n; i += 4u) {
            fqt_copy_word(to + i, from + i);
        }
    }
    fqt_copy(to, from, n);
    fill(to + n, (uint32_t)(end - to) - n, p->fill);
}

#endif

const uint8_t *fqt_patch(const struct fqt_patches *p, int32_t top, int32_t left, uint8_t *to)
{
    if (p->rows == 1u && p->columns == 1u && p->cell == p->stored && p->channels == NULL && (uint32_t)top < p->h &&
        (uint32_t)left < p->w) {
        return p->map + ((uint32_t)top * p->w + (uint32_t)left) * p->c;
    }
#if FQT_UNALIGNED
    if (p->cell == p->c && p->channels == NULL && is_inside(p, top, left)) {
        copy_rows(p, p->map + ((uint32_t)top * p->w + (uint32_t)left) * p->c, to);
        return to;
    }
#endif
    uint8_t *begin = to, *end = to + p->stored;
    struct span rows = inside(top, p->rows, p->h), columns = inside(left, p->columns, p->w);
    uint32_t used = columns.end - columns.first;
    uint32_t before = columns.first * p->cell, after = (p->columns - columns.end) * p->cell;
    to = fill(to, rows.first * p->columns * p->cell, p->fill);
    const uint8_t *from = p->map;
    if (used != 0 && rows.end > rows.first) {
        from += ((uint32_t)(top + (int32_t)rows.first) * p->w + (uint32_t)(left + (int32_t)columns.first)) * p->c;
    }
    for (uint32_t row = rows.first; row < rows.end; row++, from += p->w * p->c) {
        to = fill(to, before, p->fill);
        to = copy_cells(p, to, from, used);
        to = fill(to, after, p->fill);
    }
    fill(to, (uint32_t)(end - to), p->fill);
    return begin;
}

struct fqt_windows fqt_window_pair(const struct fqt_patches *p, struct fqt_corner first, struct fqt_corner second,
                                   void *values, uint8_t *bytes)
{
    uint32_t n = p->columns * p->cell;
#if FQT_WIDENS
    if (p->centred != NULL && p->rows != 0) {
        return fqt_centred_pair(p, first, second, values);
    }
#endif
    if (p->cell == p->c && p->channels == NULL && (n & 3u) == 0 && p->rows != 0 &&
        is_inside(p, first.top, first.left) && is_inside(p, second.top, second.left)) {
        const struct fqt_area rows = {p->rows, n, p->w * p->c};
        return fqt_lay_out_pair(values, fqt_map_at(p, first), fqt_map_at(p, second), rows, p->fill);
    }
    const struct fqt_area whole = {1u, p->stored, 0};
    return fqt_lay_out_pair(values, fqt_patch(p, first.top, first.left, bytes),
                            fqt_patch(p, second.top, second.left, bytes + p->stored), whole, p->fill);
}
