"""The PPK2's stream of samples: words into currents, digital levels and flags."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.ppk2_units import CODES, RANGES
from fqtbench.power.ppk2_words import Words, WordStream

SETTLE_SAMPLES: Final = 3
"""Samples from a switch of the range on that may show its transient: Nordic's spike filter replaces so many.
Here they keep their value."""
_RANGE_SHIFT: Final = 14
_LOGIC_SHIFT: Final = 24


class SampleDecoder:
    """Chunks from the bytes of one run, in pieces cut anywhere.

    `table_a`: (2¹⁷,) of `ppk2_units.current_table_a`.

    A code at the converter's upper end is SATURATED: the current may be anything above. One at its lower end is not:
    by the offset it stands for a current below 0, which a board that draws nothing shows in its noise. A range that
    does not exist makes the sample LOST: its word was corrupted. Digital inputs keep their level over lost samples.
    """

    def __init__(self, table_a: NDArray[np.float32]) -> None:
        self._table = table_a
        self._stream = WordStream()
        self._first = 0
        self._range = -1  # of the last sample that arrived; none yet
        self._settling = 0  # samples that the last switch may yet show in
        self._level = 0

    @property
    def adrift_bytes(self) -> int:
        """How many bytes in a row were no samples; 0 while they are."""
        return self._stream.adrift_bytes

    def push(self, data: bytes) -> Chunk:
        """Take bytes, return the samples that are certain now, perhaps none."""
        return self._chunk(self._stream.push(data))

    def finish(self) -> Chunk:
        """Return the samples that were held back, at the end of the run."""
        return self._chunk(self._stream.finish())

    def _chunk(self, taken: Words) -> Chunk:
        words, lost = taken
        codes = words & ((CODES << 3) - 1)
        current = self._table[codes]
        digital = (words >> _LOGIC_SHIFT).astype(np.uint8)
        flags = ((words & (CODES - 1)) == CODES - 1) * np.uint8(Flag.SATURATED)
        ranges = (codes >> _RANGE_SHIFT).astype(np.int8)
        n = len(words)
        if n and ((lost_now := lost | (ranges >= RANGES)).any() or self._settling or self._switches(ranges)):
            self._mark_switches(flags, ranges, lost_now)
            self._mark_lost(current, digital, flags, lost_now)
        elif n:
            self._level = int(digital[-1])
        chunk = Chunk(self._first, current, digital, flags)
        self._first += n
        return chunk

    def _switches(self, ranges: NDArray[np.int8]) -> bool:
        """Whether the range changes within these samples or before them; remember the first run's."""
        if self._range < 0:
            self._range = int(ranges[0])
        return bool((ranges != self._range).any())

    def _mark_switches(
        self, flags: NDArray[np.uint8], ranges: NDArray[np.int8], lost: NDArray[np.bool_]
    ) -> None:
        arrived = np.flatnonzero(~lost)
        n = len(flags)
        settling = np.zeros(n + SETTLE_SAMPLES, np.bool_)
        settling[: self._settling] = True
        if len(arrived):
            seen = ranges[arrived]
            before = np.concatenate([seen[:1] if self._range < 0 else [self._range], seen[:-1]])
            for behind in range(SETTLE_SAMPLES):
                settling[arrived[seen != before] + behind] = True
            self._range = int(seen[-1])
        flags[settling[:n]] |= np.uint8(Flag.RANGE_SWITCH)
        self._settling = int(settling[n:].sum())

    def _mark_lost(
        self,
        current: NDArray[np.float32],
        digital: NDArray[np.uint8],
        flags: NDArray[np.uint8],
        lost: NDArray[np.bool_],
    ) -> None:
        current[lost] = np.nan
        flags[lost] = Flag.LOST
        last = np.maximum.accumulate(np.where(lost, -1, np.arange(len(lost))))
        digital[lost] = np.where(last < 0, self._level, digital[last])[lost]
        self._level = int(digital[-1])
