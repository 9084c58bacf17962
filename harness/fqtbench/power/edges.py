"""The energy of windows between their true edges, as far as the board's clock tells where these are.

A window cut at whole samples is wrong by up to a sample at each end, each 1 % of a window of 1 ms at 100 000 samples a
second. But the board counted its cycles. With the fit of both clocks (clock_fit.py), the window's length d is known to
d·s, where s is the standard error of the drift, instead of T/√6. So the time that the samples have too little is made
up for at the power inside the edges, and time that they have too much is taken away at the power outside: for a
converter that takes the mean of each period, a sample on an edge has the outside's power in it for just that long.

What is left: the window may lie a little earlier or later. With δ uniform within ±T it is off by δ times the difference
of the powers at its two edges, R₀ and R₁ on either side of the rise, F₀ and F₁ of the fall. And its length may be off,
at their mean P̄. The standard uncertainty is

    u = √( T²/3 · mean over i, j of (Fᵢ − Rⱼ)²  +  (P̄·d·s)² )
"""

import numpy as np
from numpy.typing import NDArray

from fqtbench.power.clock_fit import ClockFit
from fqtbench.power.windows import TableOfWindows

_PER_PPM = 1e-6
_SIDES = np.array([[0, 2], [0, 3], [1, 2], [1, 3]])  # of `edges_w`: one at the rise, one at the fall


def between_edges(
    windows: TableOfWindows, durations_s: NDArray[np.float64], fit: ClockFit, period_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return energies and their standard uncertainties in J, (n,) each.

    `durations_s`, (n,): of the windows by the board's clock, `fit`: of these to the windows.
    """
    lengths_s = durations_s * (1 + fit.drift_ppm * _PER_PPM)
    missing_s = lengths_s - (windows["end"] - windows["begin"]) * period_s
    before, first, last, behind = windows["edges_w"].T
    energies = windows["energy_j"] + missing_s * np.where(missing_s > 0, first + last, before + behind) / 2
    pairs = windows["edges_w"][:, _SIDES]
    moved = period_s**2 / 3 * np.mean((pairs[..., 1] - pairs[..., 0]) ** 2, axis=1)
    # no worse than its own number of samples tells, which is all that there is of a window alone
    length_error_s = np.minimum(durations_s * fit.drift_error_ppm * _PER_PPM, period_s / np.sqrt(6))
    stretched = (windows["edges_w"].mean(axis=1) * length_error_s) ** 2
    return energies, np.sqrt(moved + stretched)
