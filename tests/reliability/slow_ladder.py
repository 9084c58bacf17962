"""A board that dies again and again: each attempt climbs a rung (docs/bench.md). `make soak` runs it.

The name keeps pytest from collecting this module unasked; given as an argument it is run.
"""

import sys
from pathlib import Path
from typing import Any

import psutil

from fqtbench.board import BoardInstance, load_models
from fqtbench.experiment import journal
from fqtbench.experiment.attempts import load_attempts
from fqtbench.experiment.plan import Run
from fqtbench.experiment.results import load_results
from fqtbench.experiment.runner import Order, run_suite
from fqtbench.experiment.spec import load_suite
from tests.experiment import suites
from tests.reliability.matrix import Outcome, injects


class Killer:
    """Kills the virtual board that this process has launched at the first event of each kind, in their order."""

    def __init__(self, *kinds: str) -> None:
        self._kinds = list(kinds)

    def planned(self, run: Run, n_runs: int) -> None: ...

    def began(self, n_runs: int, n_recorded: int) -> None: ...

    def recorded(self, run: Run, board: str, result: dict[str, Any]) -> None: ...

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None:
        if board != "host" and self._kinds and self._kinds[0] in (event["event"], event.get("text")):
            self._kinds.pop(0)
            family = psutil.Process().children(recursive=True)
            (launched,) = [p for p in family if "fqtbench.virtual" in p.cmdline()]
            launched.kill()


@injects(
    "the board dies three times in one run",
    "SIGKILL of the launched virtual board while it is flashed, twice, and when it has trained steps",
    "reset, connect under reset and power cycle are tried in turn; the weights are those of board `host`",
)
def test_board_killed_again_and_again(tmp_path: Path, outcome: Outcome) -> None:
    """While it is flashed, twice, and trained. Each time the next rung is taken, the power cycle by its own command."""
    models = load_models()
    cycled = tmp_path / "cycled"
    desk = BoardInstance(
        name="desk",
        model="nrf52840",
        launch=(sys.executable, "-m", "fqtbench.virtual", "nrf52840"),
        power_cycle=(sys.executable, "-c", f"open({str(cycled)!r}, 'x')"),
    )
    host = BoardInstance(name="host", model="host")
    longer = suites.TINY["training"] | {"epochs": 20}  # so that it is not over before the kill strikes
    suite = load_suite(suites.write(tmp_path, suites.tiny(training=longer)))
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    assert run_suite(Order(suite, [host], models, undisturbed), Killer()) == 1
    assert run_suite(Order(suite, [desk], models, out), Killer("flashing", "flashing", "steps")) == 1

    (run,), (reference,) = (load_results(folder).runs for folder in (out, undisturbed))
    assert (run.attempts, reference.attempts) == (4, 1)
    assert _weights(out) == _weights(undisturbed)
    attempts = load_attempts(out)
    assert [a.attempt for a in attempts if a.kind == "failed"] == [1, 2, 3]
    assert [(a.rung, a.error_class) for a in attempts if a.kind == "rung"] == [
        ("reset", None),
        ("connect under reset", None),
        ("power cycle", None),
    ]
    assert {a.error_class for a in attempts if a.kind == "failed"} <= {"ProbeError", "LinkError"}
    assert all("its launched command has ended" in (a.reason or "") for a in attempts if a.kind == "failed")
    assert cycled.exists()
    told = str(next(a.reason for a in attempts if a.kind == "failed"))
    outcome.is_("survived by itself: the run was tried again, the supply switched", attempts=4, told=told)


def _weights(folder: Path) -> list[str]:
    return [entry["files"]["weights.npz"] for entry in journal.read(folder / "journal").entries[1:]]
