"""What a measuring monitor adds up: since its windows were asked for last, and over its whole life."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fqtbench.power.account import Account
from fqtbench.power.clock_fit import ClockFit
from fqtbench.power.windows import WINDOW, TableOfWindows


@dataclass
class IdleSum:
    """Power in W of `n` idle samples, summed."""

    sum_w: float = 0.0
    n: int = 0

    def add(self, sum_w: float, n: int) -> None:
        """Take `n` more."""
        self.sum_w += sum_w
        self.n += n

    @property
    def mean_w(self) -> float | None:
        """Their mean in W; None if there are none."""
        return self.sum_w / self.n if self.n else None


@dataclass
class Fresh:
    """What nobody has asked for yet: windows by pieces, lost samples, idle samples."""

    pieces: list[TableOfWindows] = field(default_factory=list)
    n_lost: int = 0
    idle: IdleSum = field(default_factory=IdleSum)

    def windows(self) -> TableOfWindows:
        """Return the windows in order."""
        return np.concatenate([np.empty(0, WINDOW), *self.pieces])


@dataclass
class Totals:
    """Everything that `Account` tells."""

    n_samples: int = 0
    n_lost: int = 0
    n_range_switches: int = 0
    idle: IdleSum = field(default_factory=IdleSum)
    _n_windows: int = 0
    _relative: float = 0.0
    _drift_ppm_s2: float = 0.0
    _square_s2: float = 0.0
    _residual_s2: float = 0.0

    def add(
        self,
        energies_j: NDArray[np.float64],
        uncertainties_j: NDArray[np.float64],
        durations_s: NDArray[np.float64],
        fit: ClockFit,
    ) -> None:
        """Take good windows, (n,) each, and how their durations by the board's clock were fitted."""
        some = energies_j > 0
        self._n_windows += len(energies_j)
        self._relative += float((uncertainties_j[some] / energies_j[some]).sum())
        # slopes of fits through the origin, each by the sum of squares that it was divided by, make that of all
        square_s2 = float(durations_s @ durations_s)
        self._drift_ppm_s2 += fit.drift_ppm * square_s2
        self._square_s2 += square_s2
        self._residual_s2 += fit.rms_s**2 * len(energies_j)

    def account(self) -> Account:
        """Return it; zeros where there is nothing to tell of."""
        n = max(self._n_windows, 1)
        return Account(
            n_windows=self._n_windows,
            n_samples=self.n_samples,
            n_lost=self.n_lost,
            n_range_switches=self.n_range_switches,
            edge_uncertainty_rel=self._relative / n,
            drift_ppm=self._drift_ppm_s2 / self._square_s2 if self._square_s2 else 0.0,
            residual_s=(self._residual_s2 / n) ** 0.5,
            idle_w=self.idle.mean_w,
        )
