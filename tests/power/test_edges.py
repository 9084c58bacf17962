"""Promise: with the board's cycles, a window's energy is that between its true edges, within the uncertainty stated."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fqtbench.power.clock_fit import fit_clocks
from fqtbench.power.edges import between_edges
from fqtbench.power.instrument import Chunk
from fqtbench.power.windows import WindowCutter

PERIOD_S = 1e-5
VOLTS = 3.0
ACTIVE_W = 0.03


def measured(
    seed: int, gap_w: float, drift: float, n: int = 200, samples: float = 100
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the true energies of windows, those by whole samples, those between edges, and these's uncertainties.

    A converter that takes the mean of each period, a logic input that is read at one instant of it.
    """
    rng = np.random.default_rng(seed)
    lengths, gaps = samples * rng.uniform(0.9, 2, n), rng.uniform(5, 9, n)
    rises = np.cumsum(gaps) + np.cumsum(lengths) - lengths
    falls = rises + lengths
    times = np.arange(int(falls[-1]) + 9)
    bounds = np.concatenate([[0.0], np.stack([rises, falls], 1).ravel(), [falls[-1] + 99]])
    powers = np.array([gap_w, ACTIVE_W])[np.arange(len(bounds) - 1) % 2]
    charge = np.concatenate([[0.0], np.cumsum(np.diff(bounds) * powers)])
    power = np.diff(np.interp(np.append(times, times[-1] + 1), bounds, charge))
    high = np.searchsorted(bounds, times + rng.random(), side="right") % 2 == 0
    cutter = WindowCutter(1 / PERIOD_S, VOLTS)
    chunk = Chunk(
        0, (power / VOLTS).astype(np.float32), high.astype(np.uint8), np.zeros(len(times), np.uint8)
    )
    windows = cutter.feed(chunk)
    board_s = lengths * PERIOD_S * (1 - drift)
    seen_s = (windows["end"] - windows["begin"]) * PERIOD_S
    fit = fit_clocks(board_s, seen_s, PERIOD_S)
    energies, uncertainties = between_edges(windows, board_s, fit, PERIOD_S)
    return lengths * PERIOD_S * ACTIVE_W, windows["energy_j"], energies, uncertainties


@pytest.mark.parametrize("drift", [0.0, 80e-6])
@pytest.mark.parametrize("gap_w", [0.0, 0.2 * ACTIVE_W, ACTIVE_W, 1.5 * ACTIVE_W])
def test_errors_are_within_what_is_said(gap_w: float, drift: float) -> None:
    errors, claimed = [], []
    for seed in range(60):  # a stream's errors have its drift's in common
        true, _, energies, uncertainties = measured(seed, gap_w, drift, n=40)
        errors.append(energies - true)
        claimed.append(uncertainties)
    off, said = np.concatenate(errors), np.concatenate(claimed)
    assert np.sqrt(np.mean(off**2)) <= 1.1 * np.sqrt(np.mean(said**2))
    assert (np.abs(off) <= 4 * said).all()


@pytest.mark.parametrize("gap_w", [0.7 * ACTIVE_W, ACTIVE_W])
def test_windows_of_a_hundred_samples_are_known_better_than_to_a_sample(gap_w: float) -> None:
    """Between phases the core spins, so the power says nothing of where an edge is; the cycles do."""
    true, whole, energies, _ = measured(1, gap_w, 20e-6)
    assert np.abs(whole / true - 1).max() > 0.005
    assert np.abs(energies / true - 1).max() < 0.004


def test_a_window_alone_stays_as_it_was_cut() -> None:
    """It can't tell its own length from the clocks' drift."""
    _, whole, energies, uncertainties = measured(3, ACTIVE_W, 0.0, n=1)
    assert energies == pytest.approx(whole, rel=1e-9)
    assert uncertainties == pytest.approx(ACTIVE_W * PERIOD_S / np.sqrt(6), rel=0.05)
