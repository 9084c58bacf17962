"""Samples as they come, for somebody who looks: read in a thread of their own, summed up, cut into windows."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import FqtbenchError, MonitorError, UsageError
from fqtbench.power.instrument import UNUSABLE, Chunk, Flag, Instrument
from fqtbench.power.windows import WindowCutter

if TYPE_CHECKING:
    from fqtbench.power.trace import TraceWriter

_READ_S: Final = 0.1
_DRAIN_S: Final = 10.0
_LAST_WINDOWS: Final = 8


@dataclass(frozen=True)
class Sight:
    """What was seen since the last one was taken.

    `mean_a`, `min_a`, `max_a`, `mean_w`: of the usable samples; None without any. `levels`: of each digital input,
    "low", "high" or "both". `n_lost`, `n_unusable`: of the samples. `n_windows`: in all since the start; `last_j`:
    energies of the last of them.
    """

    n_samples: int
    mean_a: float | None
    min_a: float | None
    max_a: float | None
    mean_w: float | None
    levels: tuple[str, ...]
    n_lost: int
    n_unusable: int
    n_windows: int
    last_j: tuple[float, ...]


class _Sums:
    """The sums behind a `Sight`."""

    def __init__(self) -> None:
        self.n = self.n_usable = self.n_lost = 0
        self.sum_a = self.sum_w = 0.0
        self.min_a, self.max_a = np.inf, -np.inf
        self.ever_high, self.ever_low = 0, 0

    def add(self, chunk: Chunk, volts: float) -> None:
        self.n += len(chunk)
        lost = chunk.flags & np.uint8(Flag.LOST) != 0
        self.n_lost += int(lost.sum())
        usable = (chunk.flags & np.uint8(UNUSABLE)) == 0
        if not lost.all():
            levels = chunk.digital[~lost]
            self.ever_high |= int(np.bitwise_or.reduce(levels))
            self.ever_low |= int(np.bitwise_or.reduce(~levels))
        if not usable.any():
            return
        current: NDArray[np.float64] = chunk.current_a[usable].astype(np.float64)
        self.n_usable += len(current)
        self.sum_a += float(current.sum())
        self.sum_w += float((current * (volts if chunk.volts is None else chunk.volts[usable])).sum())
        self.min_a, self.max_a = min(self.min_a, float(current.min())), max(self.max_a, float(current.max()))

    def levels(self) -> tuple[str, ...]:
        """Return the level of each of eight inputs; "low" too of one that isn't there."""
        high = [bool(self.ever_high >> bit & 1) for bit in range(8)]
        low = [bool(self.ever_low >> bit & 1) for bit in range(8)]
        return tuple("both" if h and lo else "high" if h else "low" for h, lo in zip(high, low, strict=True))


class Tap:
    """An instrument that samples while the context lasts. Each sample goes into `trace`, too, if there is one.

    `trigger`: number of the digital input that is high in a window.

    Raises (every method): MonitorError, also that which stopped the thread; UsageError if `trace` can't be written.
    """

    def __init__(self, instrument: Instrument, trigger: int, trace: "TraceWriter | None" = None) -> None:
        self._instrument, self._trace = instrument, trace
        self._cutter = WindowCutter(instrument.rate_hz, instrument.volts, trigger)
        self._lock = threading.Lock()
        self._sums = _Sums()
        self._n_windows = 0
        self._last_j: deque[float] = deque(maxlen=_LAST_WINDOWS)
        self._error: FqtbenchError | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._instrument.start()
        self._thread.start()

    def sight(self) -> Sight:
        """Return what was seen since the last call."""
        self._check()
        with self._lock:
            sums, self._sums = self._sums, _Sums()
            n_windows, last_j = self._n_windows, tuple(self._last_j)
        n = sums.n_usable
        return Sight(
            n_samples=sums.n,
            mean_a=sums.sum_a / n if n else None,
            min_a=sums.min_a if n else None,
            max_a=sums.max_a if n else None,
            mean_w=sums.sum_w / n if n else None,
            levels=sums.levels(),
            n_lost=sums.n_lost,
            n_unusable=sums.n - n,
            n_windows=n_windows,
            last_j=last_j,
        )

    def stop(self) -> int:
        """End sampling, take what is still on its way, and return how many windows there were in all."""
        self._stopping.set()
        self._instrument.stop()
        self._thread.join(_DRAIN_S)
        self._check()
        if self._thread.is_alive():
            raise MonitorError(
                f"{self._instrument.name}: still sends samples {_DRAIN_S:.0f} s after it was stopped; plug it in again"
            )
        return self._n_windows

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _follow(self) -> None:
        deadline_s = None
        try:
            while True:
                if self._stopping.is_set() and deadline_s is None:
                    deadline_s = time.monotonic() + _DRAIN_S
                stopping = self._stopping.is_set()
                chunks = self._instrument.read(_READ_S)
                for chunk in chunks:
                    self._take(chunk)
                if (stopping and not chunks) or (deadline_s is not None and time.monotonic() > deadline_s):
                    return
        except FqtbenchError as error:
            self._error = error
        except OSError as error:
            self._error = UsageError(
                f"the trace can't be written: {error.strerror or error}; choose another file"
            )
        except Exception as error:  # a thread that dies unheard would look like a board that draws nothing
            self._error = MonitorError(f"{self._instrument.name}: {type(error).__name__}: {error}")

    def _take(self, chunk: Chunk) -> None:
        windows = self._cutter.feed(chunk)
        if self._trace is not None:
            self._trace.write(chunk)
        with self._lock:
            self._sums.add(chunk, self._instrument.volts)
            self._n_windows += len(windows)
            self._last_j.extend(windows["energy_j"].tolist())
