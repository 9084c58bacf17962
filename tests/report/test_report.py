"""Promise: a report is drawn from the results folder alone, opens offline, and says origin and unit of everything."""

import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fqtbench.console import summary
from fqtbench.errors import ResultError
from fqtbench.experiment.metrics import BY_NAME, METRICS, Source, show, show_number
from fqtbench.experiment.results import load_results
from fqtbench.experiment.runner import run_suite
from fqtbench.report import write_report
from fqtbench.report.figures import draw_all
from tests.experiment import suites
from tests.experiment.standin_run import WORKER, Printer, boards, order

FIGURES = ("accuracy", "loss", "latency", "memory", "trade_off_energy", "trade_off_latency")
PNG_MAGIC = b"\x89PNG\r\n"


@pytest.fixture(scope="module", params=[1, 3], ids=["one run", "three runs"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of the stand-in board, report drawn."""
    place = tmp_path_factory.mktemp("report")
    suite = suites.write(place, suites.tiny(sweep={"training.batch": [8, 10, 20][: request.param]}))
    run_suite(order(suite, place / "out"), Printer(), WORKER)
    write_report(place / "out")
    return place / "out"


def test_every_figure_is_there_as_png_svg_and_csv(folder: Path) -> None:
    for name in FIGURES:
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(PNG_MAGIC)
        assert "<svg" in (folder / "figures" / f"{name}.svg").read_text()
        assert len(pd.read_csv(folder / "figures" / f"{name}.csv")) >= 1


def test_every_axis_has_unit_and_origin(folder: Path) -> None:
    for drawing in draw_all(load_results(folder)):
        for axes in drawing.figure.axes:
            labels = [axes.get_xlabel(), axes.get_ylabel()]
            quantities = [label for label in labels if label not in ("", "Epoch", "Training samples seen")]
            assert quantities
            for label in quantities:
                stated = " ±7%" if label.startswith("Time") else ""
                assert re.search(rf"\(\S+, (measured|modelled{stated})\)$", label), label


def test_the_page_needs_no_network_and_names_every_metric(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    assert all(link.startswith(("data:", "figures/")) for link in loaded)
    assert "@import" not in page
    assert "<script" not in page
    asked_for = {"mlperf_inference_j"}
    assert all(metric.title in page for metric in METRICS if metric.name not in asked_for)


def test_the_page_lists_the_provenance(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    result = load_results(folder).runs[0].description
    for fact in (result["run_id"], *(result[part]["sha256"] for part in ("firmware", "image", "dataset"))):
        assert fact in page
    assert "arm-none-eabi-gcc" in page
    assert "bit-identical" in page


def test_drawing_again_gives_the_same_bytes(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_report(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_metrics_follow_from_the_step_table(folder: Path) -> None:
    for run in load_results(folder).runs:
        last = run.steps[run.steps.epoch == run.steps.epoch.max()]
        total_s = (last.forward_cycles + last.backward_cycles + last.update_cycles).sum() / run.clock_hz
        assert run.metrics["step_s"].value == pytest.approx(total_s / len(last))
        supply = run.description["identity"]["board"]["supply"]
        power_w = supply["volts"] * supply["active_ma"] / 1000
        assert run.metrics["step_j"].value == pytest.approx(power_w * total_s / len(last))
        tested = run.evaluations[run.evaluations.epoch == run.evaluations.epoch.max()]
        assert run.metrics["test_accuracy"].value == pytest.approx(np.mean(tested.label == tested.predicted))


def test_reading_results_leaves_no_thread_behind(folder: Path) -> None:
    """A thread of Arrow's that is alive at exit aborts the process now and then."""
    program = (
        "import pathlib, psutil, sys, pandas, pyarrow.parquet; from fqtbench.experiment.results import load_results\n"
        "threads = psutil.Process().num_threads\n"
        "before = threads(); load_results(pathlib.Path(sys.argv[1])); sys.exit(threads() - before)"
    )
    assert subprocess.run([sys.executable, "-c", program, folder], timeout=60, check=False).returncode == 0


def test_origins_are_those_of_board_and_monitor(folder: Path) -> None:
    for run in load_results(folder).runs:
        assert {run.metrics[name].origin for name in ("step_s", "step_j")} == {"modelled"}
        assert {run.metrics[name].origin for name in ("test_accuracy", "ram_bytes")} == {"measured"}


def test_every_modelled_latency_stands_beside_what_its_model_states(folder: Path) -> None:
    """Beside nothing else: energy has its own model, and counts are exact."""
    results = load_results(folder)
    page = (folder / "report.html").read_text()
    screen = Console(width=200, record=True, file=io.StringIO())
    screen.print(summary(results))
    shown = screen.export_text()
    for run in results.runs:
        for metric in run.metrics.values():
            latency = BY_NAME[metric.name].source is Source.CYCLES
            assert ("±7%" in show(metric)) == latency
            assert f">{show(metric)}<" in page
        for name in ("forward_s", "backward_s", "update_s"):
            assert re.search(rf"{re.escape(show_number(run.metrics[name]))}( ms)? ±7%", shown)


def test_a_measured_latency_stands_alone(tmp_path: Path) -> None:
    suite = suites.write(tmp_path, suites.tiny())
    run_suite(replace(order(suite, tmp_path / "out"), boards=boards(1, "measured")), Printer(), WORKER)
    page = write_report(tmp_path / "out").read_text()
    (run,) = load_results(tmp_path / "out").runs
    assert run.metrics["step_s"].origin == "measured"
    cells = re.findall(r"<td[^>]*>([^<]*)", page)
    assert show(run.metrics["step_s"]) in cells
    assert not [cell for cell in cells if "±" in cell]


def test_names_from_a_suite_are_escaped(tmp_path: Path) -> None:
    suite = suites.write(tmp_path, suites.tiny(sweep={"dataset.path": ["<script>alert(1)</script>"]}))
    run_suite(order(suite, tmp_path / "out"), Printer(), WORKER)
    assert "<script>" not in write_report(tmp_path / "out").read_text()


def test_a_folder_without_results_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no results folder"):
        write_report(tmp_path)
