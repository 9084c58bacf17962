"""`fqtbench run` on two stand-in boards: ``python -m tests.experiment.standin_run SUITE DIR [--resume]``.

Prints a line for every event. With KILL_AT_SYNC=n in the environment it dies by SIGKILL in its n-th fsync: an instant
inside a commit, which a signal from outside rarely hits.
"""

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

from fqtbench.board import BoardInstance, Origin, load_models
from fqtbench.errors import FqtbenchError
from fqtbench.experiment.plan import Run
from fqtbench.experiment.runner import Order, run_suite
from fqtbench.experiment.spec import load_suite

WORKER = (sys.executable, str(Path(__file__).with_name("standin_worker.py")))


# Locks hold for the whole computer: tests in another process, or another clone, have boards of their own.
_OWNER: Final = f"{Path(__file__).parent}:{os.environ.get('PYTEST_XDIST_WORKER', '')}"


def boards(n: int = 2, cycles: Origin = "modelled") -> list[BoardInstance]:
    """Return `n` boards that need no hardware."""
    return [
        BoardInstance(
            name=f"stand-in-{i}", model="nrf52840", probe=f"{_OWNER}:{i}", serial="none", cycles=cycles
        )
        for i in range(n)
    ]


class Printer:
    """An observer that says everything on standard output."""

    def planned(self, run: Run, n_runs: int) -> None:
        print("planned", run.number, flush=True)

    def began(self, n_runs: int, n_recorded: int) -> None:
        print("began", n_runs, n_recorded, flush=True)

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None:
        print("event", run.number, event["event"], flush=True)

    def recorded(self, run: Run, board: str, result: dict[str, Any]) -> None:
        print("recorded", run.number, flush=True)


def order(suite: Path, folder: Path, resume: bool = False, n_boards: int = 2) -> Order:
    """Return the order to run `suite` into `folder` on stand-in boards."""
    return Order(load_suite(suite), boards(n_boards), load_models(), folder, resume)


def _die_at_sync(n: int) -> None:
    count = itertools.count(1)
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if next(count) == n:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = fsync


def main() -> None:
    if "KILL_AT_SYNC" in os.environ:
        _die_at_sync(int(os.environ["KILL_AT_SYNC"]))
    try:
        run_suite(order(Path(sys.argv[1]), Path(sys.argv[2]), "--resume" in sys.argv), Printer(), WORKER)
    except FqtbenchError as error:
        print(f"fqtbench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
