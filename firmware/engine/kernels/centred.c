/* A map of which windows are made by copying words, where the scratch has room for one. */
#include "patch.h"

#include "simd.h"

#if FQT_WIDENS

static FQT_SMALL uint32_t *put_zeros(uint32_t *to, uint32_t n)
{
    for (; n != 0; n--) {
        *to++ = 0;
        __asm__("" : : : "memory"); /* or the loop becomes a call of memset */
    }
    return to;
}

/* n values, a multiple of 4, in the order of a window's. */
static FQT_NOINLINE uint32_t *put_values(uint32_t *to, const uint8_t *from, uint32_t n, uint32_t minus)
{
    for (const uint8_t *end = from + n; from != end; from += 4, to += 2) {
        uint32_t word = fqt_word(from);
        to[0] = fqt_add_even_bytes(minus, word);
        to[1] = fqt_add_odd_bytes(minus, word);
    }
    return to;
}

static FQT_SMALL uint32_t *put_cell(uint32_t *to, const struct fqt_patches *p, const uint8_t *from, uint32_t minus)
{
    for (uint32_t i = 0; i < p->cell; i += 4u) {
        const uint16_t *channel = p->channels + i;
        uint8_t bytes[4];
        for (uint32_t k = 0; k < 4u; k++) {
            bytes[k] = i + k < p->listed ? from[channel[k]] : p->fill;
        }
        to = put_values(to, bytes, 4u, minus);
    }
    return to;
}

static FQT_SMALL uint32_t *put_row(uint32_t *to, const struct fqt_patches *p, const uint8_t *from, uint32_t minus,
                                   uint32_t columns)
{
    if (p->channels == NULL && p->cell == p->c) {
        return put_values(to, from, columns * p->c, minus);
    }
    for (; columns != 0; columns--, from += p->c) {
        to = p->channels == NULL ? put_values(to, from, p->cell, minus) : put_cell(to, p, from, minus);
    }
    return to;
}

FQT_SMALL void fqt_centre_map(struct fqt_patches *p, struct fqt_border b, void *to)
{
    uint32_t minus = fqt_minus_pair(p->fill), *next = to, words = p->cell / 2u;
    uint32_t columns = b.columns - b.left < p->w ? b.columns - b.left : p->w;
    p->centred = to;
    p->border = b;
    for (uint32_t row = 0; row < b.rows; row++) {
        if (row < b.top || row - b.top >= p->h) {
            next = put_zeros(next, b.columns * words);
            continue;
        }
        next = put_zeros(next, b.left * words);
        next = put_row(next, p, p->map + (row - b.top) * p->w * p->c, minus, columns);
        next = put_zeros(next, (b.columns - b.left - columns) * words);
    }
}

/* A row of n bytes of both windows, a multiple of 8: 5 instructions, 23 cycles for 32 bytes. */
static inline uint32_t *copy_row(uint32_t *to, const uint8_t *first, const uint8_t *second, uint32_t n)
{
    const uint8_t *end = first + (n & ~15u);
    if (n >= 16u) {
        __asm__ volatile("1:\n\t"
                         "ldmia %1!, {r4, r6, r8, r10}\n\t"
                         "ldmia %2!, {r5, r7, r9, r11}\n\t"
                         "stmia %0!, {r4, r5, r6, r7, r8, r9, r10, r11}\n\t"
                         "cmp %1, %3\n\t"
                         "bne 1b"
                         : "+r"(to), "+r"(first), "+r"(second)
                         : "r"(end)
                         : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "cc", "memory");
    }
    if ((n & 8u) != 0) {
        to[0] = fqt_word(first);
        to[1] = fqt_word(second);
        to[2] = fqt_word(first + 4);
        to[3] = fqt_word(second + 4);
        to += 4;
    }
    return to;
}

static const uint8_t *at(const struct fqt_patches *p, struct fqt_corner corner)
{
    uint32_t row = (uint32_t)corner.top + p->border.top, column = (uint32_t)corner.left + p->border.left; /* wraps back */
    return p->centred + 2u * p->cell * (row * p->border.columns + column);
}

FQT_SMALL struct fqt_windows fqt_centred_pair(const struct fqt_patches *p, struct fqt_corner first,
                                              struct fqt_corner second, void *values)
{
    const uint8_t *a = at(p, first), *b = at(p, second);
    uint32_t *to = values, n = 2u * p->columns * p->cell, pitch = 2u * p->border.columns * p->cell;
    for (uint32_t row = p->rows; row != 0; row--, a += pitch, b += pitch) {
        to = copy_row(to, a, b, n);
    }
    return (struct fqt_windows){values, 0, 0};
}

#endif
