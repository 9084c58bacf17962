"""What a measuring monitor says of the windows it found, beyond their energies."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

PHASES: Final = ("forward", "backward", "update")
"""Of a training step, each of which is a window, in this order."""


@dataclass(frozen=True)
class Windows:
    """Windows that were measured.

    `energies_j`, `uncertainties_j`: of the shape of the durations asked for, in J; the uncertainty is that of the
    window's two edges. `idle_w`: mean power between the windows, in W; None if there was no such time.
    """

    energies_j: NDArray[np.float64]
    uncertainties_j: NDArray[np.float64]
    idle_w: float | None


@dataclass(frozen=True)
class Account:
    """What an instrument did from the first `start` to the last `stop`.

    `n_lost`, `n_range_switches`: of the samples. `edge_uncertainty_rel`: mean of uncertainty ÷ energy over the windows.
    `drift_ppm`: how much faster the instrument's clock runs than the board's, in 1e-6; `residual_s`: RMS of what a
    window's duration by both clocks differs after that, in s. `idle_w` as in `Windows`, over all of it.
    """

    n_windows: int
    n_samples: int
    n_lost: int
    n_range_switches: int
    edge_uncertainty_rel: float
    drift_ppm: float
    residual_s: float
    idle_w: float | None
