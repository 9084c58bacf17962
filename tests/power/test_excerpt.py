"""Promise: an excerpt is the stream's own samples around its first windows, however it was cut, and bounded."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fqtbench.power.excerpt import MARGIN_SAMPLES, MAX_SAMPLES, Excerpt, ExcerptKeeper
from fqtbench.power.instrument import Chunk


def keep(high: np.ndarray, cuts: list[int], n_windows: int) -> Excerpt | None:
    """Feed a stream whose current is the sample's number, cut there."""
    keeper = ExcerptKeeper(n_windows)
    bounds = [0, *sorted(cuts), len(high)]
    current = np.arange(len(high), dtype=np.float32)
    for begin, end in pairwise(bounds):
        part = slice(begin, end)
        keeper.feed(Chunk(begin, current[part], high[part].astype(np.uint8), np.zeros(end - begin, np.uint8)))
    return keeper.excerpt(1e5, 3.0)


@given(st.lists(st.integers(1, 150), min_size=1, max_size=12), st.data(), st.integers(1, 4))
def test_it_is_the_samples_around_the_first_windows(
    lengths: list[int], data: st.DataObject, n_windows: int
) -> None:
    high = np.concatenate([np.full(n, i % 2 == 1) for i, n in enumerate(lengths)])
    cuts = data.draw(st.lists(st.integers(0, len(high)), max_size=8))
    found = keep(high, cuts, n_windows)
    if not high.any():
        assert found is None
        return
    assert found is not None
    first = max(int(high.argmax()) - MARGIN_SAMPLES, 0)
    falls = np.flatnonzero(high[:-1] & ~high[1:]) + 1
    last = len(high) if len(falls) < n_windows else min(falls[n_windows - 1] + MARGIN_SAMPLES, len(high))
    np.testing.assert_array_equal(found.current_a, np.arange(first, last))
    np.testing.assert_array_equal(found.digital, high[first:last])


def test_it_is_bounded() -> None:
    keeper = ExcerptKeeper(1)
    n = MAX_SAMPLES // 4
    for number in range(8):
        chunk = Chunk(number * n, np.zeros(n, np.float32), np.ones(n, np.uint8), np.zeros(n, np.uint8))
        keeper.feed(chunk)
    found = keeper.excerpt(1e5, 3.0)
    assert keeper.full
    assert found is not None
    assert len(found.current_a) == MAX_SAMPLES
