"""A trace cut into windows: the stretches in which the trigger is high, in the instrument's own sample numbers.

The firmware raises its trigger pin while it computes a phase. A sample's logic level was taken at some instant of the
sample's period, so the true edge lies anywhere within one period before or after the beginning of the first sample
that shows it: uniformly within ±1 period, for all that is known. What the cut puts on the wrong side of the edge has
the power of the sample in front of the cut, P₀, or of the one behind it, P₁. With T the period, the error's second
moment is T²·(P₀² + P₁²)/6: half of T²P²/3 for each side (rectangular distribution, JCGM 100:2008, 4.3.7). The edges of
a window err independently, hence its standard uncertainty

    u = T · √((P₀² + P₁² at its rise  +  P₀² + P₁² at its fall) / 6)

The error is never larger than T·(max(P₀, P₁) at its rise + max(P₀, P₁) at its fall), which is at most √12·u.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import UsageError
from fqtbench.power.idle import IdleLevel
from fqtbench.power.instrument import UNUSABLE, Chunk, Flag

WINDOW: Final = np.dtype(
    [
        ("begin", "<i8"),
        ("end", "<i8"),
        ("energy_j", "<f8"),
        ("uncertainty_j", "<f8"),
        ("flags", "u1"),
        ("whole", "?"),
        ("edges_w", "<f8", (4,)),
    ]
)
"""A window: numbers of its first sample and of the first behind it; energy in J, NaN if a sample was lost, and its
standard uncertainty by the edges; all `Flag`s of its samples and of one more at each end; whether the trace shows
both its edges; the power in W of the samples in front of and behind its rise, and of those of its fall."""

TableOfWindows = NDArray[np.void]
"""Windows in order, (n,) of `WINDOW`."""

MIN_SAMPLES: Final = 2
"""A window with fewer is a glitch, or too short for this instrument."""

_IDLE_GUARD: Final = 2


class WindowCutter:
    """Makes windows of chunks, in memory for one chunk. Where the stream is cut into chunks changes no bit of them.

    `volts`: the supply in V, for chunks that don't say it of each sample. `trigger`: number of the digital input.
    `spin_s`: how long the firmware still computes behind a window; no such sample is idle.

    The level of a lost sample is unknown and taken for that of the one before; the window has the flag in any case.
    """

    def __init__(self, rate_hz: float, volts: float | None, trigger: int = 0, spin_s: float = 0.0) -> None:
        self._rate_hz, self._volts, self._mask = rate_hz, volts, np.uint8(1 << trigger)
        self._idle = IdleLevel(_IDLE_GUARD, int(np.ceil(spin_s * rate_hz)))
        self._n = 0
        # of the last sample; the first one is no edge, for nothing is known of what was before it
        self._high, self._power, self._flags = False, 0.0, np.uint8(0)
        # of the run of equal levels under way: first sample, sum in W, flags, power on both sides of its first edge
        self._begin, self._sum, self._run_flags, self._edge = 0, 0.0, np.uint8(0), np.full(2, np.nan)

    @property
    def n_samples(self) -> int:
        """How many samples it has seen."""
        return self._n

    @property
    def idle_sum_w(self) -> float:
        """Sum in W of the usable samples between two windows, without those at an edge."""
        return self._idle.sum_w

    @property
    def idle_samples(self) -> int:
        """How many these are."""
        return self._idle.n_samples

    @property
    def idle_w(self) -> float | None:
        """Their mean in W; None if there is none."""
        return self._idle.sum_w / self._idle.n_samples if self._idle.n_samples else None

    def feed(self, chunk: Chunk) -> TableOfWindows:
        """Take the next samples; return the windows whose end they show.

        Raises ValueError if they are not the next; UsageError if nothing says their voltage.
        """
        if chunk.first != self._n:
            raise ValueError(f"samples from {chunk.first} on, after {self._n}")
        if not len(chunk):
            return np.empty(0, WINDOW)
        power = self._power_w(chunk)
        high = self._levels(chunk)
        self._idle.feed(power, high, np.isfinite(power) & (chunk.flags & np.uint8(UNUSABLE) == 0))
        if self._n == 0:
            self._high = bool(high[0])
        windows = self._cut(power, high, chunk.flags)
        self._n += len(chunk)
        self._high, self._power, self._flags = bool(high[-1]), float(power[-1]), chunk.flags[-1]
        return windows

    def finish(self) -> TableOfWindows:
        """Return the window that the trace ends in, if there is one: it is not whole."""
        self._idle.finish()
        if not self._high:
            return np.empty(0, WINDOW)
        self._high = False
        energy = self._sum / self._rate_hz
        return np.array([(self._begin, self._n, energy, np.nan, self._run_flags, False, np.nan)], WINDOW)

    def _power_w(self, chunk: Chunk) -> NDArray[np.float64]:
        current = chunk.current_a.astype(np.float64)
        if chunk.volts is not None:
            return current * chunk.volts
        if self._volts is None:
            raise UsageError(
                "this trace says no supply voltage, so there is no energy; say it with `--volts`"
            )
        return current * self._volts

    def _levels(self, chunk: Chunk) -> NDArray[np.bool_]:
        high: NDArray[np.bool_] = chunk.digital & self._mask != 0
        lost = chunk.flags & np.uint8(Flag.LOST) != 0
        if not lost.any():
            return high
        known = np.maximum.accumulate(np.where(lost, -1, np.arange(len(high))))
        return np.asarray(np.where(known < 0, self._high, high[known]), bool)

    def _cut(
        self, power: NDArray[np.float64], high: NDArray[np.bool_], flags: NDArray[np.uint8]
    ) -> TableOfWindows:
        """Return the windows that end in these samples, and remember the run under way."""
        edge = high != np.concatenate([[self._high], high[:-1]])
        edges = np.flatnonzero(edge)
        # run 0 is the one under way before; sums run from the left, so that pieces of it add up to the same bit
        run = np.concatenate([[0], np.cumsum(edge)])
        sums = np.bincount(run, np.concatenate([[self._sum], power]), len(edges) + 1)
        around = np.concatenate([[self._power], power])
        sides = np.stack([around[edges], around[edges + 1]], axis=1)
        run_flags = self._flags_of_runs(edges, flags)
        begins = np.concatenate([[self._begin], self._n + edges])
        first_sides = np.concatenate([[self._edge], sides])

        ended = np.flatnonzero(~high[edges])  # run i ends at edge i
        windows = np.empty(len(ended), WINDOW)
        windows["begin"], windows["end"] = begins[ended], begins[ended + 1]
        windows["energy_j"] = sums[ended] / self._rate_hz
        windows["edges_w"] = np.concatenate([first_sides[ended], sides[ended]], axis=1)
        windows["uncertainty_j"] = np.sqrt((windows["edges_w"] ** 2).sum(axis=1) / 6) / self._rate_hz
        windows["flags"] = run_flags[ended] | flags[edges[ended]]
        windows["whole"] = begins[ended] > 0
        self._begin, self._sum, self._run_flags, self._edge = (
            int(begins[-1]),
            float(sums[-1]),
            run_flags[-1],
            first_sides[-1],
        )
        return windows

    def _flags_of_runs(self, edges: NDArray[np.intp], flags: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the flags of run 0 so far and of the run behind each edge, with those of the sample in front of it."""
        before = np.concatenate([[self._flags], flags])[edges]
        found = np.zeros(len(edges) + 1, np.uint8)
        found[0] = self._run_flags
        found[1:] = before
        if flags.any():
            pieces = np.concatenate([[0], edges]) if not len(edges) or edges[0] else edges
            found[len(edges) + 1 - len(pieces) :] |= np.bitwise_or.reduceat(flags, pieces)
        return found
