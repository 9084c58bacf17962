#include "ring.h"

#include <stdatomic.h>
#include <string.h>

#include "bytes.h"

/* Blank memory: BLANK's bytes repeated from the ring's start. No zeros, and nothing that a sample is likely to be
 * full of. */
#define BLANK 0xC35AA53Cu

/* What one look searches beyond the place where data seems to end: some 20 µs on a Cortex-M4 at 64 MHz, so that a look
 * never delays the withdrawal of RTS by much. */
#define PROBE_BYTES 256u

static uint8_t blank_at(uint32_t offset)
{
    return (uint8_t)(BLANK >> (8u * (offset & 3u)));
}

static void blank(struct wire_ring *ring, uint32_t from, uint32_t to)
{
    const uint32_t word = BLANK;
    while (from < to && (from & 3u) != 0) {
        ring->base[from] = blank_at(from);
        from++;
    }
    for (; from + 4u <= to; from += 4u)
        memcpy(ring->base + from, &word, sizeof word);
    for (; from < to; from++)
        ring->base[from] = blank_at(from);
}

void ring_start(struct wire_ring *ring, uint8_t *base, uint32_t half_bytes)
{
    *ring = (struct wire_ring){.base = base, .half_bytes = half_bytes};
    blank(ring, 0, 2u * half_bytes);
}

static bool is_blank(const struct wire_ring *ring, uint32_t from, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        const uint32_t at = (from + i) % (2u * ring->half_bytes);
        if (ring->base[at] != blank_at(at))
            return false;
    }
    return true;
}

bool ring_crossed(struct wire_ring *ring)
{
    ring->lag++;
    if (ring->lag < 0 || ring->lag > 1)
        return false;
    const uint32_t cursor_half = ring->cursor >= ring->half_bytes ? 1u : 0u;
    const uint32_t filling = ring->lag == 0 ? cursor_half : 1u - cursor_half;
    const uint32_t guard = (filling + 1u) * ring->half_bytes - WIRE_GUARD_BYTES;
    return is_blank(ring, guard, WIRE_GUARD_BYTES);
}

static bool has_zero_byte(uint32_t word)
{
    return ((word - 0x01010101u) & ~word & 0x80808080u) != 0;
}

/* How far data reaches, seen from `scanned`: up to two blank words in a row, at most to `end`. *arrived is the end of
 * the last word there whose last byte isn't blank: the DMA writes upwards, so everything before it has arrived. */
static uint32_t reach(const struct wire_ring *ring, uint32_t end, uint32_t *arrived)
{
    const uint32_t size = 2u * ring->half_bytes;
    uint32_t distance = ring->scanned, blank_words = 0;
    uint32_t at = (ring->cursor + distance) % size;
    *arrived = distance;
    while ((at & 3u) != 0 && distance < end) {
        at++;
        distance++;
    }
    while (distance + 4u <= end && blank_words < 2u) {
        if (at == size)
            at = 0;
        const uint32_t word = wire_load32(ring->base + at);
        blank_words = word == BLANK ? blank_words + 1u : 0;
        at += 4u;
        distance += 4u;
        if (word >> 24 != BLANK >> 24)
            *arrived = distance;
    }
    return blank_words == 2u ? distance : end;
}

/* Distance of the first 0x00 in [cursor + distance, cursor + end), or `end`. */
static uint32_t search(const struct wire_ring *ring, uint32_t distance, uint32_t end)
{
    const uint32_t size = 2u * ring->half_bytes;
    uint32_t at = (ring->cursor + distance) % size;
    while (distance < end) {
        if (at == size)
            at = 0;
        if ((at & 3u) == 0 && distance + 4u <= end && !has_zero_byte(wire_load32(ring->base + at))) {
            at += 4u;
            distance += 4u;
        } else if (ring->base[at] != 0) {
            at++;
            distance++;
        } else {
            return distance;
        }
    }
    return end;
}

static enum ring_state overlong(uint32_t drop, uint32_t *bytes)
{
    *bytes = drop;
    return RING_OVERLONG;
}

/* Data may look blank, and garbage just where a frame would have to end: it would block the ring. So while what is
 * there doesn't grow, look for a 0x00 anywhere, a piece at a time. Its distance, or the ring's size if none so far. */
static uint32_t probe(struct wire_ring *ring)
{
    const uint32_t size = 2u * ring->half_bytes;
    const uint32_t from = ring->probed > ring->scanned ? ring->probed : ring->scanned;
    const uint32_t to = size - from > PROBE_BYTES ? from + PROBE_BYTES : size;
    const uint32_t zero = search(ring, from, to);
    ring->settled = to == size;
    ring->probed = ring->settled ? 0 : to;
    return zero < to ? zero : size;
}

enum ring_state ring_look(struct wire_ring *ring, uint32_t max_bytes, uint32_t *bytes)
{
    const uint32_t size = 2u * ring->half_bytes;
    uint32_t arrived;
    /* First what has arrived, then the search: a 0x00 that lands in between must not be passed over. */
    const bool beyond = !is_blank(ring, (ring->cursor + max_bytes - 1u) % size, 4u);
    atomic_signal_fence(memory_order_seq_cst);
    const uint32_t reached = reach(ring, max_bytes, &arrived);
    atomic_signal_fence(memory_order_seq_cst); /* the DMA writes meanwhile: no read may move, no value be kept */
    uint32_t end = search(ring, ring->scanned, reached);
    ring->settled = false;
    if (end == reached) {
        const bool grows = arrived != ring->scanned;
        ring->scanned = arrived;
        if (grows)
            ring->probed = 0;
        end = grows ? size : probe(ring);
        if (end == size)
            return reached == max_bytes && beyond ? overlong(max_bytes, bytes) : RING_EMPTY;
    }
    if (end >= max_bytes)
        return overlong(end + 1u, bytes);
    *bytes = end;
    return RING_FRAME;
}

struct wire_span ring_span(const struct wire_ring *ring, uint32_t bytes)
{
    const uint32_t to_end = 2u * ring->half_bytes - ring->cursor;
    const uint32_t first = bytes < to_end ? bytes : to_end;
    return (struct wire_span){ring->base + ring->cursor, first, ring->base, bytes - first};
}

void ring_drop(struct wire_ring *ring, uint32_t bytes)
{
    const uint32_t size = 2u * ring->half_bytes;
    const uint32_t half_before = ring->cursor / ring->half_bytes;
    const uint32_t end = ring->cursor + bytes;
    blank(ring, ring->cursor, end < size ? end : size);
    if (end > size)
        blank(ring, 0, end - size);
    ring->lag -= (int32_t)(end / ring->half_bytes - half_before);
    ring->cursor = end % size;
    ring->scanned = 0;
    ring->probed = 0;
}
