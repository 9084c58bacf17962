"""An instrument in memory: a made-up stream that is delivered piece by piece, and may fail."""

import queue
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fqtbench.power.instrument import Chunk

RATE_HZ = 100_000.0
VOLTS = 3.0


def train_of_windows(
    lengths: Sequence[int], *, gap: int = 20, high_a: float = 5e-3, low_a: float = 1e-3, trigger: int = 0
) -> Chunk:
    """Return a stream with windows of so many samples, and idle time around each."""
    level = np.concatenate([[0] * gap, *([1] * n + [0] * gap for n in lengths)]).astype(np.uint8)
    current = np.where(level == 1, high_a, low_a).astype(np.float32)
    return Chunk(0, current, level << np.uint8(trigger), np.zeros(len(level), np.uint8))


def changed(
    whole: Chunk,
    at: int | slice,
    *,
    flags: int = 0,
    current_a: float | None = None,
    digital: int | None = None,
) -> Chunk:
    """Return `whole` with other values at some samples."""
    currents, digitals, all_flags = whole.current_a.copy(), whole.digital.copy(), whole.flags.copy()
    all_flags[at] |= np.uint8(flags)
    if current_a is not None:
        currents[at] = current_a
    if digital is not None:
        digitals[at] = digital
    return Chunk(whole.first, currents, digitals, all_flags)


@dataclass
class Memory:
    """Implements `Instrument`. Each `start` begins the next of `streams`; half of it is only there behind `stop`.

    `fails`: what `read` raises once the first half is read. `endless`: idle samples go on behind `stop`.
    """

    streams: list[Chunk]
    fails: Exception | None = None
    endless: bool = False
    volts: float = VOLTS
    rate_hz: float = RATE_HZ
    digital_inputs: int = 8
    name: str = "memory 1"
    model_id: str = "memory 1, calibrated"
    course: list[str] = field(default_factory=list)
    piece: int = 37
    _queue: "queue.Queue[Chunk]" = field(default_factory=queue.Queue)
    _rest: list[Chunk] = field(default_factory=list)
    _n_read: int = 0

    def calibration_fault(self) -> str | None:
        """It never has one."""
        return None

    def supply(self, on: bool) -> None:
        """Note it."""
        self.course.append("on" if on else "off")

    def start(self) -> None:
        """Make the first half of the next stream readable."""
        self.course.append("start")
        whole = self.streams.pop(0)
        parts = [part(whole, begin, begin + self.piece) for begin in range(0, len(whole), self.piece)]
        for one in parts[: len(parts) // 2]:
            self._queue.put(one)
        self._rest = parts[len(parts) // 2 :]

    def read(self, timeout_s: float) -> Sequence[Chunk]:
        """Return two pieces at most."""
        try:
            found = [self._queue.get(timeout=timeout_s)]
        except queue.Empty:
            if self.fails is not None:
                raise self.fails from None
            return []
        if not self._queue.empty():
            found.append(self._queue.get())
        if self.endless:
            first = self._n_read + sum(map(len, found)) + sum(map(len, list(self._queue.queue)))
            zeros = np.zeros(self.piece, np.uint8)
            self._queue.put(Chunk(first, zeros.astype(np.float32), zeros, zeros))
        self._n_read += sum(map(len, found))
        return found

    def stop(self) -> None:
        """Make the second half readable."""
        self.course.append("stop")
        for one in [] if self.endless else self._rest:
            self._queue.put(one)

    def close(self) -> None:
        """Note it."""
        self.course.append("close")


def part(whole: Chunk, begin: int, end: int) -> Chunk:
    """Return some of the samples of `whole`."""
    where = slice(begin, end)
    return Chunk(whole.first + begin, whole.current_a[where], whole.digital[where], whole.flags[where])


def durations_s(lengths: Sequence[int], clock_error: float = 0.0) -> NDArray[np.float64]:
    """Return how long a board whose clock is slow by `clock_error` says that such windows took."""
    return np.array(lengths) / RATE_HZ * (1 - clock_error)
