"""Promise: two clocks are fitted by the windows that both timed, and a window that is wrong is told from the others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fqtbench.power.clock_fit import fit_clocks, missing_window

PERIOD_S = 1e-5


def seen_s(true_s: NDArray[np.float64], drift: float, seed: int) -> NDArray[np.float64]:
    """Return durations as an instrument whose clock runs fast by `drift` counts them, in whole samples."""
    phase = np.random.default_rng(seed).random(len(true_s))
    return np.floor(true_s * (1 + drift) / PERIOD_S + phase) * PERIOD_S


durations = st.lists(st.floats(3e-4, 3e-2), min_size=5, max_size=60).map(np.array)


@given(durations, st.floats(-300e-6, 300e-6), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_drift_is_found_within_what_the_samples_can_tell(
    true_s: NDArray[np.float64], drift: float, seed: int
) -> None:
    fit = fit_clocks(true_s, seen_s(true_s, drift, seed), PERIOD_S)
    assert fit.misfits == ()
    assert fit.offset_s is None
    assert fit.max_s <= 2.5 * PERIOD_S
    assert abs(fit.drift_ppm - drift * 1e6) <= 6 * fit.drift_error_ppm


def test_a_fit_of_many_windows_is_as_good_as_its_error_says() -> None:
    true_s = np.random.default_rng(1).uniform(1e-3, 1e-2, 3000)
    errors = []
    for seed in range(100):
        fit = fit_clocks(true_s, seen_s(true_s, 40e-6, 1000 + seed), PERIOD_S)
        errors.append((fit.drift_ppm - 40) / fit.drift_error_ppm)
        assert fit.rms_s == pytest.approx(PERIOD_S / np.sqrt(6), rel=0.1)
    assert 0.8 < np.std(errors) < 1.2
    assert abs(np.mean(errors)) < 0.5


@given(durations, st.data(), st.sampled_from([0.5, 0.9, 1.1, 3.0]))
@settings(deadline=None)
def test_one_wrong_window_is_named_and_leaves_the_fit_alone(
    true_s: NDArray[np.float64], data: st.DataObject, factor: float
) -> None:
    wrong = data.draw(st.integers(0, len(true_s) - 1))
    true_s[wrong] = true_s.min() + 1e-3  # long enough to be told, and less than half of the time
    instrument_s = seen_s(true_s, 100e-6, 3)
    right = fit_clocks(np.delete(true_s, wrong), np.delete(instrument_s, wrong), PERIOD_S)
    instrument_s[wrong] *= factor
    if true_s[wrong] < true_s.sum() / 2:
        fit = fit_clocks(true_s, instrument_s, PERIOD_S)
        assert fit.misfits == (wrong,)
        assert fit.drift_ppm == pytest.approx(right.drift_ppm, abs=1e-6)


def test_windows_that_began_at_known_times_tell_the_offset() -> None:
    true_s = np.full(100, 2e-3)
    begins_s = np.arange(100) * 3e-3
    drift = 50e-6
    fit = fit_clocks(true_s, true_s * (1 + drift), PERIOD_S, (begins_s, 7.0 + begins_s * (1 + drift)))
    assert fit.offset_s == pytest.approx(7.0, abs=1e-9)
    assert fit.drift_ppm == pytest.approx(50, abs=1e-6)


def test_a_slow_oscillator_is_drift_and_no_misfit() -> None:
    """An RC oscillator may be off by per cents; then all windows are."""
    true_s = np.linspace(1e-3, 2e-2, 50)
    fit = fit_clocks(true_s, seen_s(true_s, 0.02, 1), PERIOD_S)
    assert fit.misfits == ()
    assert fit.drift_ppm == pytest.approx(20_000, abs=1000)


@given(st.integers(1, 40), st.data())
@settings(deadline=None)
def test_the_window_that_one_side_lacks_is_found(n: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(n)
    true_s = np.tile([1e-3, 3e-3, 4e-4], n) * rng.uniform(0.999, 1.001, 3 * n)
    lost = data.draw(st.integers(0, 3 * n - 1))
    seen = seen_s(true_s, 30e-6, n)
    assert missing_window(true_s, np.delete(seen, lost), PERIOD_S) == lost
    assert missing_window(seen, np.delete(true_s, lost), PERIOD_S) == lost


def test_no_single_window_explains_what_is_quite_different() -> None:
    assert missing_window(np.array([1e-3, 2e-3, 3e-3]), np.array([2.5e-3, 3.5e-3]), PERIOD_S) is None
    assert missing_window(np.ones(3), np.ones(1), PERIOD_S) is None
    assert missing_window(np.ones(1), np.ones(0), PERIOD_S) == 0


def test_windows_without_length_are_no_reason_to_fail() -> None:
    fit = fit_clocks(np.zeros(2), np.zeros(2), PERIOD_S)
    assert (fit.drift_ppm, fit.misfits, fit.drift_error_ppm) == (0.0, (), float("inf"))
