"""What the bench wants from a power monitor, and how one is opened."""

from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fqtbench.board import Origin, Supply
from fqtbench.errors import UsageError
from fqtbench.power.modelled import ModelledMonitor
from fqtbench.schema import nearest

State = Literal["active", "idle"]
SCHEMES: Final = ("modelled",)


class Monitor(Protocol):
    """A source of energy figures for windows of time that the board marks with its trigger pin."""

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


def open_monitor(url: str, supply: Supply) -> Monitor:
    """Open the monitor at `url`, ``<kind>:<address>``, for a board with `supply`; unknown kinds raise UsageError."""
    scheme = url.partition(":")[0]
    if scheme == "modelled":
        return ModelledMonitor(supply)
    raise UsageError(f"power monitor {url}: unknown kind {scheme}{nearest(scheme, SCHEMES)}")
