"""Promise: what a run says of its energies is what was measured, each figure with what is not known about it."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fqtbench.bench.mlperf_tiny import deviations
from fqtbench.errors import UsageError
from fqtbench.experiment.energy import describe, median_interval
from fqtbench.experiment.plan import plan_runs
from fqtbench.experiment.record import EPOCHS, EVALUATIONS, RESULT, STEPS, TRACE
from fqtbench.experiment.spec import load_suite
from fqtbench.power.recorded import read_excerpt
from tests.experiment import suites
from tests.power import recorded_run
from tests.power.measuring import ACTIVE_W, IDLE_W, UNCERTAINTY_J, FakeMeasuring

CLOCK_HZ = recorded_run.MODEL.clock_hz
PROCEDURE = {"procedure": "mlperf-tiny", "window_s": 0.05}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run whose monitor measures."""
    folder = tmp_path_factory.mktemp("measured")
    return recorded_run.record(recorded_run.plan(folder, energy=PROCEDURE), FakeMeasuring(), folder)


def table(files: dict[str, bytes], name: str) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(files[name]))


def test_each_step_has_the_energy_of_its_windows_and_none_where_there_was_no_window(
    measured: dict[str, bytes],
) -> None:
    steps = table(measured, STEPS)
    durations_s = steps.forward_cycles.astype(float) / CLOCK_HZ
    np.testing.assert_allclose(steps.energy_forward_j, durations_s * ACTIVE_W, rtol=1e-3)
    assert (steps.energy_update_j.isna() == ~steps.updated).all()
    assert (steps.energy_update_uncertainty_j[steps.updated] == UNCERTAINTY_J).all()
    assert steps.energy_forward_j.is_monotonic_increasing or len(steps) > 40  # in the order of the steps
    assert table(measured, EVALUATIONS).energy_forward_j.notna().all()


def test_the_sums_of_an_epoch_are_those_of_its_steps(measured: dict[str, bytes]) -> None:
    steps, epochs = table(measured, STEPS), table(measured, EPOCHS)
    for phase in ("forward", "backward", "update"):
        sums = steps.groupby("epoch")[f"energy_{phase}_j"].sum()
        np.testing.assert_allclose(epochs[f"energy_{phase}_j"], sums, rtol=1e-12)
    assert (epochs.idle_training_w == IDLE_W).all()


def test_the_record_has_spread_account_and_both_ways_with_the_idle_power(measured: dict[str, bytes]) -> None:
    energy = json.loads(measured[RESULT])["energy"]
    assert energy["account"]["drift_ppm"] == 12.5
    assert energy["account"]["n_range_switches"] == 7
    for phase in energy["phases"].values():
        low, high = phase["all"]["interval_j"] or (0, 1)
        assert low <= phase["all"]["median_j"] <= high
        share = phase["above_idle"]["mean_j"] / phase["all"]["mean_j"]
        assert share == pytest.approx(1 - IDLE_W / ACTIVE_W, rel=1e-3)
    assert energy["phases"]["update"]["n_windows"] == 5
    assert energy["phases"]["forward"]["n_windows"] == 40


def test_metrics_of_an_instrument_are_not_exact_and_have_the_edges_uncertainty(
    measured: dict[str, bytes],
) -> None:
    metrics = json.loads(measured[RESULT])["metrics"]
    assert metrics["step_j"]["uncertainty"] == 0.004
    assert not metrics["step_j"]["exact"]
    assert metrics["step_s"]["uncertainty"] is None


def test_the_trace_of_the_first_steps_is_kept(measured: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / TRACE).write_bytes(measured[TRACE])
    kept, expected = read_excerpt(tmp_path / TRACE), FakeMeasuring().excerpt()
    assert (kept.rate_hz, kept.volts) == (expected.rate_hz, expected.volts)
    np.testing.assert_array_equal(kept.current_a, expected.current_a)
    np.testing.assert_array_equal(kept.digital, expected.digital)


def test_a_modelled_run_leaves_behind_what_it_did_before(tmp_path: Path) -> None:
    files = recorded_run.record(recorded_run.plan(tmp_path), recorded_run.modelled(), tmp_path)
    result = json.loads(files[RESULT])
    assert set(files) == {STEPS, EVALUATIONS, EPOCHS, RESULT, "weights.npz"}
    assert "energy" not in result
    assert "energy" not in result["identity"]["spec"]
    assert not [name for name in table(files, STEPS) if name.startswith("energy")]
    assert not [name for name in table(files, EPOCHS) if name.startswith("idle")]


