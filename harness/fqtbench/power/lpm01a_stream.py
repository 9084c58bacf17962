"""The binary stream of ST's Power Shield X-NUCLEO-LPM01A, decoded and checked.

Format ``bin_hexa`` (UM2269 Rev 6, 4.4.2). A sample is two bytes, big-endian: 4 bits e, 12 bits m, of the current
``m · 16^-e`` A, with e from 0 to 14. So the first byte of a sample is below 0xF0, and whole samples never have two
bytes in a row of 0xF0 or more. Such a pair, ``F0 F1`` to ``F0 FE``, begins metadata, which end with ``FF FF``. Where a
torn sample looks like the begin of metadata, that end is missing.

Samples carry no numbers, but a time stamp in ms stands before the first sample and behind every 1000th. So samples
are counted in blocks from stamp to stamp. A block with another number than its stamps' difference says is lost whole,
since nobody knows which of its samples is missing or too many: one loss costs 1000 samples.
"""

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import MonitorError
from fqtbench.power.instrument import Chunk, Flag

SAMPLES_PER_STAMP: Final = 1000  # UM2269, "each 1000 samples, a timestamp is sent"
MAX_A: Final = 0.01  # UM2269, tables 1 and 15: the dynamic mode is specified from 100 nA to 10 mA
_STAMP_WRAP_MS: Final = 1 << 31  # bit 31 of a stamp only says that it wrapped
_TOLERANCE_MS: Final = 1  # a stamp is in whole ms
_MAX_GAP_S: Final = 60.0
_MAX_BLOCK_BYTES: Final = 1 << 18  # about 130 time stamps missing in a row
_MAX_TEXT_BYTES: Final = 512
_BEGIN: Final = re.compile(rb"\xf0[\xf1-\xfe]")
_END: Final = b"\xff\xff"

_ERROR, _INFO, _STAMP, _ENDED, _OVERCURRENT = 0xF1, 0xF2, 0xF3, 0xF4, 0xF5
_POWER_DOWN, _VOLTAGE, _TEMPERATURE, _POWER = 0xF6, 0xF7, 0xF8, 0xF9
# UM2269 Rev 6, tables 40 to 46: bytes of each, its FF FF included. Table 42 prints F4 for overcurrent, as for the end;
# ST's tools, and Zephyr's reader of the STM32L562E-DK, take F5. An end that nobody asked for is an error either way.
_SIZES: Final = {
    _STAMP: 9,
    _ENDED: 4,
    _OVERCURRENT: 4,
    _POWER_DOWN: 4,
    _VOLTAGE: 6,
    _TEMPERATURE: 6,
    _POWER: 5,
}


def decode_words(payload: bytes) -> NDArray[np.float32]:
    """Return the currents in A, (n,), of samples of 2 bytes each."""
    words = np.frombuffer(payload, dtype=">u2")
    return np.ldexp((words & 0x0FFF).astype(np.float32), -4 * (words >> 12).astype(np.int32))


