/* The bytes under a window, in one piece. */
#ifndef FQT_PATCH_H
#define FQT_PATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rows.h"

/* How far a centred map goes beyond the map, and its size. */
struct fqt_border {
    uint32_t top, left;
    uint32_t rows, columns;
};

/* Windows of `rows` x `columns` over map(H,W,C), of which each cell gives `cell` channels from the first one on;
 * `stored` >= rows*columns*cell, a multiple of 4; rows and columns are both 0 or neither. */
struct fqt_patches {
    const uint8_t *map;
    uint32_t h, w, c;
    uint32_t rows, columns;
    uint32_t stored;
    uint8_t fill;            /* stands for what lies outside the map, and behind the last value */
    uint32_t cell;
    const uint16_t *channels; /* NULL, or the channels that are wanted instead, ascending: `cell` of them */
    uint32_t listed;          /* or on a centred map fewer, and then zeros */
    const uint8_t *centred;  /* NULL, or what fqt_centre_map has made of the map */
    struct fqt_border border;
};

/* The window (rows,columns,cell) whose first value is (top,left), possibly outside the map: `stored` bytes, put together
 * in `to` (aligned to 4), or a single cell where it lies in the map. `map` points at the first channel. */
const uint8_t *fqt_patch(const struct fqt_patches *p, int32_t top, int32_t left, uint8_t *to);

/* Where a window's first value lies, possibly outside the map. */
struct fqt_corner {
    int32_t top, left;
};

/* Whether the window lies on the map; and its first byte there. */
static inline bool fqt_is_inside(const struct fqt_patches *p, struct fqt_corner at)
{
    return at.top >= 0 && at.left >= 0 && (uint32_t)at.top + p->rows <= p->h && (uint32_t)at.left + p->columns <= p->w;
}

static inline const uint8_t *fqt_map_at(const struct fqt_patches *p, struct fqt_corner at)
{
    return p->map + ((uint32_t)at.top * p->w + (uint32_t)at.left) * p->c;
}

/* Two windows laid out in `values` (FQT_WINDOW_BYTES * stored); `bytes` (2 * stored) is for those that stick out of the map. */
struct fqt_windows fqt_window_pair(const struct fqt_patches *p, struct fqt_corner first, struct fqt_corner second,
                                   void *values, uint8_t *bytes);

/* Make the pairs' values once for all windows, the border's zeros included: centred int16, in `to` (aligned to 4), which takes
 * FQT_CENTRED_BYTES a value. Whoever has `p` then lays out windows by copying, without their sums, which only rows that are
 * bytes need. The cell is a multiple of 4, and the windows lie within the border. */
#define FQT_CENTRED_BYTES 2u

void fqt_centre_map(struct fqt_patches *p, struct fqt_border border, void *to);
struct fqt_windows fqt_centred_pair(const struct fqt_patches *p, struct fqt_corner first, struct fqt_corner second,
                                    void *values);

#if FQT_UNALIGNED

/* Four bytes, at any addresses. */
static inline void fqt_copy_word(uint8_t *to, const uint8_t *from)
{
    uint32_t word;
    __asm__("ldr %0, %1" : "=r"(word) : "m"(*(const uint8_t(*)[4])from));
    __asm__("str %1, %0" : "=m"(*(uint8_t(*)[4])to) : "r"(word));
}

#endif

/* n bytes. The compiler's memcpy is a call, and newlib-nano's goes byte by byte. */
static inline void fqt_copy(uint8_t *restrict to, const uint8_t *restrict from, uint32_t n)
{
#if FQT_UNALIGNED
    for (; n >= 4u; n -= 4u, to += 4, from += 4) {
        fqt_copy_word(to, from);
    }
#endif
    for (; n != 0; n--) {
        *to++ = *from++;
    }
}

/* n words of zeros; memset, too, is a call that goes byte by byte, so the compiler must not see one here. */
static inline void fqt_clear(int32_t *words, uint32_t n)
{
    for (; n >= 4u; n -= 4u, words += 4) {
        words[0] = words[1] = words[2] = words[3] = 0;
#if defined(__GNUC__)
        __asm__("" : : : "memory");
#endif
    }
    for (; n != 0; n--) {
        *words++ = 0;
#if defined(__GNUC__)
        __asm__("" : : : "memory");
#endif
    }
}

#endif
