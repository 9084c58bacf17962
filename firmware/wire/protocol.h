/* The numbers of docs/wire.md. Little-endian on the line, as on every chip that runs this. */
#ifndef WIRE_PROTOCOL_H
#define WIRE_PROTOCOL_H

#define WIRE_VERSION 2u

enum wire_type {
    WIRE_HELLO = 0x01,
    WIRE_TRAIN = 0x02,
    WIRE_EVALUATE = 0x03,
    WIRE_CHECKSUM = 0x04,
    WIRE_READ = 0x05,
    WIRE_STATUS = 0x06,
    WIRE_ASK = 0x07,
    WIRE_RESTART = 0x08,
    WIRE_SINK = 0x09,
    WIRE_NOP = 0x0A,

    WIRE_BOOT = 0x80,
    WIRE_HELLO_REPLY = 0x81,
    WIRE_STEP = 0x82,
    WIRE_EVALUATED = 0x83,
    WIRE_CHECKSUM_REPLY = 0x84,
    WIRE_DATA = 0x85,
    WIRE_STATUS_REPLY = 0x86,
    WIRE_RESTARTED = 0x88,
    WIRE_SUNK = 0x89,
    WIRE_NOP_REPLY = 0x8A,
    WIRE_NAK = 0x8E,
    WIRE_ERROR = 0x8F
};

enum wire_error {
    WIRE_UNKNOWN_TYPE = 1,
    WIRE_BAD_LENGTH = 2,
    WIRE_NO_SESSION = 3,
    WIRE_NO_IMAGE = 4,
    WIRE_BAD_LABEL = 5,
    WIRE_BAD_RANGE = 6,
    WIRE_BAD_VERSION = 7
};

/* Body: type u8, flags u8, session u16, seq u32, payload, crc u32. All in bytes. */
#define WIRE_HEADER_BYTES 8u
#define WIRE_CRC_BYTES 4u
#define WIRE_MIN_BODY_BYTES (WIRE_HEADER_BYTES + WIRE_CRC_BYTES)
#define WIRE_READ_MAX_BYTES 512u

/* A STEP reports at most so many trained layers. */
#define WIRE_STEP_MAX_LAYERS 128u

/* Longest body from the device: DATA with its grant. */
#define WIRE_MAX_REPLY_BODY_BYTES (WIRE_MIN_BODY_BYTES + 4u + WIRE_READ_MAX_BYTES)

/* Bytes on the line of a body of n bytes, delimiter included: COBS adds one byte per begun 254. */
#define WIRE_ENCODED_BYTES(n) ((n) + (n) / 254u + 2u)

#endif
