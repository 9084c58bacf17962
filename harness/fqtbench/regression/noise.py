"""By how much a noisy metric got worse: the mean change, and the interval that holds it with a given confidence.

Values are compared by their logarithms, so that a change is a factor, and the same fraction up and down is not the
same distance. Intervals are Student's t: of the mean of paired differences where runs share their seeds, else Welch's
(B. L. Welch, The generalization of "Student's" problem, Biometrika 34, 1947). With m intervals at confidence
1 − α ÷ m, all of them together hold with 1 − α or more (Bonferroni's inequality).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fqtbench.errors import UsageError

CONFIDENCE: Final = 0.99
MIN_REPLICATES: Final = 6


@dataclass(frozen=True)
class Interval:
    """Natural logarithm of the factor current ÷ baseline: its estimate, and the interval's ends."""

    estimate: float
    low: float
    high: float


def corrected(n_intervals: int) -> float:
    """Return the confidence that each of so many intervals needs, for all of them to have `CONFIDENCE`."""
    return 1 - (1 - CONFIDENCE) / max(n_intervals, 1)


def paired(baseline: Sequence[float], current: Sequence[float], confidence: float) -> Interval:
    """Return the interval of positive values, those of one place from runs that share a seed; two pairs or more."""
    differences = sorted(math.log(c / b) for b, c in zip(baseline, current, strict=True))
    mean, variance = _moments(differences)
    n = len(differences)
    return _interval(mean, variance / n, n - 1, confidence)


def welch(baseline: Sequence[float], current: Sequence[float], confidence: float) -> Interval:
    """Return the interval of positive values from runs that share nothing; two or more a side."""
    (mean_b, variance_b), (mean_c, variance_c) = (
        _moments(sorted(map(math.log, values))) for values in (baseline, current)
    )
    square_b, square_c = variance_b / len(baseline), variance_c / len(current)
    square = square_b + square_c
    spread = square_b**2 / (len(baseline) - 1) + square_c**2 / (len(current) - 1)
    freedom = square**2 / spread if spread > 0 else len(baseline) + len(current) - 2
    return _interval(mean_c - mean_b, square, freedom, confidence)


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and unbiased variance."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _interval(mean: float, squared_error: float, freedom: float, confidence: float) -> Interval:
    reach = _t_quantile(freedom, (1 + confidence) / 2) * math.sqrt(squared_error)
    return Interval(mean, mean - reach, mean + reach)


def _t_quantile(freedom: float, probability: float) -> float:
    try:
        from scipy.special import stdtrit  # noqa: PLC0415  (an extra: exact metrics need no statistics)
    except ModuleNotFoundError as error:
        raise UsageError(
            "noisy metrics are compared with SciPy, which isn't installed: pip install 'fqtbench[gate]', or let "
            "gate.toml ignore them"
        ) from error
    return float(stdtrit(freedom, probability))