# -- MLPerf Tiny


def test_five_windows_are_long_enough_and_the_median_counts(measured: dict[str, bytes]) -> None:
    result = json.loads(measured[RESULT])
    procedure = result["energy"]["procedure"]
    assert len(procedure["windows"]) == 5
    for window in procedure["windows"]:
        assert window["seconds"] >= PROCEDURE["window_s"]
        assert window["inferences"] >= 10
        assert window["inference_j"] == window["energy_j"] / window["inferences"]
        assert window["uncertainty_j"] == pytest.approx(UNCERTAINTY_J * window["inferences"])
    assert len({window["sample"] for window in procedure["windows"]}) == 5
    median = sorted(window["inference_j"] for window in procedure["windows"])[2]
    assert procedure["inference_j"] == median == result["metrics"]["mlperf_inference_j"]["value"]


def test_a_short_window_is_flagged_as_not_conforming(measured: dict[str, bytes]) -> None:
    procedure = json.loads(measured[RESULT])["energy"]["procedure"]
    assert not procedure["conforming"]
    assert procedure["deviations"] == ["a window lasts 0.05 s, the procedure wants 10 s"]


def test_ten_measured_seconds_conform_and_modelled_ones_do_not(tmp_path: Path) -> None:
    assert deviations(10.0, "measured") == []
    assert deviations(10.0, "modelled") == ["the energies are modelled, not measured"]
    run = recorded_run.plan(tmp_path, energy=PROCEDURE)
    files = recorded_run.record(run, recorded_run.modelled(), tmp_path)
    assert set(json.loads(files[RESULT])["energy"]) == {"procedure"}


def test_the_procedure_is_part_of_a_runs_identity(tmp_path: Path) -> None:
    plain, asked = (
        recorded_run.plan(tmp_path / name, **keys) for name, keys in (("a", {}), ("b", {"energy": PROCEDURE}))
    )
    assert plain.run_id != asked.run_id
    assert asked.identity["spec"]["energy"] == PROCEDURE


@pytest.mark.parametrize(
    ("energy", "told"),
    [
        ({"procedure": "mlperf-tiny", "window": 1}, "unknown key energy.window; did you mean window_s?"),
        ({"procedure": "mlperf"}, "energy.procedure: input should be 'mlperf-tiny', not 'mlperf'"),
        ({"procedure": "mlperf-tiny", "window_s": 0}, "energy.window_s: input should be greater than 0"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, energy: Any, told: str) -> None:
    with pytest.raises(UsageError, match=r"suite\.yaml:") as caught:
        load_suite(suites.write(tmp_path, suites.tiny(energy=energy)))
    assert told in str(caught.value)


def test_a_board_without_a_supply_is_refused_before_it_is_used(tmp_path: Path) -> None:
    host = recorded_run.load_models()["host"]
    suite = load_suite(suites.write(tmp_path, suites.tiny(energy=PROCEDURE)))
    with pytest.raises(UsageError, match=r"suite\.yaml:\d+: energy: tiny: board host has no supply"):
        plan_runs(suite, [host])


# -- the interval


def test_too_few_values_have_no_interval() -> None:
    assert median_interval(np.arange(7.0)) is None
    assert median_interval(np.arange(8.0)) == (0.0, 7.0)  # 2 · 2⁻⁸ is less than 1 %


def test_the_ranks_are_those_of_the_published_table() -> None:
    """Conover, Practical Nonparametric Statistics, and every table of the sign test: n = 20 at 99 % has ranks 4, 17."""
    assert median_interval(np.arange(1.0, 21.0)) == (4.0, 17.0)


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    """Counted over draws of a skewed distribution, of which the median is known; seeded."""
    generator = np.random.default_rng(5)
    draws = generator.exponential(size=(4000, 31))
    found = [median_interval(row) for row in draws]
    held = np.mean([low <= np.log(2) <= high for low, high in filter(None, found)])
    assert len([pair for pair in found if pair]) == len(draws)
    assert held >= 0.985


@given(st.integers(1, 3000), st.integers(0, 2**32 - 1))
def test_the_interval_has_the_samples_median_in_it(n: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    interval = median_interval(values)
    assert (interval is None) == (n < 8)
    if interval is not None:
        assert interval[0] <= np.median(values) <= interval[1]


def test_a_phase_without_windows_has_no_figures() -> None:
    none = np.full(3, np.nan)
    assert describe(none, none, np.ones(3), 0.1) is None
