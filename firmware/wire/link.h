/* The device's end of the wire (docs/wire.md): frames come in order, exactly once, and each is answered once.
 *
 * The caller's loop is
 *     const struct wire_frame *frame = link_poll(&link);
 *     if (frame != NULL) { ...; link_reply(&link, type, payload, bytes); }
 * and link_poll runs often enough if it runs between two frames: the ring holds every frame for which the host
 * has a credit.
 */
#ifndef WIRE_LINK_H
#define WIRE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol.h"
#include "ring.h"

#define LINK_MAX_SLOTS 8u
#define LINK_MIN_SLOT_BYTES 128u
#define LINK_MAX_RING_HALF_BYTES 0x7FFCu /* the DMAs of the chips count in 15 bits or more */
#define LINK_CACHED_BODY_BYTES 48u /* the longest reply that is sent again from the cache: STATUS */

struct link_memory {
    uint8_t *slots;        /* n_slots * slot_stride, 4-byte aligned */
    uint32_t slot_stride;  /* the longest body that can be received; a multiple of 4, >= LINK_MIN_SLOT_BYTES */
    uint32_t n_slots;      /* 1..LINK_MAX_SLOTS: the window */
    uint8_t *ring;         /* 2 * ring_half_bytes, 4-byte aligned, reached by the receiver's DMA */
    uint32_t ring_half_bytes; /* a multiple of 4, link_ring_half_bytes() … LINK_MAX_RING_HALF_BYTES */
};

struct wire_frame {
    uint8_t type;
    uint8_t flags;
    uint16_t session;
    uint32_t seq;
    const uint8_t *payload; /* word-aligned, in its slot */
    uint32_t payload_bytes;
    bool repeated;          /* answered before, but its reply was too long for the cache */
};

struct link_counters {
    uint32_t good, bad, duplicates, overruns;
};

struct link_cached {
    uint32_t seq;
    uint32_t bytes; /* of the body; 0: was too long, the frame must be executed again */
    uint8_t body[LINK_CACHED_BODY_BYTES];
};

struct link {
    struct link_memory memory;
    struct wire_ring ring;
    uint32_t max_frame_bytes; /* on the line, with its 0x00 */
    uint16_t session;
    uint32_t expected;        /* seq to be accepted next */
    uint32_t grant;           /* highest seq that the host may send: the last answered + n_slots */
    uint32_t admitted;        /* falls of RTS less frames taken from the ring */
    bool cut;                 /* the rest of a frame that was too long, with its 0x00, is still to come */
    bool complained;          /* a NAK or ERROR(no session) was sent since the last good frame */
    struct wire_frame queue[LINK_MAX_SLOTS]; /* accepted and not yet answered; entry i lies in slot i */
    uint32_t head, queued;
    struct link_cached cache[LINK_MAX_SLOTS + 1u];
    uint32_t cache_next;
    struct link_counters counters;
    uint8_t body[WIRE_MAX_REPLY_BODY_BYTES];
    uint8_t frames[2][WIRE_ENCODED_BYTES(WIRE_MAX_REPLY_BODY_BYTES)];
    uint32_t frame_next;
};

/* Smallest half of a ring: every frame of a full window, and the guard. */
uint32_t link_ring_half_bytes(uint32_t slot_stride, uint32_t n_slots);

/* True if the wire can work with this memory. */
bool link_memory_fits(const struct link_memory *memory);

/* Start the receiver, send BOOT with `payload` (without grant), then accept a HELLO. `memory` fits. */
void link_start(struct link *link, const struct link_memory *memory, const uint8_t *payload, uint32_t bytes);

/* Take what was received; return the oldest frame that waits for its reply, or NULL. */
const struct wire_frame *link_poll(struct link *link);

/* True if the polls that returned NULL have searched the whole ring: what is there is no frame yet. False: poll again before
 * sleeping. */
bool link_settled(const struct link *link);

/* Answer the frame that link_poll returned; `payload` is what follows `grant`, at most 4 + WIRE_READ_MAX_BYTES. */
void link_reply(struct link *link, uint8_t type, const void *payload, uint32_t bytes);

/* Answer it with ERROR. */
void link_refuse(struct link *link, uint16_t code, uint32_t detail);

#endif
