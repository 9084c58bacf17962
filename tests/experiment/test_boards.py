"""Promise: boards share a suite's runs, each is recorded once; a board that fails leaves its own to the others."""

from pathlib import Path

import pytest

from fqtbench.bench.lock import ProbeLock
from fqtbench.errors import ProbeError
from fqtbench.experiment.results import load_results
from fqtbench.experiment.runner import run_suite
from tests.experiment import suites
from tests.experiment.standin_run import WORKER, Printer, boards, order

SEEDS = [1, 2, 3]


def _boards_used(folder: Path) -> list[str]:
    return [run.description["board"]["name"] for run in load_results(folder).runs]


def test_a_locked_board_leaves_its_runs_to_the_other_one(tmp_path: Path) -> None:
    suite = suites.write(tmp_path, suites.tiny(sweep={"seed": SEEDS}))
    locked = boards()[0]
    assert locked.probe is not None
    told = r"board stand-in-0: probe .* is in use by .*theirs.* \(all 3 runs are recorded in "
    with ProbeLock(locked.probe, "theirs"), pytest.raises(ProbeError, match=told):
        run_suite(order(suite, tmp_path / "out"), Printer(), WORKER)
    assert _boards_used(tmp_path / "out") == ["stand-in-1"] * len(SEEDS)
    assert run_suite(order(suite, tmp_path / "out", resume=True), Printer(), WORKER) == 0


def test_two_boards_share_the_runs(tmp_path: Path) -> None:
    suite = suites.write(tmp_path, suites.tiny(sweep={"seed": SEEDS}))
    assert run_suite(order(suite, tmp_path / "out"), Printer(), WORKER) == len(SEEDS)
    assert set(_boards_used(tmp_path / "out")) == {"stand-in-0", "stand-in-1"}
