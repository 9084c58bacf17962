"""What a run's record says of measured energy: each phase's windows as a spread, and the instrument's account."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.power import PHASES

if TYPE_CHECKING:
    import pandas as pd

Event = dict[str, Any]
CONFIDENCE: Final = 0.99


@dataclass(frozen=True)
class Spread:
    """Energies of windows, in J. `interval_j`: that of the median, by `median_interval`; None for too few windows."""

    mean_j: float
    median_j: float
    interval_j: tuple[float, float] | None


@dataclass(frozen=True)
class PhaseEnergy:
    """The windows of one phase in an epoch.

    `per_sample_j`: their sum, shared by all samples; an update happens once in a mini-batch. `edge_uncertainty_j`: mean
    of the windows' uncertainty. `idle_w`: the power between the windows; `above_idle`: the windows without what that
    power takes in their time, None where it is unknown.
    """

    n_windows: int
    per_sample_j: float
    all: Spread
    edge_uncertainty_j: float
    idle_w: float | None
    above_idle: Spread | None


def median_interval(
    values: NDArray[np.float64], confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Return the interval that has the median of what `values`, (n,), were drawn from with at least `confidence`.

    Exact and free of a distribution: by order statistics x(1) ≤ … ≤ x(n), [x(k), x(n+1−k)] misses the median with a
    probability of 2·P(B < k), B binomial of n and 1/2; k is the largest that keeps it within 1 − `confidence` (David
    and Nagaraja, Order Statistics, 3rd ed., 7.1). None if no k does: below 8 values at 99 %.
    """
    n = len(values)
    if n == 0:
        return None
    i = np.arange(1, n // 2 + 1, dtype=np.float64)
    log_ways = np.concatenate(([0.0], np.cumsum(np.log((n - i + 1) / i))))
    below = np.cumsum(np.exp(log_ways - n * np.log(2.0)))  # P(B ≤ 0), P(B ≤ 1), …
    k = int(np.searchsorted(below, (1 - confidence) / 2, side="right"))
    if k == 0:
        return None
    ordered = np.sort(values)
    return float(ordered[k - 1]), float(ordered[n - k])


def describe(
    energies_j: NDArray[np.float64],
    uncertainties_j: NDArray[np.float64],
    durations_s: NDArray[np.float64],
    idle_w: float | None,
) -> PhaseEnergy | None:
    """Return what the windows of a phase say, a value a sample, (n,), NaN where it had no window; None without any."""
    there = ~np.isnan(energies_j)
    if not there.any():
        return None
    energies = energies_j[there]
    above = None if idle_w is None else _spread(energies - idle_w * durations_s[there])
    return PhaseEnergy(
        n_windows=len(energies),
        per_sample_j=float(energies.sum() / len(energies_j)),
        all=_spread(energies),
        edge_uncertainty_j=float(uncertainties_j[there].mean()),
        idle_w=idle_w,
        above_idle=above,
    )


def energy_record(
    steps: "pd.DataFrame",
    evaluations: "pd.DataFrame",
    epochs: "pd.DataFrame",
    facts: Mapping[str, Event],
    hz: int,
) -> Event:
    """Return the key `energy` of a run's description: nothing of a run whose energies are the model's.

    The phases are those of the last epoch, as with all metrics. `hz`: core clock.
    """
    record: Event = {}
    if "energy_account" in facts:
        last = epochs.iloc[-1]
        parts = [(name, name, steps, "idle_training_w") for name in PHASES]
        parts.append(("inference", "forward", evaluations, "idle_evaluation_w"))
        phases = {}
        for title, name, table, idle in parts:
            final = table[table.epoch == last.epoch]
            idle_w = None if last[idle] is None or np.isnan(last[idle]) else float(last[idle])
            phase = describe(
                final[f"energy_{name}_j"].to_numpy(np.float64),
                final[f"energy_{name}_uncertainty_j"].to_numpy(np.float64),
                final[f"{name}_cycles"].to_numpy(np.float64) / hz,
                idle_w,
            )
            phases[title] = None if phase is None else asdict(phase)
        record = {"confidence": CONFIDENCE, "account": facts["energy_account"], "phases": phases}
    if "energy_procedure" in facts:
        record["procedure"] = facts["energy_procedure"]
    return record


def _spread(energies_j: NDArray[np.float64]) -> Spread:
    return Spread(float(energies_j.mean()), float(np.median(energies_j)), median_interval(energies_j))
