"""Suites on a lab whose boards are stand-ins: one is run, and what must be true after it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd

from fqtbench.bench.lock import ProbeLock
from fqtbench.board import BoardInstance, load_models
from fqtbench.experiment import journal
from fqtbench.experiment.plan import Run
from fqtbench.experiment.results import load_results
from fqtbench.experiment.runner import Order, run_suite
from fqtbench.experiment.spec import load_suite
from fqtbench.hosts.address import Address
from fqtbench.hosts.executor import LabExecutor
from fqtbench.hosts.lab import Lab
from tests.experiment.standin_run import Printer, boards
from tests.hosts.lab import DEADLINE_S
from tests.processes import assert_gone

ONCE: Final = "every run recorded once, with the weights of an undisturbed suite"
SEEDS: Final = [1, 2, 3]


class Watcher(Printer):
    """An observer that does something when a run is first attached to a board, and keeps the events."""

    def __init__(self, act: Callable[[str], None] = lambda board: None) -> None:
        self._act, self._acted = act, False
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None:
        self.events.append((board, event))
        if event["event"] == "attached" and not self._acted and self._wants(board):
            self._acted = True
            self._act(board)

    def _wants(self, board: str) -> bool:
        return board == "stand-in-0"

    def reasons(self) -> list[str]:
        return [event["reason"] for _, event in self.events if event["event"] == "retry"]


@dataclass(frozen=True)
class Trial:
    """A suite and its results folder `out`. A worker of a host that is given `hold` waits there when it has its board.

    `undisturbed`: what the suite trains otherwise. `word` marks the processes of the test.
    """

    suite: Path
    out: Path
    hold: Path
    undisturbed: dict[int, list[int]]
    word: str

    def run(self, address: str, watcher: Watcher, n_boards: int = 1, **options: Any) -> int:
        """Run what isn't recorded yet on a lab; returns how many runs were recorded now."""
        with Lab(Address.parse(address), None) as lab:
            here = [BoardInstance(name=b.name, model=b.model) for b in boards(n_boards)]
            executor_of = partial(LabExecutor, lab=lab, **options)
            suite = load_suite(self.suite)
            return run_suite(
                Order(suite, here, load_models(), self.out, resume=True, executor_of=executor_of), watcher
            )

    def let_go(self) -> None:
        """From now on nobody waits."""
        self.hold.unlink()
        self.hold.touch()

    def assert_whole(self) -> None:
        """Each run is recorded once, with the weights of an undisturbed suite; no process is left."""
        ids = [entry["run_id"] for entry in journal.read(self.out / "journal").entries[1:]]
        assert len(ids) == len(set(ids)) == len(SEEDS)
        assert weights(self.out) == self.undisturbed
        assert_gone(self.word, DEADLINE_S)


def boards_used(folder: Path) -> list[str]:
    return [run.description["board"]["name"] for run in load_results(folder).runs]


def weights(folder: Path) -> dict[int, list[int]]:
    """Return the checksum of the trained state after each epoch, by seed."""
    found = {}
    for run in load_results(folder).runs:
        (attempt,) = (folder / "runs" / run.description["run_id"]).iterdir()
        found[run.description["identity"]["seed"]] = pd.read_parquet(
            attempt / "epochs.parquet"
        ).checksum.to_list()
    return found


def assert_free(board: BoardInstance) -> None:
    """Whoever held it lets go within the deadline."""
    assert board.probe is not None
    with ProbeLock(board.probe, board.name, patience_s=DEADLINE_S):
        pass
