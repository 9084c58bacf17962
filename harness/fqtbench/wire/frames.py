"""Frames: the numbers of docs/wire.md, and bytes to frames and back.

A frame on the line is ``COBS(body) 0x00``, with
``body = type u8 | flags u8 (0) | session u16 | seq u32 | payload | crc u32``, little-endian.
"""

import struct
import zlib
from enum import IntEnum
from typing import Final, NamedTuple

from cobs import cobs

PROTOCOL_VERSION: Final = 2
READ_MAX_BYTES: Final = 512
"""The longest piece of a tensor that one READ may ask for."""

_HEADER: Final = struct.Struct("<BBHI")
_CRC: Final = struct.Struct("<I")
MIN_BODY_BYTES: Final = _HEADER.size + _CRC.size
_RESIDUE: Final = 0x2144DF1C  # CRC-32 of any bytes followed by their own CRC-32


class Type(IntEnum):
    """Frame types; those from 0x80 on come from the device."""

    HELLO = 0x01
    TRAIN = 0x02
    EVALUATE = 0x03
    CHECKSUM = 0x04
    READ = 0x05
    STATUS = 0x06
    ASK = 0x07
    RESTART = 0x08
    SINK = 0x09
    NOP = 0x0A
    BOOT = 0x80
    HELLO_REPLY = 0x81
    STEP = 0x82
    EVALUATED = 0x83
    CHECKSUM_REPLY = 0x84
    DATA = 0x85
    STATUS_REPLY = 0x86
    RESTARTED = 0x88
    SUNK = 0x89
    NOP_REPLY = 0x8A
    NAK = 0x8E
    ERROR = 0x8F


REPLY_TO: Final = {
    Type.HELLO: Type.HELLO_REPLY,
    Type.TRAIN: Type.STEP,
    Type.EVALUATE: Type.EVALUATED,
    Type.CHECKSUM: Type.CHECKSUM_REPLY,
    Type.READ: Type.DATA,
    Type.STATUS: Type.STATUS_REPLY,
    Type.RESTART: Type.RESTARTED,
    Type.SINK: Type.SUNK,
    Type.NOP: Type.NOP_REPLY,
}
"""The reply that each of the host's frames gets, unless it is ERROR."""


class Frame(NamedTuple):
    """One frame, its CRC checked and removed."""

    type: int
    session: int
    seq: int
    payload: bytes


def encode(type_: int, session: int, seq: int, payload: bytes = b"") -> bytes:
    """Return the frame's bytes on the line, closing 0x00 included."""
    body = _HEADER.pack(type_, 0, session, seq) + payload
    return bytes(cobs.encode(body + _CRC.pack(zlib.crc32(body)))) + b"\0"


def body_bytes(payload_bytes: int) -> int:
    """Return the length of the body that carries a payload of that length."""
    return MIN_BODY_BYTES + payload_bytes


def decode(frame: bytes) -> Frame | None:
    """Return the frame in `frame` (without its 0x00), or None if code, length or CRC is wrong."""
    try:
        body: bytes = cobs.decode(frame)
    except cobs.DecodeError:
        return None
    if len(body) < MIN_BODY_BYTES or zlib.crc32(body) != _RESIDUE:
        return None
    type_, _, session, seq = _HEADER.unpack_from(body)
    return Frame(type_, session, seq, body[_HEADER.size : -_CRC.size])


class Deframer:
    """Cuts a stream of bytes into frames, however the reads split it."""

    MAX_FRAME_BYTES: Final = 4096
    """A stretch without 0x00 longer than this is garbage; no reply comes near it."""

    def __init__(self) -> None:
        self._pending = b""
        self.frames_corrupt = 0
        """Frames dropped for a wrong code, length or CRC, and stretches of garbage."""

    def clear(self) -> None:
        """Forget the beginning of a frame that is still incomplete."""
        self._pending = b""

    def feed(self, data: bytes) -> list[Frame | None]:
        """Return each complete frame in order, and None for each corrupt one."""
        *complete, self._pending = (self._pending + data).split(b"\0")
        frames = []
        for piece in complete:
            if piece:
                frames.append(decode(piece))
        if len(self._pending) > self.MAX_FRAME_BYTES:
            self._pending = b""
            frames.append(None)
        self.frames_corrupt += frames.count(None)
        return frames