class Lpm01aStream:
    """What arrives behind `start`, cut anywhere, made into Chunks with every loss marked.

    What stands behind the last time stamp is left out: no stamp vouches for its number of samples. One sample lost
    and another doubled between the same two stamps can't be noticed.
    """

    def __init__(self, rate_hz: int, name: str) -> None:
        self.ended = False
        self.complaints: list[str] = []
        """What the instrument said in words, the last few."""
        self._name = name
        self._block_ms = SAMPLES_PER_STAMP * 1000 / rate_hz
        self._max_blocks = max(1, int(_MAX_GAP_S * rate_hz / SAMPLES_PER_STAMP))
        self._pending = bytearray()
        self._payload = bytearray()
        self._begun = False
        self._stamp_ms = 0
        self._next = 0
        self._flags = Flag(0)

    def feed(self, data: bytes) -> list[Chunk]:
        """Return the samples of the blocks that `data` completes.

        Raises MonitorError if the stream can't be understood any more, or has a gap of more than a minute.
        """
        self._pending += data
        chunks: list[Chunk] = []
        at = 0
        while not self.ended:
            found = _BEGIN.search(self._pending, at)
            if found is None:
                break
            self._take_samples(at, found.start())
            at = found.start()
            size = self._size(at)
            if size is None:
                break  # the rest of it is still to come
            chunks += self._take_metadata(bytes(self._pending[at : at + size]))
            at += size
        else:
            at = len(self._pending)  # behind the end stands a summary in words
        if not self.ended and found is None:
            end = len(self._pending) - self._pending.endswith(b"\xf0")
            self._take_samples(at, end)
            at = max(at, end)
        del self._pending[:at]
        return chunks

    def _take_samples(self, begin: int, end: int) -> None:
        if self._begun:  # before the first stamp stand the shell's lines
            self._payload += self._pending[begin:end]
            if len(self._payload) > _MAX_BLOCK_BYTES:
                raise MonitorError(
                    f"{self._name} has sent {len(self._payload)} bytes without a time stamp; unplug and plug it, "
                    "then try again"
                )

    def _size(self, at: int) -> int | None:
        """Return how many bytes the metadata at `at` have, 2 if they are torn; None if they aren't all here."""
        pending = self._pending
        kind = pending[at + 1]
        if kind in (_ERROR, _INFO):
            end = pending.find(_END, at + 2, at + 2 + _MAX_TEXT_BYTES)
            if end >= 0:
                return end + 2 - at if pending[at + 2 : end].isascii() else 2
            return 2 if len(pending) >= at + 2 + _MAX_TEXT_BYTES else None
        size = _SIZES.get(kind, 2)
        if len(pending) < at + size:
            return None
        return size if size > 2 and pending[at + size - 2 : at + size] == _END else 2

    def _take_metadata(self, message: bytes) -> list[Chunk]:
        kind, body = message[1], message[2:-2]
        if len(message) == 2:
            self._flags |= Flag.LOST
        elif kind == _STAMP:
            return self._close_block(int.from_bytes(body[:4]) % _STAMP_WRAP_MS, body[4])
        elif kind == _ENDED:
            self.ended = True
        elif kind == _OVERCURRENT:
            self._flags |= Flag.OVERCURRENT
        elif kind == _POWER_DOWN or (kind == _POWER and body == b"\0"):
            self._flags |= Flag.WRONG_VOLTAGE
        elif kind == _ERROR:  # UM2269 gives a drop of the voltage as the reason for one
            self._flags |= Flag.WRONG_VOLTAGE
            self._complain(body)
        elif kind == _INFO:
            self._complain(body)
        return []

    def _complain(self, body: bytes) -> None:
        self.complaints = [*self.complaints[-3:], body.decode("ascii", "replace").strip()]

    def _close_block(self, stamp_ms: int, load_percent: int) -> list[Chunk]:
        if not self._begun:
            self._begun = True
            if stamp_ms == 0:
                return []
            self._flags |= Flag.LOST
        elapsed_ms = (stamp_ms - self._stamp_ms) % _STAMP_WRAP_MS
        blocks = round(elapsed_ms / self._block_ms)
        if blocks == 0 or elapsed_ms > _STAMP_WRAP_MS // 2:  # no time has passed, or backwards: it is damaged
            self._flags |= Flag.LOST
            return []
        if blocks > self._max_blocks:
            raise MonitorError(
                f"{self._name} lost {elapsed_ms / 1000:.0f} s of samples; connect it without a hub, and try again"
            )
        if load_percent >= 100:
            self._flags |= Flag.LOST  # its buffer ran over
        if abs(elapsed_ms - blocks * self._block_ms) > _TOLERANCE_MS:
            self._flags |= Flag.LOST
        self._stamp_ms = stamp_ms
        return [self._chunk(blocks * SAMPLES_PER_STAMP)]

    def _chunk(self, n: int) -> Chunk:
        flags = np.zeros(n, dtype=np.uint8)
        if len(self._payload) == 2 * n and not self._flags & Flag.LOST:
            current_a = decode_words(bytes(self._payload))
            flags[current_a > MAX_A] |= np.uint8(Flag.SATURATED)
        else:
            self._flags |= Flag.LOST
            current_a = np.full(n, np.nan, dtype=np.float32)
        flags |= np.uint8(self._flags)
        chunk = Chunk(self._next, current_a, np.zeros(n, dtype=np.uint8), flags)
        self._next += n
        self._payload.clear()
        self._flags = Flag(0)
        return chunk
