/* Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999): a body without zeros, so that 0x00 ends a frame. */
#ifndef WIRE_COBS_H
#define WIRE_COBS_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes in at most two pieces: a frame in the receive ring may wrap around its end. */
struct wire_span {
    const uint8_t *first;
    uint32_t first_bytes;
    const uint8_t *second;
    uint32_t second_bytes;
};

/* Encode body[bytes] into out[WIRE_ENCODED_BYTES(bytes)], the closing 0x00 included. Returns the bytes written. */
uint32_t cobs_encode(const uint8_t *body, uint32_t bytes, uint8_t *out);

/* Decode a frame (no 0x00 in it, the delimiter left off) into out[capacity]. Returns false, with nothing written
 * beyond `capacity`, if the code is broken or the body longer than that. */
bool cobs_decode(const struct wire_span *frame, uint8_t *out, uint32_t capacity, uint32_t *bytes);

#endif
