"""What every test of a fault needs: a tiny suite, boards with a trouble, a run, and what must be true after it."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from fqtbench.bench.lock import probe_holder
from fqtbench.board import BoardInstance, load_models
from fqtbench.console import Progress
from fqtbench.experiment import journal
from fqtbench.experiment.plan import Run
from fqtbench.experiment.results import load_results
from fqtbench.experiment.runner import Order, run_suite
from fqtbench.experiment.spec import load_suite
from tests.experiment import suites
from tests.processes import assert_gone
from tests.reliability.matrix import Outcome
from tests.reliability.relays import Served
from tests.reliability.trouble import Trouble

MODEL: Final = "nrf52840"
ONCE: Final = "all runs recorded once, with the weights of an undisturbed suite"
END_DEADLINE_S: Final = 30
_WIDTH: Final = 10_000  # one line of the terminal for each that is printed
_SMALLER: Final[dict[str, Any]] = {
    "dataset": suites.TINY["dataset"] | {"train": 16, "test": 8},
    "training": suites.TINY["training"] | {"epochs": 1},
    "verify": 8,
    "sweep": {"seed": [1, 2]},
}
Hook = Callable[[str, dict[str, Any]], None]


class _Witness(Progress):
    """What the command line shows, kept as text; `hook` gets each event and its run's label."""

    def __init__(self, hook: Hook) -> None:
        self.text = io.StringIO()
        super().__init__(Console(file=self.text, width=_WIDTH), quiet=False)
        self._hook = hook
        self.retries = 0

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None:
        super().event(run, board, event)
        self.retries += event["event"] == "retry"
        self._hook(run.label, event)


class Bench:
    """A suite and its results folder below `folder`; processes are marked by `word`."""

    def __init__(self, folder: Path, word: str) -> None:
        self.folder, self._word = folder, word
        self.out = folder / "out"
        self.suite = suites.write(folder, suites.tiny(**_SMALLER))
        self.struck = folder / "struck"
        self.retries = 0
        self.said: list[str] = []

    def behind(self, served: Served) -> BoardInstance:
        """Return the board that is behind relays of this process."""
        addresses = served.addresses
        return BoardInstance(name="desk", model=MODEL, probe=addresses["probe"], serial=addresses["serial"])

    def launched(self, trouble: Trouble, *options: str) -> BoardInstance:
        """Return a board that is launched with a trouble, which strikes once."""
        trouble = trouble.model_copy(update={"struck": self.struck})
        argv = (
            sys.executable,
            "-m",
            "tests.reliability.board",
            trouble.model_dump_json(exclude_defaults=True),
            MODEL,
            *options,
        )
        return BoardInstance(name="launched", model=MODEL, launch=argv)

    def run(
        self, board: BoardInstance, *, resume: bool = False, hook: Hook = lambda label, event: None
    ) -> int:
        """Run the suite; returns how many runs were recorded now, raises what the command line would print."""
        witness = _Witness(hook)
        order = Order(load_suite(self.suite), [board], load_models(), self.out, resume)
        try:
            with witness:
                return run_suite(order, witness)
        finally:
            self.retries += witness.retries
            self.said += witness.text.getvalue().splitlines()

    def run_behind(self, served: Served, trouble: Trouble, undisturbed: list[str]) -> None:
        """Run behind relays with a trouble that the wire bears: no command fails, and then all is there."""
        board = self.behind(served)
        with served.having(trouble):
            assert self.run(board) == 2
        self.assert_whole(undisturbed, board)

    def run_through(
        self,
        board: BoardInstance,
        undisturbed: list[str],
        outcome: Outcome,
        hook: Hook = lambda label, event: None,
    ) -> None:
        """Run on a board whose trouble strikes once: the run is tried again, and then all is there."""
        assert self.run(board, hook=hook) == 2
        self.assert_whole(undisturbed, board)
        assert self.struck.exists(), "the trouble never struck"
        assert self.retries >= 1
        told = next(line for line in self.said if "because: " in line)
        outcome.is_("survived by itself: the run was tried again", attempts=1 + self.retries, told=told)

    def n_perturbed(self) -> int:
        """Return of how many runs frames were sent again."""
        return sum(bool(run.description["perturbed"]) for run in load_results(self.out).runs)

    def weights(self) -> list[str]:
        """Return the hash of each recorded run's weights, in the order of the suite; each run is there once."""
        entries = journal.read(self.out / "journal").entries[1:]
        ids = [entry["run_id"] for entry in entries]
        assert len(ids) == len(set(ids))
        kept = {path.parent.name: path.name for path in self.out.glob("runs/*/attempt-*")}
        assert kept == {entry["run_id"]: entry["attempt"] for entry in entries}
        assert not list(self.out.rglob("*.tmp"))
        return [e["files"]["weights.npz"] for e in sorted(entries, key=lambda entry: str(entry["label"]))]

    def assert_whole(self, undisturbed: list[str], board: BoardInstance) -> None:
        """All runs are recorded once, with the weights of an undisturbed suite; nothing is left behind."""
        assert self.weights() == undisturbed
        self.assert_left_alone(board)

    def assert_left_alone(self, board: BoardInstance) -> None:
        """No process is left, and no lock held."""
        assert_gone(self._word, END_DEADLINE_S)
        if board.probe is not None:
            assert probe_holder(board.probe) is None
