/* libFuzzer target: any bytes on the serial line. The input is a list of pieces, each a kind, a length and that many bytes:
 * kind even, bytes as they are; odd, a body that gets its CRC and its framing, so that the fuzzer gets past both. */
#include <stdlib.h>
#include <string.h>

#include "fqt.h"
#include "link.h"
#include "port.h"

#define SLOTS 2u
#define SLOT_BYTES 128u
#define POLLS 8u /* more than a piece has frames that are worth waiting for */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *ring;
static uint32_t half_bytes, current, latched, at;
static bool ended;

void port_receive(uint8_t *to, uint32_t bytes)
{
    ring = to;
    half_bytes = bytes;
    current = at = 0;
    latched = 1;
    ended = false;
}

bool port_crossed(void)
{
    if (!ended) {
        return false;
    }
    ended = false;
    latched = 1u - current;
    return true;
}

void port_transmit(const uint8_t *frame, uint32_t bytes)
{
    const uint32_t begin = frame[0] == 0 ? 1u : 0u; /* BOOT closes what a reset cut short */
    if (bytes <= begin || frame[bytes - 1u] != 0 || memchr(frame + begin, 0, bytes - 1u - begin) != NULL) {
        abort(); /* not one frame */
    }
}

void port_rts(bool asserted)
{
    (void)asserted;
}

static void receive(const uint8_t *bytes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        ring[current * half_bytes + at++] = bytes[i];
        if (at == half_bytes) {
            ended = true;
            current = latched;
            at = 0;
        }
    }
}

static void receive_framed(const uint8_t *body, uint32_t n)
{
    uint8_t sealed[256 + WIRE_CRC_BYTES], frame[WIRE_ENCODED_BYTES(256u + WIRE_CRC_BYTES)];
    uint32_t crc = fqt_crc32(0, body, n);
    memcpy(sealed, body, n);
    memcpy(sealed + n, &crc, sizeof crc);
    receive(frame, cobs_encode(sealed, n + WIRE_CRC_BYTES, frame));
}

static void answer(struct link *link)
{
    for (uint32_t i = 0; i < POLLS; i++) {
        const struct wire_frame *frame = link_poll(link);
        if (frame == NULL) {
            continue;
        }
        if (frame->flags & 1u) {
            link_refuse(link, WIRE_UNKNOWN_TYPE, frame->type);
        } else {
            uint32_t bytes = frame->payload_bytes < WIRE_READ_MAX_BYTES ? frame->payload_bytes : WIRE_READ_MAX_BYTES;
            link_reply(link, (uint8_t)(frame->type | 0x80u), frame->payload, bytes);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct link link;
    const uint32_t half = link_ring_half_bytes(SLOT_BYTES, SLOTS);
    const struct link_memory memory = {
        .slots = malloc(SLOTS * SLOT_BYTES),
        .slot_stride = SLOT_BYTES,
        .n_slots = SLOTS,
        .ring = malloc(2u * half),
        .ring_half_bytes = half,
    };
    memset(&link, 0, sizeof link);
    link_start(&link, &memory, NULL, 0);
    while (size >= 2) {
        const uint32_t kind = data[0];
        const uint32_t n = data[1] < size - 2 ? data[1] : (uint32_t)(size - 2);
        (kind & 1u ? receive_framed : receive)(data + 2, n);
        answer(&link);
        data += 2 + n;
        size -= 2 + n;
    }
    free(memory.slots);
    free(memory.ring);
    return 0;
}
