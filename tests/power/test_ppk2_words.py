"""The PPK2's stream: cut anywhere, no wrong sample; with a word lost, doubled or torn, the fault is noticed."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fqtbench.power.instrument import Flag
from fqtbench.power.ppk2_samples import SETTLE_SAMPLES
from fqtbench.power.ppk2_units import CODES
from fqtbench.power.ppk2_words import RUN, WORD_BYTES
from tests.power.ppk2_stream import Decoded, decode, random_words, words

_N = 500
_NEAR = 2 * RUN
"""A fault's flag lies at most so many samples from it."""


def _streams() -> dict[str, NDArray[np.uint32]]:
    n = 200
    still = np.full(n, 300)
    # For 90 samples its low byte looks like a counter to a reader that is two bytes off.
    rising = 200 + 4 * np.clip(np.arange(n) - 50, 0, 90)
    low = np.zeros(n, np.int64)
    pins = np.arange(n) // 50 % 2
    return {
        "random": random_words(_N, 1),
        "still": words(still, low + 3, pins, 17),
        "still, all pins high": words(still, low + 2, low + 255, 60),
        "rising": words(rising, low + 1, pins, 5),
    }


def _same(decoded: Decoded, whole: Decoded) -> bool:
    return (
        np.array_equal(decoded.current_a, whole.current_a, equal_nan=True)
        and np.array_equal(decoded.digital, whole.digital)
        and np.array_equal(decoded.flags, whole.flags)
    )


def _check_fault(faulty: bytes, at: int, whole: Decoded) -> None:
    """A flag near sample `at`, and every sample without a flag is the one that the PPK2 sent under this number."""
    got = decode(faulty)
    assert got.lost[max(at - _NEAR, 0) : at + _NEAR].any(), "not noticed"
    # A fault before the first run of words only moves the beginning.
    shifts = (0, 1, -1, 2, -2, 3, -3) if at < RUN else (0,)
    for shift in shifts:
        n = np.flatnonzero(~got.lost)
        n = n[(n + shift >= 0) & (n + shift < len(whole.flags))]
        if np.array_equal(got.current_a[n], whole.current_a[n + shift]) and np.array_equal(
            got.digital[n], whole.digital[n + shift]
        ):
            break
    else:
        pytest.fail("a wrong sample")
    assert abs(len(got.flags) - len(whole.flags)) < len(shifts) or at >= len(whole.flags) - _NEAR


