"""Promise: samples of a Joulescope's streams that belong together come together, and what never came is marked."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fqtbench.errors import MonitorError
from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.joulescope_streams import JoulescopeStreams

TICK_HZ = 2_000_000
RATE_HZ = 100_000
STEP = TICK_HZ // RATE_HZ  # ticks of a sample of current and voltage; the input has one a tick
N = 200
CURRENT_A = np.arange(N, dtype=np.float32) * 1e-4
VOLTS = np.full(N, 3.0, dtype=np.float32)
LEVEL = (np.arange(N * STEP) // (7 * STEP) % 2).astype(np.uint8)  # changes every 7 samples


def block(
    first: int, step: int, data: NDArray[np.float32] | NDArray[np.uint8], wrap: int = 1 << 64
) -> dict[str, object]:
    """Return a block as the library publishes it."""
    return {"sample_id": first % wrap, "sample_rate": TICK_HZ, "decimate_factor": step, "data": data}


def bits(first: int, level: NDArray[np.uint8], wrap: int = 1 << 64) -> dict[str, object]:
    """Return a block of packed bits."""
    return block(first, 1, np.packbits(level, bitorder="little"), wrap)


def blocks(
    cuts: list[int], origin: int = 0, wrap: int = 1 << 64, lost: str = ""
) -> list[tuple[str, dict[str, object]]]:
    """Return all blocks, cut at these samples, without the second one of the stream `lost`."""
    edges = [0, *sorted(set(cuts)), N]  # of half bytes of the input, too
    sent = []
    for number, (begin, end) in enumerate(itertools.pairwise(edges)):
        first = origin + begin * STEP
        each: list[tuple[str, dict[str, object]]] = [
            ("gpi", bits(first, LEVEL[begin * STEP : end * STEP], wrap)),
            ("current", block(first, STEP, CURRENT_A[begin:end], wrap)),
            ("voltage", block(first, STEP, VOLTS[begin:end], wrap)),
        ]
        sent += [one for one in each if not (number == 1 and one[0] == lost)]
    return sent


def assemble(sent: list[tuple[str, dict[str, object]]]) -> Chunk:
    """Return all chunks as one."""
    streams = JoulescopeStreams(RATE_HZ, "Joulescope x")
    chunks: list[Chunk] = []
    for stream, each in sent:
        streams.push(stream, each)
        chunks += streams.take()
    at = 0
    for chunk in chunks:
        assert chunk.first == at and chunk.volts is not None
        at += len(chunk)
    volts = [chunk.volts for chunk in chunks if chunk.volts is not None]
    return Chunk(
        0,
        np.concatenate([chunk.current_a for chunk in chunks]),
        np.concatenate([chunk.digital for chunk in chunks]),
        np.concatenate([chunk.flags for chunk in chunks]),
        np.concatenate(volts),
    )


@given(cuts=st.lists(st.integers(1, N - 1), max_size=8), data=st.data())
def test_blocks_may_be_cut_anywhere_and_streams_run_ahead_of_each_other(
    cuts: list[int], data: st.DataObject
) -> None:
    sent = blocks(cuts)
    order = {stream: [one for one in sent if one[0] == stream] for stream in ("gpi", "current", "voltage")}
    shuffled = [order[stream].pop(0) for stream in data.draw(st.permutations([one[0] for one in sent]))]
    whole = assemble(shuffled)
    np.testing.assert_array_equal(whole.current_a, CURRENT_A)
    np.testing.assert_array_equal(whole.digital, LEVEL[::STEP])
    assert whole.volts is not None and (whole.volts == 3.0).all() and not whole.flags.any()


@pytest.mark.parametrize("before", [1, 30 * STEP, 31 * STEP + 3])
def test_ids_of_32_bits_wrap(before: int) -> None:
    origin = (1 << 32) - before
    whole = assemble(blocks([30, 90], origin, 1 << 32))
    np.testing.assert_array_equal(whole.current_a, CURRENT_A)
    np.testing.assert_array_equal(whole.digital, LEVEL[::STEP])
    assert not whole.flags.any()


@pytest.mark.parametrize("lost", ["current", "voltage", "gpi"])
def test_a_block_that_never_came_is_lost_whatever_it_carried(lost: str) -> None:
    whole = assemble(blocks([40, 60], lost=lost))
    assert np.flatnonzero(whole.flags).tolist() == list(range(40, 60)) and len(whole) == N
    assert (whole.flags[40:60] == Flag.LOST).all() and np.isnan(whole.current_a[40:60]).all()
    assert not np.isnan(whole.current_a[:40]).any() and not np.isnan(whole.current_a[60:]).any()


def test_nan_is_lost_and_a_finer_stream_is_averaged_with_its_nan() -> None:
    fine_a = np.repeat(CURRENT_A, 4).reshape(N, 4) + np.array([-3, 1, 3, -1], dtype=np.float32) * 1e-6
    fine_a[17, 2] = np.nan
    sent = [(stream, each) for stream, each in blocks([]) if stream != "current"]
    sent.append(("current", block(0, STEP // 4, fine_a.astype(np.float32).ravel())))
    whole = assemble(sent)
    assert np.flatnonzero(whole.flags).tolist() == [17]
    np.testing.assert_allclose(np.delete(whole.current_a, 17), np.delete(CURRENT_A, 17), atol=1e-8)


def test_a_repeated_block_counts_once() -> None:
    sent = blocks([40, 60])
    whole = assemble([*sent[:5], sent[4], *sent[5:]])
    np.testing.assert_array_equal(whole.current_a, CURRENT_A)
    assert not whole.flags.any()


def test_streams_that_can_not_be_put_together_are_named() -> None:
    streams = JoulescopeStreams(30_000, "Joulescope x")
    with pytest.raises(
        MonitorError, match=r"Joulescope x sends 2000000 ticks a second.* can't be made of that"
    ):
        streams.push("current", block(0, STEP, CURRENT_A))
    streams = JoulescopeStreams(RATE_HZ, "Joulescope x")
    streams.push("current", block(0, STEP, CURRENT_A))
    with pytest.raises(MonitorError, match=r"Joulescope x lost \d+ samples of its current in a row"):
        streams.push("current", block(500 * TICK_HZ, STEP, CURRENT_A))
    with pytest.raises(MonitorError, match="sent a block with sample_id None"):
        streams.push("voltage", {**block(0, STEP, VOLTS), "sample_id": None})
    with pytest.raises(MonitorError, match="Joulescope x sends no voltage any more"):
        for number in range(20_000):
            streams.push("current", block(number * N * STEP, STEP, CURRENT_A))
            streams.push("gpi", bits(number * N * STEP, LEVEL))
