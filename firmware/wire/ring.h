/* The receive ring: two halves that the receiver's DMA fills in turn, without help from the CPU.
 *
 * Nobody tells how far the DMA has come. Instead every byte not holding unread data is kept *blank*, a pattern free
 * of zeros, and a frame is complete when its closing 0x00 has appeared in memory. The DMA needs a new pointer once
 * per half; if the CPU comes too late for that, the DMA fills the same half again. A host that keeps to its credits
 * leaves the last WIRE_GUARD_BYTES of a half untouched until the CPU has noticed that the half was begun, so
 * anything there says that an overrun has happened.
 */
#ifndef WIRE_RING_H
#define WIRE_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "cobs.h"

#define WIRE_GUARD_BYTES 64u

struct wire_ring {
    uint8_t *base;        /* 2 * half_bytes, 4-byte aligned */
    uint32_t half_bytes;  /* a multiple of 4 */
    uint32_t cursor;      /* the next unread byte */
    uint32_t scanned;     /* bytes from the cursor on that hold no 0x00 and won't change */
    uint32_t probed;      /* bytes from the cursor on that were searched, though they seemed blank */
    bool settled;         /* the looks since the ring last changed would have found any 0x00 that was there */
    int32_t lag;          /* halves that the DMA was last known to be ahead of the cursor's: -1, 0 or 1 */
};

enum ring_state {
    RING_EMPTY,    /* no complete frame yet */
    RING_FRAME,    /* *bytes: its length without the 0x00 */
    RING_OVERLONG  /* *bytes: what to drop, its 0x00 included if there is one; no frame is that long */
};

/* Blank the whole ring; the DMA is about to start at its first byte. */
void ring_start(struct wire_ring *ring, uint8_t *base, uint32_t half_bytes);

/* The DMA was seen to have begun its other half. False: an overrun, the ring must be started again. */
bool ring_crossed(struct wire_ring *ring);

/* Look for a frame at the cursor, at most `max_bytes` long with its 0x00. */
enum ring_state ring_look(struct wire_ring *ring, uint32_t max_bytes, uint32_t *bytes);

/* The `bytes` from the cursor on, in one or two pieces. */
struct wire_span ring_span(const struct wire_ring *ring, uint32_t bytes);

/* Blank the `bytes` from the cursor on and move past them. */
void ring_drop(struct wire_ring *ring, uint32_t bytes);

#endif