def _word_faults(data: bytes) -> Iterator[tuple[bytes, int]]:
    for k in range(1, len(data) // WORD_BYTES - 1):
        at, behind = k * WORD_BYTES, (k + 1) * WORD_BYTES
        yield data[:at] + data[behind:], k
        yield data[:behind] + data[at:], k
        yield data[:behind] + data[at:behind] + data[at:], k


def _byte_faults(data: bytes) -> Iterator[tuple[bytes, int]]:
    for at in range(len(data)):
        k = at // WORD_BYTES
        for n in (1, 2, 3):
            yield data[:at] + data[at + n :], k
        yield data[:at] + bytes([data[at] ^ 0x5A]) + data[at:], k


@pytest.mark.parametrize("name", list(_streams()))
def test_a_word_lost_or_doubled_anywhere_is_noticed(name: str) -> None:
    """Issue 8: any single lost or doubled word is noticed, and no other sample is wrong."""
    stream = _streams()[name].tobytes()
    whole = decode(stream)
    assert len(whole.flags) == len(stream) // WORD_BYTES and not whole.lost.any()
    for faulty, at in _word_faults(stream):
        _check_fault(faulty, at, whole)


@pytest.mark.parametrize("name", list(_streams()))
def test_a_word_torn_anywhere_is_noticed(name: str) -> None:
    """Issue 8: bytes missing from a word, or a byte too many, at every place of the stream."""
    stream = _streams()[name].tobytes()
    whole = decode(stream)
    for faulty, at in _byte_faults(stream):
        _check_fault(faulty, at, whole)


@given(st.integers(0, 2**32 - 1), st.integers(RUN, 480), st.integers(4, 240))
def test_several_words_lost_anywhere_leave_no_wrong_sample(seed: int, at: int, n: int) -> None:
    """Up to 60 words in one piece, however the loss lies across them; the count goes on right."""
    stream = random_words(_N, seed).tobytes()
    whole = decode(stream)
    got = decode(stream[: at * 4 + seed % 4] + stream[at * 4 + seed % 4 + n :])
    kept = np.flatnonzero(~got.lost)
    assert np.array_equal(got.current_a[kept], whole.current_a[kept])
    assert np.array_equal(got.digital[kept], whole.digital[kept])


def test_ten_thousand_cuts_make_no_difference() -> None:
    """Issue 8: 10 000 random cuts of the byte stream, no wrong sample; with faults in it besides."""
    rng = np.random.default_rng(8)
    data = random_words(20_000, 2).tobytes()
    faulty = data[:10_002] + data[10_003:30_000] + data[30_004:50_000] + data[49_996:]
    for stream in (data, faulty):
        whole = decode(stream)
        for _ in range(10):
            cuts = sorted(rng.integers(0, len(stream) + 1, 1000).tolist())
            assert _same(decode(stream, cuts), whole)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_cut_anywhere_give_the_same(data: st.DataObject) -> None:
    """Also noise, faults at each other's heels and single bytes."""
    stream = bytearray(random_words(data.draw(st.integers(0, 80)), data.draw(st.integers(0, 99))).tobytes())
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(stream)))
        stream[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=40))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=40)))
    assert _same(decode(bytes(stream), cuts), decode(bytes(stream)))


def test_a_gap_counts_what_is_missing() -> None:
    """62 words lost at once: the samples behind keep their numbers."""
    stream = random_words(_N, 3)
    got = decode(np.delete(stream, slice(100, 162)).tobytes())
    assert len(got.flags) == _N
    assert np.flatnonzero(got.lost).tolist() == list(range(99, 163))


def test_noise_for_long_keeps_the_time_nearly() -> None:
    """Behind 40 000 bytes that mean nothing, numbers are those nearest to what so many bytes would have been."""
    stream = random_words(20_000, 4).tobytes()
    noise = np.random.default_rng(5).integers(0, 256, 40_000, np.uint8).tobytes()
    got = decode(stream[:20_000] + noise + stream[60_000:])
    assert len(got.flags) == 20_000
    assert not got.lost[:4_900].any() and not got.lost[15_100:].any()


def test_switches_and_ends_of_the_scale_are_flagged() -> None:
    """A switch flags the samples that it may show in, across pieces and losses; the upper end is SATURATED."""
    codes, low = np.full(60, 900), np.zeros(60, np.int64)
    codes[50] = CODES - 1
    ranges = np.where((np.arange(60) >= 20) & (np.arange(60) < 40), 2, 1)
    stream = words(codes, ranges, low).tobytes()
    for cuts in ([], list(range(len(stream)))):
        flags = decode(stream, cuts).flags
        switched = [*range(20, 20 + SETTLE_SAMPLES), *range(40, 40 + SETTLE_SAMPLES)]
        assert np.flatnonzero(flags & Flag.RANGE_SWITCH).tolist() == switched
        assert np.flatnonzero(flags & Flag.SATURATED).tolist() == [50]
        assert not (flags & Flag.LOST).any()


def test_a_range_that_does_not_exist_is_a_lost_sample() -> None:
    """Ranges 5 to 7: the word was corrupted on its way."""
    ranges = np.full(60, 2)
    ranges[30] = 6
    got = decode(words(np.full(60, 900), ranges, np.ones(60, np.int64)).tobytes())
    assert np.flatnonzero(got.lost).tolist() == [30]
    assert (got.digital == 1).all() and not (got.flags & Flag.RANGE_SWITCH).any()
