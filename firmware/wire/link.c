#include "link.h"

#include <stddef.h>
#include <string.h>

#include "bytes.h"
#include "cobs.h"
#include "fqt.h"
#include "port.h"

/* CRC-32 of any message followed by its own CRC-32, little-endian. */
#define CRC_RESIDUE 0x2144DF1Cu

uint32_t link_ring_half_bytes(uint32_t slot_stride, uint32_t n_slots)
{
    const uint32_t needed = n_slots * WIRE_ENCODED_BYTES(slot_stride) + WIRE_GUARD_BYTES;
    return (needed + 3u) & ~3u;
}

bool link_memory_fits(const struct link_memory *memory)
{
    const uintptr_t misaligned = ((uintptr_t)memory->slots | (uintptr_t)memory->ring) & 3u;
    if (misaligned != 0 || memory->slot_stride < LINK_MIN_SLOT_BYTES || memory->slot_stride > UINT16_MAX)
        return false;
    if ((memory->slot_stride & 3u) != 0 || memory->n_slots < 1u || memory->n_slots > LINK_MAX_SLOTS)
        return false;
    return (memory->ring_half_bytes & 3u) == 0 && memory->ring_half_bytes <= LINK_MAX_RING_HALF_BYTES &&
           memory->ring_half_bytes >= link_ring_half_bytes(memory->slot_stride, memory->n_slots);
}

/* ---- sending ---- */

/* RTS falls once for each frame that the host may begin, and is low while there is one: a line that counts the edges
 * knows its credits although nobody looks at the receiver during a step (docs/wire.md, "RTS"). */
static void update_rts(struct link *link)
{
    const uint32_t unspent = link->session == 0 ? 1u : link->grant + 1u - link->expected;
    for (; link->admitted < unspent; link->admitted++) {
        port_rts(false);
        port_rts(true);
    }
    if (unspent == 0)
        port_rts(false);
}

static void transmit(struct link *link, const uint8_t *body, uint32_t bytes)
{
    uint8_t *frame = link->frames[link->frame_next];
    link->frame_next = 1u - link->frame_next;
    port_transmit(frame, cobs_encode(body, bytes, frame));
}

/* Complete the body whose payload of `bytes` is in place already, and return its length. */
static uint32_t seal(struct link *link, uint8_t type, uint32_t seq, uint32_t bytes)
{
    uint8_t *body = link->body;
    const uint32_t end = WIRE_HEADER_BYTES + bytes;
    body[0] = type;
    body[1] = 0;
    memcpy(body + 2, &link->session, sizeof link->session);
    memcpy(body + 4, &seq, sizeof seq);
    const uint32_t crc = fqt_crc32(0, body, end);
    memcpy(body + end, &crc, sizeof crc);
    return end + WIRE_CRC_BYTES;
}

/* Build a reply in link->body: grant, then `payload`. */
static uint32_t build(struct link *link, uint8_t type, uint32_t seq, const void *payload, uint32_t bytes)
{
    memcpy(link->body + WIRE_HEADER_BYTES, &link->grant, sizeof link->grant);
    if (bytes > 0)
        memcpy(link->body + WIRE_HEADER_BYTES + sizeof link->grant, payload, bytes);
    return seal(link, type, seq, (uint32_t)sizeof link->grant + bytes);
}

static void send_nak(struct link *link)
{
    transmit(link, link->body, build(link, WIRE_NAK, 0, &link->expected, sizeof link->expected));
}

static uint32_t build_error(struct link *link, uint32_t seq, uint16_t code, uint32_t detail)
{
    const uint32_t payload[2] = {code, detail};
    return build(link, WIRE_ERROR, seq, payload, sizeof payload);
}

/* Something was dropped: say so once, a burst of noise must not become a burst of replies. */
static void drop_bad(struct link *link)
{
    link->counters.bad++;
    if (!link->complained)
        send_nak(link);
    link->complained = true;
}

static void remember(struct link *link, uint32_t seq, uint32_t body_bytes)
{
    struct link_cached *entry = &link->cache[link->cache_next];
    link->cache_next = (link->cache_next + 1u) % (link->memory.n_slots + 1u);
    entry->seq = seq;
    entry->bytes = body_bytes <= LINK_CACHED_BODY_BYTES ? body_bytes : 0;
    memcpy(entry->body, link->body, entry->bytes);
}

void link_reply(struct link *link, uint8_t type, const void *payload, uint32_t bytes)
{
    const struct wire_frame frame = link->queue[link->head];
    link->head = (link->head + 1u) % link->memory.n_slots;
    link->queued--;
    if (!frame.repeated)
        link->grant = frame.seq + link->memory.n_slots;
    const uint32_t body_bytes = build(link, type, frame.seq, payload, bytes);
    if (!frame.repeated && frame.type != WIRE_HELLO)
        remember(link, frame.seq, body_bytes);
    transmit(link, link->body, body_bytes);
    update_rts(link);
}

void link_refuse(struct link *link, uint16_t code, uint32_t detail)
{
    const uint32_t payload[2] = {code, detail};
    link_reply(link, WIRE_ERROR, payload, sizeof payload);
}

/* ---- receiving ---- */

static void enqueue(struct link *link, const struct wire_frame *frame)
{
    link->queue[(link->head + link->queued) % link->memory.n_slots] = *frame;
    link->queued++;
}

