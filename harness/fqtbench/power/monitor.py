"""What the bench wants from a power monitor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fqtbench.board import Origin
from fqtbench.power.account import Account, Windows
from fqtbench.power.excerpt import Excerpt
from fqtbench.power.instrument import Instrument

State = Literal["active", "idle"]


class Monitor(Protocol):
    """A source of energy figures for windows of time that the board marks with its trigger pin.

    Raises (every method): MonitorError, if the instrument is gone or lost what it should have recorded.
    """

    @property
    def origin(self) -> Origin:
        """Whether its figures are measured or modelled."""
        ...

    @property
    def model_id(self) -> str:
        """What else a figure depends on: the model's constants, or the instrument and its calibration."""
        ...

    def start(self) -> None:
        """Begin to record; call it before the first window."""
        ...

    def stop(self) -> None:
        """End the record if there is one, and free the instrument."""
        ...

    def window_energies_j(self, durations_s: NDArray[np.float64], state: State) -> NDArray[np.float64]:
        """Return the energy in J of the windows recorded, in their order, any shape.

        `durations_s` are the same windows by the board's own clock: a model multiplies them, an instrument
        uses them to find a window that it lost.
        """
        ...


@runtime_checkable
class SupplySwitch(Protocol):
    """What a monitor is besides if the board's supply goes through it.

    A kind counts as one if the class that is registered for it has this method.
    """

    def power_cycle(self) -> None:
        """Take the supply away, long enough for the chip to forget, and bring it back; MonitorError if that fails."""
        ...


@runtime_checkable
class Calibrated(Protocol):
    """What a monitor is besides if it can tell whether it was calibrated."""

    def calibration_fault(self) -> str | None:
        """Return what is wrong with its calibration, and behind a semicolon what to do; None if nothing is."""
        ...


@runtime_checkable
class Measuring(Protocol):
    """What a monitor is besides if it finds the windows in samples: it can say how sure it is of each.

    Raises (both methods): MonitorError.
    """

    def windows(self, durations_s: NDArray[np.float64]) -> Windows:
        """Return the windows recorded since they were asked for last, in their order.

        It stands for `Monitor.window_energies_j`: each window is returned by one of the two, once.
        """
        ...

    def account(self) -> Account:
        """Return what became of the samples so far."""
        ...


@runtime_checkable
class Excerpting(Protocol):
    """What a monitor is besides if it keeps the samples of its first few windows."""

    def excerpt(self) -> Excerpt | None:
        """Return them; None if there was no window."""
        ...


@runtime_checkable
class Sampling(Protocol):
    """What a monitor is besides if somebody may look at its samples, while it is not recording."""

    @property
    def instrument(self) -> Instrument:
        """The instrument, open."""
        ...

    @property
    def trigger(self) -> int:
        """Number of its digital input that the board's trigger pin is wired to."""
        ...


@runtime_checkable
class Closable(Protocol):
    """What a monitor is besides if it holds an instrument that its next opening would find busy."""

    def close(self) -> None:
        """Let go of it, whatever state it is in; nothing is raised."""
        ...


@contextmanager
def closing(monitor: Monitor | None) -> Iterator[None]:
    """Close a monitor that can be closed, in the end."""
    try:
        yield
    finally:
        if isinstance(monitor, Closable):
            monitor.close()
