"""Promise: what is drawn of measured power is what was sampled, by phase, with unit and origin, its table beside it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fqtbench.experiment.results import SuiteResults, load_results
from fqtbench.experiment.store import Store
from fqtbench.power.excerpt import Excerpt
from fqtbench.report import style, write_report
from fqtbench.report.power import draw_histogram, draw_power, draw_trace, phases_of
from tests.power import recorded_run
from tests.power.measuring import RATE_HZ, FakeMeasuring, excerpt_of

TWO_STEPS = np.array([False, True])
NAMES = {"power_trace", "power_histogram", "energy_phases"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> SuiteResults:
    """A results folder of one run whose monitor measures."""
    place = tmp_path_factory.mktemp("figures")
    run = recorded_run.plan(place)
    files = recorded_run.record(run, FakeMeasuring(), place)
    with Store(place / "out", "tiny", "0" * 64, resume=False) as store:
        store.record(run.run_id, files, {"label": "tiny", "board": "board"})
    return load_results(place / "out")


def trace() -> Excerpt:
    """Two steps of which the second ends a mini-batch: forward, backward; forward, backward, update."""
    return excerpt_of([30, 60, 30, 60, 20], [6e-3, 5e-3, 6e-3, 5e-3, 8e-3])


def test_each_window_gets_its_phase_and_only_updates_that_were_made() -> None:
    phases = phases_of(trace(), TWO_STEPS)
    counts = {str(name): int((phases == name).sum()) for name in np.unique(phases)}
    assert counts == {"forward": 60, "backward": 120, "update": 20, "idle": 30}


def test_the_input_that_the_trigger_is_wired_to_tells_the_phases() -> None:
    other = replace(trace(), digital=trace().digital << 2)
    np.testing.assert_array_equal(phases_of(other, TWO_STEPS, trigger=2), phases_of(trace(), TWO_STEPS))


def test_windows_behind_the_last_known_step_are_not_named() -> None:
    phases = phases_of(trace(), TWO_STEPS[:1])
    assert {str(name) for name in np.unique(phases)} == {"forward", "backward", "idle"}
    assert (phases[105:] == "idle").all()


def test_a_report_draws_all_three_and_their_tables(results: SuiteResults) -> None:
    write_report(results.folder)
    for name in NAMES:
        assert "<svg" in (results.folder / "figures" / f"{name}.svg").read_text()
        assert len(pd.read_csv(results.folder / "figures" / f"{name}.csv")) >= 4
    page = (results.folder / "report.html").read_text()
    assert "Energy of each phase" in page or "energy_phases" in page


def test_every_axis_has_unit_and_origin(results: SuiteResults) -> None:
    with style.house_style():
        drawings = draw_power(results)
    assert {drawing.name for drawing in drawings} == NAMES
    for drawing in drawings:
        for axes in drawing.figure.axes:
            for label in filter(None, [axes.get_xlabel(), axes.get_ylabel()]):
                assert re.search(r"\(\S+, measured\)$", label), label


def test_the_bars_table_says_the_recorded_figures(results: SuiteResults) -> None:
    with style.house_style():
        table = draw_power(results)[0].table.set_index("phase")
    recorded = results.runs[0].energy["phases"]
    assert table.median_j["forward"] == recorded["forward"]["all"]["median_j"]
    assert table.above_idle_j["update"] == recorded["update"]["above_idle"]["median_j"]
    assert np.isnan(table.low_j["update"])  # five windows are too few for an interval of 99 %


def test_a_long_trace_is_thinned_without_losing_its_extremes() -> None:
    current = np.full(200_000, 5e-3, np.float32)
    current[123_456], current[77_777] = 0.1, 1e-4
    level = np.zeros(len(current), np.uint8)
    long = Excerpt(RATE_HZ, 3.0, current, level, level)
    with style.house_style():
        table = draw_trace(long, phases_of(long, TWO_STEPS), "measured").table
    assert len(table) <= 3000
    assert table.current_ma.max() == pytest.approx(100)
    assert table.current_ma.min() == pytest.approx(0.1)


def test_a_lost_sample_is_a_gap_and_in_no_bin() -> None:
    lost = trace()
    lost.current_a[40:50] = np.nan
    phases = phases_of(lost, TWO_STEPS)
    with style.house_style():
        table = draw_histogram(lost, phases, "measured").table
        assert draw_trace(lost, phases, "measured").table.current_ma.isna().sum() == 10
    assert table.share_percent.sum() == pytest.approx(100)


def test_nothing_is_drawn_of_a_modelled_run(tmp_path: Path) -> None:
    run = recorded_run.plan(tmp_path)
    files = recorded_run.record(run, recorded_run.modelled(), tmp_path)
    with Store(tmp_path / "out", "tiny", "0" * 64, resume=False) as store:
        store.record(run.run_id, files, {"label": "tiny", "board": "board"})
    assert draw_power(load_results(tmp_path / "out")) == []
