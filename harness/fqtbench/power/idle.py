"""The idle level of a trace: the mean power between windows, away from their edges."""

import numpy as np
from numpy.typing import NDArray


class IdleLevel:
    """A sum that is fed samples in order and takes those that are low, and lie between two windows.

    `guard`: so many samples in front of a rise and behind a fall don't count, for an edge may be off by one and a
    converter takes a while to settle. `spin`: so many more behind a fall neither, in which the firmware still computes.
    Where the stream is cut into pieces changes nothing, not even a rounding: every sum runs from the left.
    """

    def __init__(self, guard: int, spin: int) -> None:
        self._guard, self._behind = guard, guard + spin
        self._power, self._high, self._usable = np.empty(0), np.empty(0, bool), np.empty(0, bool)
        self._since_high: int | None = None  # from the last high sample to the first one not decided
        self._gap_w, self._gap_n = 0.0, 0  # of the stretch that no rise has ended yet
        self._sum_w, self._n = 0.0, 0

    @property
    def n_samples(self) -> int:
        """How many samples it has taken."""
        return self._n

    @property
    def sum_w(self) -> float:
        """Their sum in W."""
        return self._sum_w

    def feed(self, power_w: NDArray[np.float64], high: NDArray[np.bool_], usable: NDArray[np.bool_]) -> None:
        """Take the next samples: power in W, level of the trigger, and whether the power is to be trusted, all (n,)."""
        self._power = np.concatenate([self._power, power_w])
        self._high = np.concatenate([self._high, high])
        self._usable = np.concatenate([self._usable, usable])
        n = len(self._power) - self._guard
        if n > 0:
            self._decide(n)
            self._power, self._high, self._usable = self._power[n:], self._high[n:], self._usable[n:]

    def finish(self) -> None:
        """Take what is left: the stream is over, or goes on where nothing is known of what was between."""
        n = self._guard
        self.feed(np.zeros(n), np.zeros(n, bool), np.zeros(n, bool))
        self._since_high, self._gap_w, self._gap_n = None, 0.0, 0

    def _decide(self, n: int) -> None:
        """Take what counts of the first `n` samples; `guard` more are known."""
        high = self._high
        rises = high[:n] & ~np.concatenate([[self._since_high == 1], high[: n - 1]])
        kept = self._far_behind_a_window(n) & self._usable[:n]
        for ahead in range(self._guard + 1):
            kept &= ~high[ahead : n + ahead]
        gap = np.cumsum(rises)
        n_gaps = int(gap[-1]) + 1
        numbers = np.concatenate([[0], gap[kept]])
        sums = np.bincount(numbers, np.concatenate([[self._gap_w], self._power[:n][kept]]), n_gaps)
        counts = np.bincount(numbers[1:], minlength=n_gaps)
        counts[0] += self._gap_n
        self._sum_w = float(np.add.accumulate(np.concatenate([[self._sum_w], sums[:-1]]))[-1])
        self._n += int(counts[:-1].sum())
        self._gap_w, self._gap_n = float(sums[-1]), int(counts[-1])

    def _far_behind_a_window(self, n: int) -> NDArray[np.bool_]:
        """Return which of the first `n` samples are more than `_behind` behind a high one, and remember that."""
        never = n  # further ahead than any
        at = np.arange(n)
        before = never if self._since_high is None else -self._since_high
        if not self._high[:n].any():
            last = np.full(n, before)
        else:
            last = np.where(self._high[:n], at, -1 - 2 * n)
            first = int(np.argmax(self._high[:n]))
            last = np.maximum.accumulate(last)
            last[:first] = before
        self._since_high = None if last[-1] == never else n - int(last[-1])
        far: NDArray[np.bool_] = at - last > self._behind
        return far
