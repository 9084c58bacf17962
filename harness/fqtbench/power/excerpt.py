"""The beginning of a recording: enough to show what a few steps look like."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.power.instrument import Chunk, joined

MAX_SAMPLES: Final = 1 << 20
MARGIN_SAMPLES: Final = 64
"""Of the time before the first window and after the last one; a start-up in it would outweigh the steps."""


@dataclass(frozen=True)
class Excerpt:
    """Some samples in a row: (n,) each, as in `Chunk`, `rate_hz` of them a second, at a supply of `volts`."""

    rate_hz: float
    volts: float
    current_a: NDArray[np.float32]
    digital: NDArray[np.uint8]
    flags: NDArray[np.uint8]


class ExcerptKeeper:
    """Keeps the samples around the first `n_windows` windows of a stream, at most `MAX_SAMPLES` of them.

    `trigger`: number of the digital input that is high in a window.
    """

    def __init__(self, n_windows: int, trigger: int = 0) -> None:
        self._wanted, self._bit = n_windows, np.uint8(1 << trigger)
        self._kept: list[Chunk] = []
        self._n_kept, self._n_windows, self._n_after = 0, 0, 0
        self._high = self._begun = False

    @property
    def full(self) -> bool:
        """Whether what comes now is of no use any more."""
        return self._n_kept >= MAX_SAMPLES or self._n_after >= MARGIN_SAMPLES

    def feed(self, chunk: Chunk) -> None:
        """Take the next samples."""
        if self.full or not len(chunk):
            return
        if not self._begun:
            chunk = joined([*self._kept, chunk])
            self._kept, self._n_kept = [], 0
        high = (chunk.digital & self._bit) != 0
        if not self._begun:
            self._begun = bool(high.any())
            rise = int(high.argmax()) if self._begun else len(chunk)
            first = max(rise - MARGIN_SAMPLES, 0)
            chunk, high = _part(chunk, first, len(chunk)), high[first:]
        self._keep(_part(chunk, 0, self._end_of(high)) if self._begun else chunk)

    def excerpt(self, rate_hz: float, volts: float) -> Excerpt | None:
        """Return what was kept; None if no window has begun."""
        if not self._begun:
            return None
        kept = joined(self._kept)
        return Excerpt(rate_hz, volts, kept.current_a, kept.digital, kept.flags)

    def _end_of(self, high: NDArray[np.bool_]) -> int:
        """Return how many of the samples to keep, having counted the windows that end among them."""
        falls = np.flatnonzero(np.concatenate(([self._high], high[:-1])) & ~high)
        missing = self._wanted - self._n_windows
        self._n_windows += min(len(falls), missing)
        self._high = bool(high[-1])
        if self._n_windows < self._wanted:
            return min(len(high), MAX_SAMPLES - self._n_kept)
        after = int(falls[missing - 1]) if missing > 0 else 0
        end = min(after + MARGIN_SAMPLES - self._n_after, len(high), MAX_SAMPLES - self._n_kept)
        self._n_after += end - after
        return end

    def _keep(self, chunk: Chunk) -> None:
        self._kept.append(chunk)
        self._n_kept += len(chunk)


def _part(chunk: Chunk, begin: int, end: int) -> Chunk:
    """Return copies of its samples from `begin` to `end`: a view would hold the whole of them in memory."""
    part = slice(begin, end)
    return Chunk(
        chunk.first + begin,
        chunk.current_a[part].copy(),
        chunk.digital[part].copy(),
        chunk.flags[part].copy(),
    )
