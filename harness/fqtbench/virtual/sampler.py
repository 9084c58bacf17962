"""Between a virtual chip and an emulated power monitor: what the board draws, sample by sample, and its trigger pin.

Samples are of virtual time. It stands still while the board has no supply, is halted, or waits for its host: then no
samples come. A sample's digital bit is the level of the trigger pin in the sample's middle.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.virtual import native
from fqtbench.virtual.chip import Chip
from fqtbench.virtual.instruments.instrument import MAX_BACKLOG_BYTES, EmulatedInstrument
from fqtbench.virtual.power_meter import ChargeMeter
from fqtbench.virtual.power_model import PowerModel

_MAX_WINDOWS: Final = 100_000


@dataclass(frozen=True)
class Window:
    """A time for which the trigger pin was high, in cycles, and what the model itself charges for it, in coulombs."""

    begin: int
    end: int
    charge_c: float


class Sampler:
    """Feeds `instrument` with what `chip` draws by `model`, and obeys its switch of the supply.

    Until the instrument first feeds the board, this has its power from elsewhere: a host that knows of no instrument
    can use it.
    """

    def __init__(self, chip: Chip, instrument: EmulatedInstrument, model: PowerModel, clock_hz: int) -> None:
        self._chip, self._instrument, self._model, self._clock_hz = chip, instrument, model, clock_hz
        self._feeds = False  # whether the instrument has ever fed the board
        self._rate_hz: float | None = None
        self.meter: ChargeMeter | None = None
        self._n_fed = 0
        self._level = chip.trigger  # in the last sample that was fed
        self._edges: list[tuple[int, bool]] = []  # the sample from which on a level holds
        self._high_since: tuple[int, float] | None = None  # cycle, charge
        self.windows: deque[Window] = deque(maxlen=_MAX_WINDOWS)
        chip.on_trigger = self._on_edge
        native.address(native.POWER)  # a hook that must be compiled is so before a host waits for it
        self._obey()

    @property
    def model(self) -> PowerModel:
        """What the board's current comes from."""
        return self._model

    @property
    def holds(self) -> bool:
        """Whether the board must stand still until the instrument's host has read."""
        return self._instrument.backlog_bytes > MAX_BACKLOG_BYTES

    def readers(self) -> list[int]:
        """Return the file descriptors to wait on."""
        return self._instrument.readers()

    def writers(self) -> list[int]:
        """Return those to wait on until they take what waits to be sent."""
        return self._instrument.writers()

    def feed(self) -> None:
        """Give the instrument all whole samples up to now. Call it behind each slice of the CPU's time."""
        if self.meter is None:
            return
        current_a = self.meter.take_a()
        if len(current_a):
            self._instrument.feed(current_a, self._levels(len(current_a)))
            self._n_fed += len(current_a)

    def service(self) -> bool:
        """Let the instrument take its commands, and follow them; return whether it needs another call at once."""
        self.feed()
        again = self._instrument.service()
        self._obey()
        return again

    def unpublish(self) -> None:
        """Remove what the instrument has published; callable from another thread, just before the process ends."""
        self._instrument.close()

    def close(self) -> None:
        """Let go of the chip and of the instrument's port."""
        self._measure(None)
        self._chip.on_trigger = None
        self._instrument.close()

    def _obey(self) -> None:
        self._feeds = self._feeds or self._instrument.powered
        self._chip.power(self._instrument.powered or not self._feeds)
        if self._instrument.rate_hz != self._rate_hz:
            self._measure(self._instrument.rate_hz)

    def _measure(self, rate_hz: float | None) -> None:
        """Begin with sample 0 at `rate_hz`, or end."""
        if self.meter is not None:
            self.meter.close()
        self._rate_hz, self.meter, self._n_fed = rate_hz, None, 0
        self._edges.clear()
        self._high_since = None
        self._level = self._chip.trigger
        if rate_hz is not None:
            self.meter = ChargeMeter(self._chip, self._model, self._clock_hz, rate_hz)

    def _on_edge(self, cycle: int, level: bool) -> None:
        if self.meter is None:
            return
        self._edges.append((self.meter.first_sample_at(cycle), level))
        charge_c = self.meter.charge_c()
        if level:
            self._high_since = cycle, charge_c
        elif self._high_since is not None:
            begin, before_c = self._high_since
            self.windows.append(Window(begin, cycle, charge_c - before_c))
            self._high_since = None

    def _levels(self, n: int) -> NDArray[np.uint8]:
        """Return the digital input of the next `n` samples, (n,)."""
        levels = np.full(n, self._level, np.uint8)
        end = self._n_fed + n
        n_due = 0
        for first, level in self._edges:
            if first >= end:
                break
            levels[max(first - self._n_fed, 0) :] = level
            self._level = level
            n_due += 1
        del self._edges[:n_due]
        return levels
