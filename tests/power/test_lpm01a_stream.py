"""Promise: no sample of a Power Shield's stream is wrong, however it is cut, and any damaged word is noticed."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fqtbench.errors import MonitorError
from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.lpm01a_stream import Lpm01aStream, decode_words
from fqtbench.virtual.instruments.lpm01a import encode_words

RATE_HZ = 100_000
SHELL = b"PowerShield > ack start\r\n\r\n"
ENDED = b"\xf0\xf4\xff\xff\r\nsummary beg\r\n"
# Words below the instrument's 10 mA, with every value of the low byte, 0xF0 to 0xFF too.
WORDS = np.random.default_rng(8).integers(0x3000, 0xF000, 3000).astype(">u2")
WORDS[decode_words(WORDS.tobytes()) > 0.01] = 0x52A0


def stamp(block: int, load: int = 3, late_ms: int = 0) -> bytes:
    """Return the time stamp behind so many blocks of 1000 samples."""
    return b"\xf0\xf3" + (10 * block + late_ms).to_bytes(4) + bytes([load]) + b"\xff\xff"


def stream(blocks: list[bytes], stamps: list[bytes] | None = None) -> bytes:
    """Return shell line, stamps and blocks, and the end."""
    stamps = stamps or [stamp(number) for number in range(len(blocks) + 1)]
    body = b"".join(block + mark for block, mark in zip(blocks, stamps[1:], strict=True))
    return SHELL + stamps[0] + body + ENDED


def blocks_of(words: NDArray[np.uint16]) -> list[bytes]:
    """Return the bytes of each 1000."""
    return [words[at : at + 1000].tobytes() for at in range(0, len(words), 1000)]


def join(chunks: list[Chunk]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return currents and flags, having looked that nothing is missing between the chunks."""
    at = 0
    for chunk in chunks:
        assert chunk.first == at
        at += len(chunk)
    return (
        np.concatenate([chunk.current_a for chunk in chunks]),
        np.concatenate([chunk.flags for chunk in chunks]),
    )


def decode(data: bytes, *cuts: int) -> list[Chunk]:
    """Return the chunks of a stream fed in pieces."""
    decoder = Lpm01aStream(RATE_HZ, "LPM01A x")
    edges = [0, *sorted(cuts), len(data)]
    return [chunk for begin, end in itertools.pairwise(edges) for chunk in decoder.feed(data[begin:end])]


def test_samples_are_as_the_manual_decodes_them() -> None:
    # UM2269, 4.4.2: 52A0 is 640.9 µA, 3145 is 79.35 mA.
    assert decode_words(b"\x52\xa0\x31\x45") == pytest.approx([640.9e-6, 79.35e-3], rel=1e-4)


@given(cuts=st.lists(st.integers(0, 6000), max_size=40))
@settings(max_examples=300, deadline=None)
def test_the_stream_may_be_cut_anywhere(cuts: list[int]) -> None:
    data = stream(blocks_of(WORDS))
    current_a, flags = join(decode(data, *cuts))
    assert not flags.any()
    np.testing.assert_array_equal(current_a, decode_words(WORDS.tobytes()))


@pytest.mark.parametrize("fault", ["lost", "doubled", "byte lost", "byte added"])
def test_a_damaged_word_costs_its_block_and_no_other(fault: str) -> None:
    whole = decode_words(WORDS.tobytes())
    for at in range(1000):
        blocks = blocks_of(WORDS)
        hit = blocks[1]
        word = hit[2 * at : 2 * at + 2]
        instead = {"lost": b"", "doubled": word * 2, "byte lost": word[1:], "byte added": word + b"\x00"}[
            fault
        ]
        blocks[1] = hit[: 2 * at] + instead + hit[2 * at + 2 :]
        current_a, flags = join(decode(stream(blocks)))
        assert (flags[1000:2000] == Flag.LOST).all() and np.isnan(current_a[1000:2000]).all()
        assert not flags[:1000].any() and not flags[2000:].any()
        np.testing.assert_array_equal(current_a[:1000], whole[:1000])
        np.testing.assert_array_equal(current_a[2000:], whole[2000:])


