"""Promise: a regression is confirmed by a rerun; a rerun that differs from the first run is a failure of its own."""

import sys
from pathlib import Path
from typing import Any, Final

import pytest

from fqtbench.board import Origin, load_models
from fqtbench.errors import ResultError
from fqtbench.experiment.runner import Order
from fqtbench.experiment.spec import load_suite
from fqtbench.regression.gate import RERUN, GateOrder, run_gate
from fqtbench.regression.rules import load_gate
from fqtbench.regression.side import load_side
from fqtbench.regression.verdict import Comparison, Verdict
from fqtbench.regression.words import sentence
from tests.experiment import suites
from tests.experiment.standin_run import WORKER, Printer, boards
from tests.regression import folders
from tests.regression.folders import edited, scaled

_UNSTEADY: Final = (sys.executable, str(Path(__file__).with_name("unsteady_worker.py")))


def _gate(
    folder: Path,
    baseline: Path,
    worker: tuple[str, ...] = WORKER,
    cycles: Origin = "modelled",
    **changes: Any,
) -> Comparison:
    folder.mkdir()
    suite = load_suite(suites.write(folder, suites.tiny(**changes)))
    order = Order(suite, boards(1, cycles), load_models(), folder / "out")
    return run_gate(GateOrder(order, baseline, load_gate(None)), Printer(), lambda _: None, worker)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.record(tmp_path_factory.mktemp("gate"), sweep={"seed": [1, 2]})


def test_unchanged_code_passes_without_a_rerun(baseline: Path, tmp_path: Path) -> None:
    comparison = _gate(tmp_path / "new", baseline, sweep={"seed": [1, 2]})
    assert comparison.exit_code == 0
    assert not (tmp_path / "new" / "out" / RERUN).exists()


def test_a_slow_down_of_one_run_is_confirmed_by_a_rerun_of_that_one(baseline: Path, tmp_path: Path) -> None:
    def faster_once(result: dict[str, Any]) -> None:
        scaled(0.8 if result["assignment"]["seed"] == 2 else 1.0, "backward_s")(result)

    old = edited(baseline, tmp_path / "old", faster_once)
    comparison = _gate(tmp_path / "new", old, sweep={"seed": [1, 2]})
    (found,) = comparison.having(Verdict.REGRESSION)
    assert comparison.exit_code == 1
    assert (found.run, found.metric, found.phase, found.confirmed) == (
        "seed=2",
        "backward_s",
        "backward",
        True,
    )
    assert sentence(found).endswith("(+25.00 %, modelled); none is allowed; confirmed by a rerun")
    assert [run.seed for run in load_side(tmp_path / "new" / "out" / RERUN).runs] == [2]


def test_a_rerun_that_differs_is_a_failure_of_its_own(baseline: Path, tmp_path: Path) -> None:
    old = edited(baseline, tmp_path / "old", scaled(0.5, "forward_s"))
    comparison = _gate(tmp_path / "new", old, _UNSTEADY, sweep={"seed": [1, 2]})
    assert comparison.exit_code == 1
    found = {finding.metric: finding for finding in comparison.having(Verdict.IRREPRODUCIBLE)}
    assert "forward_s" in found
    assert "a rerun gave " in sentence(found["forward_s"])
    assert "ram_bytes" not in found


def test_a_noisy_regression_that_a_rerun_does_not_find_is_undecided(tmp_path: Path) -> None:
    """The board is slow in the first six runs, and as before in the next six."""
    sweep = {"seed": list(range(6))}
    old = folders.record(tmp_path / "old", "measured", sweep=sweep)
    comparison = _gate(tmp_path / "new", old, (*_UNSTEADY, "first-6"), "measured", sweep=sweep)
    (step,) = [f for f in comparison.findings if f.metric == "step_s"]
    assert (step.verdict, step.confirmed) == (Verdict.UNDECIDED, False)
    assert "a rerun did not confirm it, but is fine" in sentence(step)
    assert comparison.exit_code == 2


def test_a_baseline_that_can_not_be_read_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no results folder"):
        _gate(tmp_path / "new", tmp_path / "nowhere")
    assert not (tmp_path / "new" / "out").exists()


def test_boards_that_were_not_asked_for_are_left_out_and_said(baseline: Path, tmp_path: Path) -> None:
    def other_board(result: dict[str, Any]) -> None:
        result["identity"]["board"]["name"] = "rp2040"

    both = edited(baseline, tmp_path / "old", other_board)
    comparison = _gate(tmp_path / "new", both, sweep={"seed": [1, 2]})
    assert comparison.exit_code == 2, "nothing was compared"
    assert "the baseline's runs on rp2040 are not compared: no such board was asked for" in comparison.notes
