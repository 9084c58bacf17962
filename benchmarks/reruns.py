"""Unchanged code passes the gate, every time: ``python -m benchmarks.reruns [N]``, some ten minutes.

Each time a worker of its own flashes the board, trains the suite of this project's gate and is compared with the
committed baseline, as `fqtbench gate` does it. The virtual board goes on from one to the next, as a real one would:
its start takes longer than all of that.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.promise import ROOT, Promise, keep
from fqtbench.bench.launch import Attachment
from fqtbench.board import BoardInstance, load_instances, load_models
from fqtbench.experiment.plan import Run
from fqtbench.experiment.runner import Order
from fqtbench.experiment.spec import find_suite, load_suite
from fqtbench.regression.gate import GateOrder, run_gate
from fqtbench.regression.rules import Gate
from fqtbench.regression.words import headline, lines

_RERUNS: Final = 100
_BOARD: Final = "virtual-nrf52840"
_ECHO: Final = "import sys; print(sys.argv[1], flush=True); sys.stdin.read()"  # a board that is there already
_BASELINE: Final = ROOT / "results" / "baseline" / "gate"


class _Quiet:
    """An observer that counts what was really run."""

    def __init__(self) -> None:
        self.n_run = 0

    def planned(self, run: Run, n_runs: int) -> None:
        pass

    def began(self, n_runs: int, n_recorded: int) -> None:
        pass

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None:
        pass

    def recorded(self, run: Run, board: str, result: dict[str, Any]) -> None:
        self.n_run += 1


def _passes(board: BoardInstance, folder: Path, observer: _Quiet) -> bool:
    order = Order(load_suite(find_suite("gate")), [board], load_models(), folder)
    comparison = run_gate(GateOrder(order, _BASELINE, Gate()), observer, print)
    if comparison.exit_code:
        print(headline(comparison), *lines(comparison), sep="\n", flush=True)
    return comparison.exit_code == 0


def main() -> None:
    """Run the gate again and again; a run that was not really made doesn't count."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else _RERUNS
    observer, passed = _Quiet(), 0
    board = load_instances(load_models())[_BOARD]
    with Attachment(board) as there:
        argv = (sys.executable, "-c", _ECHO, there.addresses.model_dump_json())
        standing = board.model_copy(update={"launch": argv})
        for number in range(1, wanted + 1):
            with tempfile.TemporaryDirectory() as folder:
                passed += _passes(standing, Path(folder) / "out", observer)
            if number % 10 == 0:
                print(f"{number} gates, {observer.n_run} runs on the board, {passed} passed", flush=True)
    kept = passed == wanted == observer.n_run
    keep("gate_reruns", Promise(9, f"the gate on unchanged code, virtual board, {wanted} times",
                                f"{wanted} of {wanted} pass", f"{passed} of {wanted} pass", kept,
                                "make reruns"))  # fmt: skip


if __name__ == "__main__":
    main()
