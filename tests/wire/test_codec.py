"""Promise: both ends agree on the bytes, and a damaged frame is never taken for a good one."""

import ctypes
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
from cobs import cobs
from hypothesis import given, settings
from hypothesis import strategies as st

from fqtbench.wire.frames import Deframer, Frame, Type, decode, encode

BODIES = st.one_of(
    st.binary(max_size=1100),
    st.lists(st.sampled_from([b"\0", b"\xff", b"x" * 253, b"y" * 254, b"z" * 255]), max_size=5).map(b"".join),
)


class Span(ctypes.Structure):
    """struct wire_span."""

    _fields_ = (
        ("first", ctypes.c_char_p),
        ("first_bytes", ctypes.c_uint32),
        ("second", ctypes.c_char_p),
        ("second_bytes", ctypes.c_uint32),
    )


@pytest.fixture(scope="module")
def library(wire_library: Path) -> ctypes.CDLL:
    """The device's code."""
    loaded = ctypes.CDLL(str(wire_library))
    loaded.cobs_decode.restype = ctypes.c_bool
    loaded.cobs_encode.restype = ctypes.c_uint32
    loaded.fqt_crc32.restype = ctypes.c_uint32
    return loaded


def device_decode(library: ctypes.CDLL, frame: bytes, cut: int, capacity: int) -> bytes | None:
    """Decode on the device's side, the frame split in two at `cut`; bytes behind `capacity` must stay."""
    guard = b"\xa5" * 16
    out = ctypes.create_string_buffer(b"\0" * capacity + guard, capacity + len(guard))
    length = ctypes.c_uint32()
    span = Span(frame[:cut], len(frame[:cut]), frame[cut:], len(frame[cut:]))
    good = library.cobs_decode(ctypes.byref(span), out, ctypes.c_uint32(capacity), ctypes.byref(length))
    assert out.raw[capacity:] == guard
    return out.raw[: length.value] if good else None


@given(body=BODIES)
def test_device_encodes_as_the_cobs_library(library: ctypes.CDLL, body: bytes) -> None:
    """The device's encoder gives the library's bytes, within the stated bound."""
    bound = len(body) + len(body) // 254 + 2
    out = ctypes.create_string_buffer(bound)
    length = library.cobs_encode(body, len(body), out)
    assert out.raw[:length] == cobs.encode(body) + b"\0"


@given(body=BODIES, cut=st.integers(0, 1200), short_by=st.integers(0, 3))
def test_device_decodes_what_the_host_encodes(
    library: ctypes.CDLL, body: bytes, cut: int, short_by: int
) -> None:
    """A frame split anywhere decodes to its body; a body longer than the slot is refused."""
    frame = cobs.encode(body)
    expected = body if short_by == 0 else None
    if len(body) >= short_by:
        assert device_decode(library, frame, min(cut, len(frame)), len(body) - short_by) == expected


@given(
    frame=st.binary(max_size=600).map(lambda data: data.replace(b"\0", b"\1")), capacity=st.integers(0, 300)
)
def test_device_decodes_garbage_as_the_cobs_library(
    library: ctypes.CDLL, frame: bytes, capacity: int
) -> None:
    """Anything without zeros: accepted exactly if the library accepts it and it fits."""
    try:
        expected = cobs.decode(frame)
    except cobs.DecodeError:
        expected = None
    if expected is not None and len(expected) > capacity:
        expected = None
    assert device_decode(library, frame, len(frame) // 2, capacity) == expected


@given(data=st.binary(max_size=500), cut=st.integers(0, 500))
def test_crc_is_zlibs(library: ctypes.CDLL, data: bytes, cut: int) -> None:
    """The device's CRC, continued over two pieces, is zlib's; a message with its CRC leaves the fixed residue."""
    first, second = data[:cut], data[cut:]
    whole = library.fqt_crc32(library.fqt_crc32(0, first, len(first)), second, len(second))
    assert whole == zlib.crc32(data)
    sealed = data + whole.to_bytes(4, "little")
    assert library.fqt_crc32(0, sealed, len(sealed)) == 0x2144DF1C


FRAMES = st.lists(
    st.builds(
        Frame,
        type=st.sampled_from([int(t) for t in Type]),
        session=st.integers(0, 0xFFFF),
        seq=st.integers(0, 0xFFFFFFFF),
        payload=st.binary(max_size=300),
    ),
    max_size=6,
)


def on_the_line(frame: Frame) -> bytes:
    """Return the frame's bytes."""
    return encode(frame.type, frame.session, frame.seq, frame.payload)


@given(frames=FRAMES, cuts=st.lists(st.integers(0, 2000), max_size=30))
def test_reads_may_split_and_merge_frames(frames: list[Frame], cuts: list[int]) -> None:
    """The deframer gives the same frames however the stream is cut into reads."""
    stream = b"\0".join(map(on_the_line, frames))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    deframer = Deframer()
    seen = [frame for begin, end in pairwise(edges) for frame in deframer.feed(stream[begin:end])]
    assert seen == frames
    assert deframer.frames_corrupt == 0


@settings(max_examples=300)
@given(payload=st.binary(max_size=200), at=st.integers(0, 300), value=st.integers(0, 255))
def test_one_wrong_byte_never_gives_a_frame(payload: bytes, at: int, value: int) -> None:
    """CRC-32 catches every single wrong byte, in the code bytes of COBS too."""
    good = on_the_line(Frame(Type.STEP, 7, 9, payload))[:-1]
    at %= len(good)
    bad = good[:at] + bytes([value]) + good[at + 1 :]
    if bad != good:
        assert all(decode(piece) is None for piece in bad.split(b"\0") if piece)


def test_endless_garbage_is_dropped() -> None:
    """A stretch without 0x00 does not grow without bound, and the next frame is received."""
    deframer = Deframer()
    assert list(deframer.feed(b"\x55" * 5000)) == [None]
    frame = Frame(Type.STEP, 1, 2, b"abc")
    assert list(deframer.feed(b"\0" + on_the_line(frame))) == [frame]