/* A HELLO starts everything anew. The frame moves to slot 0, for the queue begins there again. */
static void accept_hello(struct link *link, struct wire_frame *frame)
{
    uint8_t *slot = link->memory.slots;
    memmove(slot, frame->payload - WIRE_HEADER_BYTES, WIRE_HEADER_BYTES + frame->payload_bytes);
    frame->payload = slot + WIRE_HEADER_BYTES;
    frame->seq = 0;
    link->session = frame->payload_bytes >= 2u ? wire_load16(frame->payload) : 0;
    link->head = 0;
    link->queued = 0;
    link->expected = 1;
    link->grant = 0;
    memset(link->cache, 0, sizeof link->cache);
    link->cache_next = 0;
    enqueue(link, frame);
}

/* A frame that was accepted before: its reply again, if it has one. */
static void accept_duplicate(struct link *link, struct wire_frame *frame)
{
    link->counters.duplicates++;
    for (uint32_t i = 0; i <= link->memory.n_slots; i++) {
        const struct link_cached *entry = &link->cache[i];
        if (entry->seq != frame->seq)
            continue;
        if (entry->bytes > 0) {
            transmit(link, entry->body, entry->bytes);
        } else {
            frame->repeated = true;
            enqueue(link, frame);
        }
        return;
    }
}

/* Judge a whole frame in the free slot behind the queue. */
static void accept(struct link *link, struct wire_frame *frame)
{
    if (frame->type == WIRE_HELLO) {
        accept_hello(link, frame);
    } else if (frame->session != link->session || link->session == 0) {
        if (!link->complained)
            transmit(link, link->body, build_error(link, frame->seq, WIRE_NO_SESSION, link->session));
        link->complained = true;
        return;
    } else if (frame->type == WIRE_ASK) {
        send_nak(link);
    } else if (frame->seq == link->expected && frame->seq <= link->grant) {
        link->expected++;
        enqueue(link, frame);
    } else if (frame->seq != 0 && frame->seq < link->expected) {
        accept_duplicate(link, frame);
    } else {
        drop_bad(link);
        return;
    }
    link->counters.good++;
    link->complained = false;
}

/* Decode the frame of `bytes` at the ring's cursor into the slot behind the queue, and judge it. */
static void take(struct link *link, uint32_t bytes)
{
    const struct link_memory *memory = &link->memory;
    uint8_t *slot = memory->slots + ((link->head + link->queued) % memory->n_slots) * memory->slot_stride;
    const struct wire_span span = ring_span(&link->ring, bytes);
    uint32_t body = 0;
    const bool whole = cobs_decode(&span, slot, memory->slot_stride, &body);
    ring_drop(&link->ring, bytes + 1u);
    if (!whole || body < WIRE_MIN_BODY_BYTES || fqt_crc32(0, slot, body) != CRC_RESIDUE) {
        drop_bad(link);
        return;
    }
    struct wire_frame frame = {
        .type = slot[0],
        .flags = slot[1],
        .session = wire_load16(slot + 2),
        .seq = wire_load32(slot + 4),
        .payload = slot + WIRE_HEADER_BYTES,
        .payload_bytes = body - WIRE_MIN_BODY_BYTES,
        .repeated = false,
    };
    accept(link, &frame);
}

static void start_receiver(struct link *link)
{
    ring_start(&link->ring, link->memory.ring, link->memory.ring_half_bytes);
    port_receive(link->memory.ring, link->memory.ring_half_bytes);
}

static void watch_overrun(struct link *link)
{
    if (!port_crossed() || ring_crossed(&link->ring))
        return;
    link->counters.overruns++;
    link->admitted = 0; /* nobody knows how many frames went by */
    link->cut = false;
    start_receiver(link);
    drop_bad(link);
}

const struct wire_frame *link_poll(struct link *link)
{
    /* A full queue leaves further frames in the ring, where the credits have room for them. */
    watch_overrun(link);
    while (link->queued < link->memory.n_slots) {
        uint32_t bytes = 0;
        const enum ring_state state = ring_look(&link->ring, link->max_frame_bytes, &bytes);
        if (state == RING_EMPTY)
            break;
        if (state == RING_OVERLONG) {
            ring_drop(&link->ring, bytes);
            link->cut = bytes <= link->max_frame_bytes;
            link->admitted -= link->admitted > 0 && !link->cut;
            drop_bad(link);
        } else if (bytes == 0) {
            ring_drop(&link->ring, 1u);
            link->admitted -= link->admitted > 0 && link->cut;
            link->cut = false;
        } else {
            link->admitted -= link->admitted > 0;
            link->cut = false;
            take(link, bytes);
        }
        watch_overrun(link);
    }
    update_rts(link);
    return link->queued > 0 ? &link->queue[link->head] : NULL;
}

bool link_settled(const struct link *link)
{
    return link->ring.settled;
}

void link_start(struct link *link, const struct link_memory *memory, const uint8_t *payload, uint32_t bytes)
{
    memset(link, 0, sizeof *link);
    link->memory = *memory;
    link->max_frame_bytes = WIRE_ENCODED_BYTES(memory->slot_stride);
    start_receiver(link);
    if (bytes > 0)
        memcpy(link->body + WIRE_HEADER_BYTES, payload, bytes);
    /* A lone 0x00 first: it closes the frame that a reset may have cut short. */
    uint8_t *frame = link->frames[1];
    frame[0] = 0;
    port_transmit(frame, 1u + cobs_encode(link->body, seal(link, WIRE_BOOT, 0, bytes), frame + 1));
    update_rts(link);
}
