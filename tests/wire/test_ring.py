"""Promise: the receive ring gives every frame of a host that keeps to its credits, and notices every overrun."""

import ctypes
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

HALF_BYTES = 512
MAX_FRAME_BYTES = 140
GUARD_BYTES = 64
EMPTY, FRAME, OVERLONG = range(3)


class Ring(ctypes.Structure):
    """struct wire_ring."""

    _fields_ = (
        ("base", ctypes.c_void_p),
        ("half_bytes", ctypes.c_uint32),
        ("cursor", ctypes.c_uint32),
        ("scanned", ctypes.c_uint32),
        ("probed", ctypes.c_uint32),
        ("settled", ctypes.c_bool),
        ("lag", ctypes.c_int32),
    )


class Receiver:
    """The device's ring, and a DMA that fills it as docs say: its next half is latched when a half begins."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.ring_crossed.restype = ctypes.c_bool
        self._memory = (ctypes.c_uint32 * (2 * HALF_BYTES // 4))()
        self._bytes = (ctypes.c_uint8 * (2 * HALF_BYTES)).from_buffer(self._memory)
        self._ring = Ring()
        self._at = self._half = 0
        self._next_half = 1
        self._ended = False
        library.ring_start(ctypes.byref(self._ring), self._memory, HALF_BYTES)

    def receive(self, data: bytes) -> None:
        """Let the DMA store `data`."""
        for byte in data:
            self._bytes[self._half * HALF_BYTES + self._at] = byte
            self._at += 1
            if self._at == HALF_BYTES:
                self._at, self._half, self._ended = 0, self._next_half, True

    def crossed(self) -> bool:
        """Do what the firmware does before it looks; False is an overrun."""
        if not self._ended:
            return True
        self._ended = False
        self._next_half = 1 - self._half
        return bool(self._library.ring_crossed(ctypes.byref(self._ring)))

    def frames(self) -> Iterator[bytes | None]:
        """Take every complete frame; None for a stretch that is too long to be one."""
        length = ctypes.c_uint32()
        while True:
            state = self._library.ring_look(ctypes.byref(self._ring), MAX_FRAME_BYTES, ctypes.byref(length))
            if state == EMPTY and self._ring.settled:
                return
            if state == EMPTY:
                continue
            at = self._ring.cursor
            taken = bytes(self._bytes[(at + i) % (2 * HALF_BYTES)] for i in range(length.value))
            self._library.ring_drop(ctypes.byref(self._ring), length.value + (1 if state == FRAME else 0))
            yield taken if state == FRAME else None


@pytest.fixture
def receiver(wire_library: Path) -> Receiver:
    """A fresh ring."""
    return Receiver(ctypes.CDLL(str(wire_library)))


def random_frame(draw: random.Random) -> bytes:
    """Return the inside of a frame; many look like blank memory."""
    length = draw.randint(0, MAX_FRAME_BYTES - 1)
    if draw.random() < 0.3:
        shift = draw.randrange(4)
        return (b"\x3c\xa5\x5a\xc3" * MAX_FRAME_BYTES)[shift : shift + length]
    return bytes(draw.randint(1, 255) for _ in range(length))


@pytest.mark.parametrize("seed", range(8))
def test_frames_come_out_as_they_went_in(receiver: Receiver, seed: int) -> None:
    """Frames of any content and length, looked for after any number of bytes within the credits."""
    draw = random.Random(seed)
    sent: list[bytes] = []
    seen: list[bytes | None] = []
    stream, unread = b"", 0
    budget = HALF_BYTES - GUARD_BYTES
    while len(sent) < 400 or stream:
        while len(sent) < 400 and len(stream) < budget:
            sent.append(random_frame(draw))
            stream += sent[-1] + b"\0"
        n = min(draw.choice([1, 5, 100, budget]), len(stream), budget - unread)
        receiver.receive(stream[:n])
        stream = stream[n:]
        assert receiver.crossed()
        taken = list(receiver.frames())
        unread += n - sum(len(frame or b"") + 1 for frame in taken)
        seen += taken
    assert seen == sent


@pytest.mark.parametrize("extra", range(0, 4 * HALF_BYTES, 37))
@pytest.mark.parametrize("start", [0, 200, 500, 511])
def test_every_overrun_is_noticed(receiver: Receiver, start: int, extra: int) -> None:
    """So many bytes between two looks that unread ones were overwritten: ring_crossed says so."""
    receiver.receive(b"\x01\0" * (start // 2))
    assert receiver.crossed()
    assert len(list(receiver.frames())) == start // 2
    at = start // 2 * 2
    receiver.receive(b"\x07" * (2 * HALF_BYTES - at % HALF_BYTES + extra))
    assert not receiver.crossed()


@pytest.mark.parametrize("garbage", [b"\x11" * 300, b"\x3c\xa5\x5a\xc3" * 75], ids=["ones", "blank"])
def test_a_stretch_without_delimiter_is_dropped(receiver: Receiver, garbage: bytes) -> None:
    """Garbage longer than any frame does not block the frames behind it, even if it looks like blank memory."""
    receiver.receive(garbage + b"\0" + b"good\0")
    assert receiver.crossed()
    seen = list(receiver.frames())
    assert seen[0] is None
    assert seen[-1] == b"good"
