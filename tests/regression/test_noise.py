"""Promise: noise raises no alarm, a shift beyond the threshold is found, and the order of runs does not matter."""

import math
import sys
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fqtbench.errors import UsageError
from fqtbench.experiment.metrics import BY_NAME
from fqtbench.regression.judge import noisy_verdict
from fqtbench.regression.noise import CONFIDENCE, MIN_REPLICATES, Interval, corrected, paired, welch
from fqtbench.regression.verdict import Verdict

TIME, ACCURACY = BY_NAME["step_s"], BY_NAME["test_accuracy"]
THRESHOLD = 0.03
Judge = Callable[[Sequence[float], Sequence[float], float], Interval]
positive = st.floats(1e-6, 1e6)
sides = st.lists(st.tuples(positive, positive), min_size=MIN_REPLICATES, max_size=20)
ways = st.sampled_from([paired, welch])


@pytest.mark.parametrize("interval_of", [paired, welch])
@pytest.mark.parametrize("spread", [0.002, 0.02, 0.2])
def test_noise_raises_no_more_false_alarms_than_promised(interval_of: Judge, spread: float) -> None:
    """The true change is the threshold itself, where false alarms are most frequent: half of 1 % is allowed."""
    generator = np.random.default_rng(1)
    n, alarms, missed = 4000, 0, 0
    for _ in range(n):
        old, new = np.exp(generator.normal(0, spread, (2, MIN_REPLICATES)))
        interval = interval_of(old, new * (1 + THRESHOLD), CONFIDENCE)
        alarms += noisy_verdict(interval, TIME, THRESHOLD) is Verdict.REGRESSION
        missed += noisy_verdict(interval, TIME, THRESHOLD) in (Verdict.FINE, Verdict.IMPROVEMENT)
    assert alarms <= 0.01 * n
    assert missed <= 0.01 * n


@pytest.mark.parametrize("n_metrics", [1, 10])
def test_the_correction_holds_for_all_metrics_together(n_metrics: int) -> None:
    """Suites without a change: one alarm in any metric counts. Of 15 expected, chance makes more than 24 once in 80."""
    generator = np.random.default_rng(2)
    n, alarmed = 1500, 0
    for _ in range(n):
        intervals = [
            paired(*np.exp(generator.normal(0, 0.02, (2, MIN_REPLICATES))), corrected(n_metrics))
            for _ in range(n_metrics)
        ]
        alarmed += any(not i.low <= 0 <= i.high for i in intervals)
    assert alarmed <= 1.6 * (1 - CONFIDENCE) * n


@settings(deadline=None)
@given(ways, st.floats(0.06, 3.0), st.integers(0, 2**32 - 1))
def test_a_shift_well_beyond_the_threshold_is_found(interval_of: Judge, shift: float, seed: int) -> None:
    old, new = np.exp(np.random.default_rng(seed).uniform(-0.002, 0.002, (2, MIN_REPLICATES)))
    worse = interval_of(old, new * (1 + shift), CONFIDENCE)
    assert noisy_verdict(worse, TIME, THRESHOLD) is Verdict.REGRESSION
    assert noisy_verdict(worse, ACCURACY, THRESHOLD) is Verdict.IMPROVEMENT
    better = interval_of(old * (1 + shift), new, CONFIDENCE)
    assert noisy_verdict(better, TIME, THRESHOLD) is Verdict.IMPROVEMENT
    assert noisy_verdict(better, ACCURACY, THRESHOLD) is Verdict.REGRESSION


@settings(deadline=None)
@given(sides, st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_matter(values: list[tuple[float, float]], random: Random) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert paired(*zip(*values, strict=True), CONFIDENCE) == paired(*zip(*shuffled, strict=True), CONFIDENCE)
    (old, new), (other_old, _) = zip(*values, strict=True), zip(*shuffled, strict=True)
    assert welch(old, new, CONFIDENCE) == welch(other_old, new, CONFIDENCE)


@settings(deadline=None)
@given(sides, ways)
def test_exchanged_sides_give_the_mirrored_interval(
    values: list[tuple[float, float]], interval_of: Judge
) -> None:
    old, new = zip(*values, strict=True)
    there, back = interval_of(old, new, CONFIDENCE), interval_of(new, old, CONFIDENCE)
    assert math.isclose(there.low, -back.high, rel_tol=1e-9, abs_tol=1e-9)
    assert there.low <= there.estimate <= there.high


@given(st.floats(1e-4, 0.5), st.floats(-0.6, 0.6), st.floats(0, 0.6))
def test_a_verdict_is_wholly_on_one_side_or_none(threshold: float, low: float, width: float) -> None:
    interval = Interval(low + width / 2, low, low + width)
    limit = math.log1p(threshold)
    verdict = noisy_verdict(interval, TIME, threshold)
    assert (verdict is Verdict.REGRESSION) == (low > limit)
    assert (verdict is Verdict.UNDECIDED) == (low <= limit < interval.high)
    assert (verdict is Verdict.IMPROVEMENT) == (interval.high < math.log1p(-threshold))


def test_the_paired_interval_is_the_textbook_s() -> None:
    """Six differences of mean 0.1 and standard deviation 0.02; t(5; 99.5 %) = 4.0321, from any table."""
    differences = 0.1 + 0.02 * np.array([-1, 1, -1, 1, -1, 1]) * math.sqrt(5 / 6)
    interval = paired([1.0] * 6, np.exp(differences).tolist(), 0.99)
    assert interval.high - interval.estimate == pytest.approx(4.0321 * 0.02 / math.sqrt(6), rel=1e-4)


def test_welch_s_interval_is_scipy_s() -> None:
    """Against `scipy.stats.ttest_ind`, an independent implementation."""
    from scipy import stats

    old, new = np.exp(np.random.default_rng(3).normal([[0.0], [0.1]], [[0.01], [0.05]], (2, 8)))
    expected = stats.ttest_ind(np.log(new), np.log(old), equal_var=False).confidence_interval(0.99)
    found = welch(old, new, 0.99)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_without_scipy_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(UsageError, match=r"pip install 'fqtbench\[gate\]'"):
        paired([1.0, 1.0], [1.0, 2.0], CONFIDENCE)
