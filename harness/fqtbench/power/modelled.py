"""Energy by model: current of a state × supply voltage × time, from the board model's figures."""

import hashlib
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fqtbench.board import Supply

_A_PER_MA: Final = 1e-3


class ModelledMonitor:
    """A monitor without an instrument.

    It knows two states, ``active`` (the core computes) and ``idle`` (it waits), each with the constant current that the
    board model quotes from the chip's manual. It can't tell one instruction mix from another: two programs
    that take equally long get the same energy.
    """

    origin: Final = "modelled"

    def __init__(self, supply: Supply) -> None:
        self._supply = supply

    @property
    def model_id(self) -> str:
        """Name of the model with a hash of its constants, and where they come from."""
        constants = (
            f"{self._supply.volts} V, {self._supply.active_ma} mA active, {self._supply.idle_ma} mA idle"
        )
        digest = hashlib.sha256(constants.encode()).hexdigest()[:8]
        return f"two-state/{digest}: {constants}; {self._supply.source}"

    def power_w(self, state: Literal["active", "idle"]) -> float:
        """Return the power drawn in `state`, in W."""
        current_ma = self._supply.active_ma if state == "active" else self._supply.idle_ma
        return current_ma * _A_PER_MA * self._supply.volts

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def window_energies_j(
        self, durations_s: NDArray[np.float64], state: Literal["active", "idle"]
    ) -> NDArray[np.float64]:
        """Return power × duration for each window, in J."""
        return durations_s * self.power_w(state)
