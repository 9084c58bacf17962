"""What the bench wants from a power monitor, and how one is opened."""

from typing import Final, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fqtbench.board import Origin, Supply
from fqtbench.errors import UsageError
from fqtbench.power.modelled import ModelledMonitor
from fqtbench.schema import nearest

State = Literal["active", "idle"]
SCHEMES: Final = ("modelled",)
SWITCHING: Final[tuple[str, ...]] = ()  # those of which the monitor is a `SupplySwitch` too


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
        """End the record, and free the instrument."""
        ...

    def window_energies_j(self, durations_s: NDArray[np.float64], state: State) -> NDArray[np.float64]:
        """Return the energy in J of the windows recorded, in their order, any shape.

        `durations_s` are the same windows by the board's own clock: a model multiplies them, an instrument
        uses them to find a window that it lost.
        """
        ...


@runtime_checkable
class SupplySwitch(Protocol):
    """What a monitor is besides if the board's supply goes through it."""

    def power_cycle(self) -> None:
        """Take the supply away, long enough for the chip to forget, and bring it back; MonitorError if that fails."""
        ...


def switches_supply(url: str) -> bool:
    """Whether a monitor at such a URL can take the board's supply away; nothing is opened."""
    return url.partition(":")[0] in SWITCHING


def open_monitor(url: str, supply: Supply) -> Monitor:
    """Open the monitor at `url`, ``<kind>:<address>``, for a board with `supply`; unknown kinds raise UsageError."""
    scheme = url.partition(":")[0]
    if scheme == "modelled":
        return ModelledMonitor(supply)
    raise UsageError(f"power monitor {url}: unknown kind {scheme}{nearest(scheme, SCHEMES)}")
