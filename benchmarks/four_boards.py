"""Four virtual boards at once against four bare CPU loops: ``python -m benchmarks.four_boards``.

Both sides train the same four images on the same samples, so execute the same instructions; they take turns. A rate is
the number of training steps, of all four, in the time while all four are training: launching, flashing and committing
are not in it; what they take is printed. A bare loop is benchmarks/bare_loop.py: the emulated chip alone in a process,
fed from memory. The network is that of experiments/fashion-mnist.yaml.

The overhead of the orchestrator is the CPU time (user and system) of all that is no virtual board, over that of the
four virtual boards' processes, within the same stretch of time: of this process, which receives and keeps the events,
and of the four workers, which stream the samples. A virtual board's CPU time is what it is busy for; a real nRF52840
is busy for longer with the same step, so the orchestrator's share of that is smaller.

Each bare loop is a session of its own, as a worker and a launched board are: Linux shares a busy computer among these.
A board and its worker are two of them, so a load from outside takes more from the bare loops. The share in CPU time,
which is printed, does not depend on that: what a step costs a bare loop over what it costs board, worker and
orchestrator together.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
import yaml

from benchmarks.bare_loop import Loop, record
from benchmarks.inline_board import NETWORK, NRF52840
from benchmarks.promise import Promise, keep
from fqtbench.bench.job import epoch_order
from fqtbench.board import BoardInstance
from fqtbench.experiment.plan import Run, plan_runs
from fqtbench.experiment.runner import Order, run_suite
from fqtbench.experiment.spec import Suite, load_suite

_SHORTFALL: Final = (
    "rounds lie on both sides of the bound: a worker takes its share of CPU time, and a virtual board some more than a "
    "bare loop, for looking after probe and line"
)
_BOARDS: Final = 4
_ROUNDS: Final = 5
_STEPS: Final = 640
_BATCH: Final = 16
_DEADLINE_S: Final = 600.0
_SUITE: Final[dict[str, Any]] = {
    "name": "four-boards",
    "boards": ["virtual-nrf52840"],
    "dataset": {"name": "fashion-mnist-12k", "train": _STEPS, "test": 20},
    "network": NETWORK,
    "training": {"batch": _BATCH},
    "sweep": {"seed": list(range(1, _BOARDS + 1))},
    "verify": 0,
    "deadline_s": _DEADLINE_S,
}


class Rate(NamedTuple):
    """Steps per second of all four; what one of them costs whom in s of CPU time; s until all four train."""

    steps_per_s: float
    cpu_s: dict[str, float]
    start_s: float


class Window:
    """An observer of a suite: what happens while all boards train, and what CPU time that takes whom."""

    def __init__(self) -> None:
        self._training: set[str] = set()
        self._made_s = time.monotonic()
        self._begin: tuple[float, dict[str, float]] | None = None
        self._end: tuple[float, dict[str, float]] | None = None
        self._steps = 0
        self._who: list[tuple[str, psutil.Process]] = []

    def planned(self, run: Run, n_runs: int) -> None:
        """Nothing to see."""

    def began(self, n_runs: int, n_recorded: int) -> None:
        """Nothing to see."""

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None:
        """The window opens when the last board reports its first steps, and closes when the first one is done."""
        if self._end is not None:
            return
        if event["event"] != "steps":
            if board in self._training:
                if self._begin is None:
                    raise SystemExit("a board was done before all had begun: too few steps for this computer")
                self._end = time.monotonic(), self._cpu_s()
            return
        if self._begin is not None:
            self._steps += len(event["columns"]["step"])
        self._training.add(board)
        if self._begin is None and len(self._training) == _BOARDS:
            self._who = list(_processes())
            self._begin = time.monotonic(), self._cpu_s()

    def recorded(self, run: Run, board: str, result: dict[str, Any]) -> None:
        """Nothing to see."""

    def result(self) -> Rate:
        """Return what the boards did, and what the start took: planning, launching, flashing, the first steps."""
        assert self._begin is not None
        assert self._end is not None
        cpu_s = {who: (self._end[1][who] - self._begin[1][who]) / self._steps for who in self._end[1]}
        start_s = self._begin[0] - self._made_s
        return Rate(self._steps / (self._end[0] - self._begin[0]), cpu_s, start_s)

    def _cpu_s(self) -> dict[str, float]:
        """Return the CPU time so far of this process, of its workers and of their boards."""
        found = {"orchestrator": 0.0, "worker": 0.0, "board": 0.0}
        for who, process in self._who:
            times = process.cpu_times()
            found[who] += times.user + times.system
        return found


def _processes() -> Iterator[tuple[str, psutil.Process]]:
    """Yield this process and those that it started, with what they are."""
    ours = psutil.Process(os.getpid())
    yield "orchestrator", ours
    for process in ours.children(recursive=True):
        command = process.cmdline()
        kinds = {"fqtbench.bench.serve": "worker", "fqtbench.virtual": "board"}
        yield next(kind for module, kind in kinds.items() if module in command), process


def _samples(run: Run) -> Iterator[tuple[bytes, int]]:
    data = run.ref.load()
    for number in epoch_order(len(data.train_x), _BATCH, run.identity["seed"], 0):
        yield data.train_x[number].tobytes(), int(data.train_y[number])


def _bare(folders: Sequence[Path]) -> Rate:
    """Return what four bare loops do."""
    began_s = time.monotonic()
    loops = [Loop(folder) for folder in folders]
    for loop in loops:
        loop.await_ready()
    for loop in loops:
        loop.start()
    found = [loop.result(_DEADLINE_S) for loop in loops]
    begin_s, end_s = max(f["begin_s"] for f in found), min(f["end_s"] for f in found)
    if begin_s >= end_s:
        raise SystemExit("the bare loops did not run at once: too few steps for this computer")
    rate = sum(f["steps"] / (f["end_s"] - f["begin_s"]) for f in found)
    cpu_s = sum(f["cpu_s"] for f in found) / sum(f["steps"] for f in found)
    return Rate(rate, {"bare": cpu_s}, begin_s - began_s)


def _orchestrated(suite: Suite, folder: Path) -> Rate:
    launch = (sys.executable, "-m", "fqtbench.virtual", NRF52840.firmware)
    boards = [BoardInstance(name=f"board-{i}", model=NRF52840.name, launch=launch) for i in range(_BOARDS)]
    window = Window()
    run_suite(Order(suite, boards, {NRF52840.name: NRF52840}, folder), window)
    return window.result()


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _overhead(boards: Rate) -> float:
    return (boards.cpu_s["orchestrator"] + boards.cpu_s["worker"]) / boards.cpu_s["board"]


def _said(bare: Rate, boards: Rate) -> str:
    costs = ", ".join(f"{who} {1e3 * s:.3f}" for who, s in (bare.cpu_s | boards.cpu_s).items())
    return (
        f"bare {bare.steps_per_s:.1f}, boards {boards.steps_per_s:.1f} steps/s; ms of CPU a step: {costs}; overhead "
        f"{_overhead(boards):.2%}; start: bare {bare.start_s:.1f} s, boards {boards.start_s:.1f} s"
    )


def main() -> None:
    """Measure in turn."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = folder / "suite.yaml"
        path.write_text(yaml.safe_dump(_SUITE, sort_keys=False))
        suite = load_suite(path)
        recordings = []
        for run in plan_runs(suite, [NRF52840]):
            recordings.append(folder / f"run-{run.number}")
            recordings[-1].mkdir()
            record(recordings[-1], run.compiled.image, _samples(run))
        rounds = []
        for number in range(_ROUNDS):
            rounds.append((_bare(recordings), _orchestrated(suite, folder / f"out-{number}")))
            print(_said(*rounds[-1]), flush=True)
    bare, boards = zip(*rounds, strict=True)
    share = _median([b.steps_per_s for b in boards]) / _median([b.steps_per_s for b in bare])
    cpu_share = _median([b.cpu_s["bare"] for b in bare]) / _median([sum(b.cpu_s.values()) for b in boards])
    overhead = _median([_overhead(b) for b in boards])
    print(f"share in CPU time: {cpu_share:.1%}")
    keep("four-boards", Promise(8, "four virtual boards at once, of what four bare CPU loops reach in the same run",
                                "≥ 90 %", f"{share:.1%} (medians of {_ROUNDS} rounds)", share >= 0.9,
                                "python -m benchmarks.four_boards", "" if share >= 0.9 else _SHORTFALL))  # fmt: skip
    keep("orchestrator-overhead", Promise(8, "CPU time of the orchestrator and its workers, of their boards' busy time",
                                          "≤ 3 %", f"{overhead:.1%} (median of {_ROUNDS} rounds)", overhead <= 0.03,
                                          "python -m benchmarks.four_boards"))  # fmt: skip


if __name__ == "__main__":
    main()
