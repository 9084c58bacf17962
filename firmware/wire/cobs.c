#include "cobs.h"

#include <string.h>

uint32_t cobs_encode(const uint8_t *body, uint32_t bytes, uint8_t *out)
{
    uint32_t code_at = 0, end = 1;
    uint8_t code = 1;
    for (uint32_t i = 0; i < bytes; i++) {
        if (body[i] != 0) {
            out[end++] = body[i];
            code++;
        }
        /* A full block of 254 bytes has no zero after it, and a body that ends with one needs no further block. */
        if (body[i] == 0 || (code == 0xFF && i + 1 < bytes)) {
            out[code_at] = code;
            code_at = end++;
            code = 1;
        }
    }
    out[code_at] = code;
    out[end++] = 0;
    return end;
}

static uint8_t byte_at(const struct wire_span *span, uint32_t i)
{
    return i < span->first_bytes ? span->first[i] : span->second[i - span->first_bytes];
}

/* Bytes [i, i + n) of the span, which may lie across its two parts. */
static void copy_out(uint8_t *out, const struct wire_span *span, uint32_t i, uint32_t n)
{
    const uint32_t left = i < span->first_bytes ? span->first_bytes - i : 0;
    const uint32_t head = left < n ? left : n;
    if (head > 0)
        memcpy(out, span->first + i, head);
    if (n > head)
        memcpy(out + head, span->second + (i + head - span->first_bytes), n - head);
}

bool cobs_decode(const struct wire_span *frame, uint8_t *out, uint32_t capacity, uint32_t *bytes)
{
    const uint32_t n = frame->first_bytes + frame->second_bytes;
    uint32_t in = 0, end = 0;
    while (in < n) {
        const uint32_t code = byte_at(frame, in++);
        const uint32_t literal = code - 1u;
        if (code == 0 || literal > n - in || literal > capacity - end)
            return false;
        copy_out(out + end, frame, in, literal);
        in += literal;
        end += literal;
        if (code < 0xFF && in < n) {
            if (end == capacity)
                return false;
            out[end++] = 0;
        }
    }
    *bytes = end;
    return true;
}
