"""Otii's channels on one clock: current at its own rate, voltage slower, the input as events with time stamps."""

from bisect import bisect_right
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.power.instrument import Chunk, Flag

_SAG: Final = 0.05
"""A supply that is further than this share from what was asked for is not the supply that was asked for."""


class OtiiStreams:
    """Samples of current, put together with the voltage and the level of the input at their times.

    Times are in s since the recording began. A voltage holds from its own time until the next one's.
    """

    def __init__(self, rate_hz: float, volts: float, level: int) -> None:
        self.samples = 0
        """How many samples have been made of what was pushed."""
        self._rate_hz = rate_hz
        self._volts = volts
        self._current_a = np.empty(0, dtype=np.float32)
        self._measured_v = np.empty(0, dtype=np.float32)
        self._first_v_s = 0.0
        self._step_v_s = 0.0
        self._event_s: list[float] = []
        self._level: list[int] = [level]  # one more than events: before each, and behind the last

    def push_current(self, current_a: NDArray[np.float32]) -> None:
        """Take samples, (n,) in A, that follow those before; NaN where there was none."""
        self._current_a = np.concatenate([self._current_a, current_a])

    def push_voltage(self, first_s: float, step_s: float, volts: NDArray[np.float32]) -> None:
        """Take voltages, (n,) in V, that follow those before, the first of them at `first_s`, one every `step_s`."""
        if not len(self._measured_v):
            self._first_v_s, self._step_v_s = first_s, step_s
        self._measured_v = np.concatenate([self._measured_v, volts])

    def push_event(self, at_s: float, level: bool) -> None:
        """Take a change of the input; in order of time."""
        self._event_s.append(at_s)
        self._level.append(int(level))

    def take(self, until_s: float | None) -> list[Chunk]:
        """Return the samples that are complete and lie before `until_s`, or, if None, all, and forget them.

        With None, samples behind the last voltage get the last one.
        """
        n = len(self._current_a)
        if until_s is not None:
            covered_s = min(until_s, self._first_v_s + len(self._measured_v) * self._step_v_s)
            n = min(n, int(covered_s * self._rate_hz + 1e-6) - self.samples)
        if n <= 0:
            return []
        times_s = (self.samples + np.arange(n)) / self._rate_hz
        current_a, self._current_a = self._current_a[:n].copy(), self._current_a[n:]
        volts = self._voltages(times_s)
        flags = np.where(np.isnan(current_a), np.uint8(Flag.LOST), np.uint8(0))
        flags |= np.where(
            abs(volts - self._volts) > _SAG * self._volts, np.uint8(Flag.WRONG_VOLTAGE), np.uint8(0)
        )
        chunk = Chunk(self.samples, current_a, self._levels(times_s), flags, volts)
        self.samples += n
        self._forget(self.samples / self._rate_hz)
        return [chunk]

    def _voltages(self, times_s: NDArray[np.float64]) -> NDArray[np.float32]:
        if not len(self._measured_v):
            return np.full(len(times_s), np.nan, dtype=np.float32)
        index = np.floor((times_s - self._first_v_s) / self._step_v_s + 1e-6).astype(np.int64)
        return self._measured_v[np.clip(index, 0, len(self._measured_v) - 1)]

    def _levels(self, times_s: NDArray[np.float64]) -> NDArray[np.uint8]:
        # A time stamp that is a sample's own time, but for its rounding, counts for that sample.
        index = np.searchsorted(np.array(self._event_s), times_s + 1e-3 / self._rate_hz, side="right")
        return np.array(self._level, dtype=np.uint8)[index]

    def _forget(self, before_s: float) -> None:
        passed = bisect_right(self._event_s, before_s - 1 / self._rate_hz)
        del self._event_s[:passed], self._level[:passed]
        if self._step_v_s:
            passed = max(
                0, min(int((before_s - self._first_v_s) / self._step_v_s), len(self._measured_v)) - 1
            )
            self._measured_v = self._measured_v[passed:]
            self._first_v_s += passed * self._step_v_s