@pytest.mark.parametrize("at", range(9))
@pytest.mark.parametrize("instead", [b"", b"\x00\x00"])
def test_a_torn_time_stamp_is_noticed(at: int, instead: bytes) -> None:
    stamps = [stamp(number) for number in range(4)]
    stamps[1] = stamps[1][:at] + instead + stamps[1][at + 1 :]
    current_a, flags = join(decode(stream(blocks_of(WORDS), stamps)))
    assert (flags[:2000] & Flag.LOST).all() and np.isnan(current_a[:2000]).all()
    assert not flags[2000:].any() and len(flags) == 3000


def test_lost_time_stamps_are_no_loss_if_all_samples_are_there() -> None:
    stamps = [stamp(0), b"", b"", stamp(3)]
    current_a, flags = join(decode(stream(blocks_of(WORDS), stamps)))
    assert not flags.any()
    np.testing.assert_array_equal(current_a, decode_words(WORDS.tobytes()))


def test_a_whole_block_with_its_stamp_lost_is_lost_and_keeps_the_numbers() -> None:
    blocks = blocks_of(WORDS)
    current_a, flags = join(decode(stream([blocks[0], b"", blocks[2]], [stamp(0), stamp(1), b"", stamp(3)])))
    assert not flags[:1000].any() and (flags[1000:] == Flag.LOST).all() and len(current_a) == 3000


def test_what_the_instrument_says_is_wrong_marks_its_block() -> None:
    first, second, third = blocks_of(WORDS)
    text = b"\xf0\xf1voltage drop\r\n\xff\xff"
    for said, flag in [
        (b"\xf0\xf5\xff\xff", Flag.OVERCURRENT),
        (b"\xf0\xf6\xff\xff", Flag.WRONG_VOLTAGE),
        (b"\xf0\xf9\x00\xff\xff", Flag.WRONG_VOLTAGE),
        (text, Flag.WRONG_VOLTAGE),
    ]:
        _, flags = join(decode(stream([first, second[:500] + said + second[500:], third])))
        assert (flags[1000:2000] == flag).all() and not flags[:1000].any() and not flags[2000:].any()
    full = [stamp(0), stamp(1), stamp(2, load=100), stamp(3)]
    assert (join(decode(stream([first, second, third], full)))[1][1000:2000] == Flag.LOST).all()
    late = [stamp(0), stamp(1), stamp(2, late_ms=3), stamp(3)]
    assert (join(decode(stream([first, second, third], late)))[1][1000:] == Flag.LOST).all()


def test_values_above_its_range_are_saturated_and_answers_between_samples_do_no_harm() -> None:
    words = WORDS.copy()
    words[1500] = 0x3145
    first, second, third = blocks_of(words)
    answers = b"\xf0\xf7\x0b\xb8\xff\xff" + b"\xf0\xf8\x00\x1a\xff\xff" + b"\xf0\xf9\x01\xff\xff"
    current_a, flags = join(decode(stream([first, answers + second, third])))
    assert np.flatnonzero(flags).tolist() == [1500] and flags[1500] == Flag.SATURATED
    np.testing.assert_array_equal(current_a, decode_words(words.tobytes()))


def test_a_stream_without_time_stamps_or_with_an_hour_missing_is_an_error_and_takes_no_memory() -> None:
    decoder = Lpm01aStream(RATE_HZ, "LPM01A x")
    decoder.feed(stamp(0))
    with pytest.raises(MonitorError, match=r"LPM01A x has sent .* bytes without a time stamp"):
        for _ in range(1000):
            decoder.feed(b"\x52\xa0" * 1000)
    with pytest.raises(MonitorError, match=r"LPM01A x lost 3600 s"):
        decode(stream([b""], [stamp(0), stamp(360_000)]))


@given(data=st.binary(max_size=4000))
def test_no_bytes_whatever_crash_it(data: bytes) -> None:
    try:
        chunks = decode(stamp(0) + data + stamp(5))
    except MonitorError:
        return
    assert all(len(chunk) == len(chunk.flags) == len(chunk.digital) for chunk in chunks)


@given(currents=st.lists(st.floats(1e-7, 0.01), min_size=1, max_size=50))
def test_the_emulation_encodes_as_the_decoder_decodes(currents: list[float]) -> None:
    again = decode_words(encode_words(np.array(currents)).astype(">u2").tobytes())
    np.testing.assert_allclose(again, currents, rtol=0.0021)  # UM2269: 0.2 %
