"""Four virtual boards at once against four bare CPU loops: ``python -m benchmarks.four_boards``.

Both sides train the same four images on the same samples, so execute the same instructions. A shared computer's speed
changes by a third from one second to the next; so both sides are under way at once and take turns of a second: one is
stopped (SIGSTOP) while the other one runs, and neither notices. A side's rate is the number of training steps of all
four over the length of its turns. How fast a process is depends on where its memory happens to lie, too: so all that is
repeated with new processes, and the figures are medians. Launching, flashing and committing are not in it. A bare loop
is benchmarks/bare_loop.py: the emulated chip alone in a process, fed from memory. The network is that of
experiments/fashion-mnist.yaml.

The overhead of the orchestrator is the CPU time (user and system) of all that is no virtual board, over that of the
four virtual boards' processes, within the same stretch of time: of this process, which receives and keeps the events,
and of the four workers, which stream the samples. A virtual board's CPU time is what it is busy for. A real nRF52840 is
busy for longer with the same step, its cycles over its clock; the share of that is printed, too.
"""

import itertools
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from benchmarks.bare_loop import Loop, record
from benchmarks.inline_board import NETWORK, NRF52840
from benchmarks.promise import Promise, keep
from fqtbench.bench.execute import PHASES
from fqtbench.bench.job import epoch_order
from fqtbench.board import BoardInstance
from fqtbench.experiment.plan import Run, plan_runs
from fqtbench.experiment.runner import Order, run_suite
from fqtbench.experiment.spec import Suite, load_suite

_SHORTFALL: Final = (
    "a worker takes its share of CPU time, and a virtual board some more than a bare loop, for probe and line"
)
_OVERHEAD: Final = "each step wakes a worker, which finds its caches full of what the boards work with"
_BOARDS: Final = 4
_ROUNDS: Final = 5
_STEPS: Final = 800
_RECORDED: Final = 3 * _STEPS // 2  # a bare loop is not done before the boards are, though it is faster
_TURN_S: Final = 1.0  # well below the 2 s after which a worker asks a silent board what is the matter
_BATCH: Final = 16
_SUITE: Final[dict[str, Any]] = {
    "name": "four-boards",
    "boards": ["virtual-nrf52840"],
    "dataset": {"name": "fashion-mnist-12k", "train": _STEPS, "test": 20},
    "network": NETWORK,
    "training": {"batch": _BATCH},
    "sweep": {"seed": list(range(1, _BOARDS + 1))},
    "verify": 0,
    "deadline_s": 1200.0,
}


class Turns:
    """Lets one of two sides run at a time, from `begin` to `end`; a side is a set of processes."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._turns: tuple[list[tuple[float, float]], ...] = ([], [])
        self._thread: threading.Thread | None = None

    def begin(self, sides: tuple[Sequence[int], Sequence[int]]) -> None:
        """`sides`: their processes' ids. The first one goes first; the second one is stopped now."""
        _signal(sides[1], signal.SIGSTOP)
        self._thread = threading.Thread(target=self._take, args=(sides,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Let both run; only the first call does anything."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def length_s(self, side: int, begin_s: float, end_s: float) -> float:
        """Return how long a side had its turn between two instants."""
        return sum(max(min(b, end_s) - max(a, begin_s), 0.0) for a, b in self._turns[side])

    def _take(self, sides: tuple[Sequence[int], Sequence[int]]) -> None:
        for side in itertools.cycle((0, 1)):
            began_s = time.monotonic()
            ended = self._ended.wait(_TURN_S)
            self._turns[side].append((began_s, time.monotonic()))
            if ended:
                break
            _signal(sides[side], signal.SIGSTOP)
            _signal(sides[1 - side], signal.SIGCONT)
        for pids in sides:
            _signal(pids, signal.SIGCONT)


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


class Window:
    """An observer of a suite: what happens while all boards train, in turns with bare loops; and what it takes whom.

    It opens when the last board reports its first steps, and closes when the first one is done.
    """

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = loops
        self._training: set[str] = set()
        self._steps = 0
        self._cycles = 0
        self._who: list[tuple[str, psutil.Process]] = []
        self.turns = Turns()
        self._begin: tuple[float, dict[str, float]] | None = None
        self._end: tuple[float, dict[str, float]] | None = None
        self._points: list[list[tuple[float, int]]] = []

    def planned(self, run: Run, n_runs: int) -> None:
        """Nothing to see."""

    def began(self, n_runs: int, n_recorded: int) -> None:
        """Nothing to see."""

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None:
        """Count steps."""
        if self._end is not None:
            return
        if event["event"] != "steps":
            if board in self._training:
                self._close()
            return
        if self._begin is not None:
            self._steps += len(event["columns"]["step"])
            self._cycles += sum(sum(event["columns"][f"{phase}_cycles"]) for phase in PHASES)
        self._training.add(board)
        if self._begin is None and len(self._training) == _BOARDS:
            self._open()

    def recorded(self, run: Run, board: str, result: dict[str, Any]) -> None:
        """Nothing to see."""

    def _open(self) -> None:
        self._who = [*_processes(), *(("bare", psutil.Process(loop.pid)) for loop in self._loops)]
        boards = [process.pid for who, process in self._who if who in ("worker", "board")]
        self._begin = time.monotonic(), self._cpu_s()
        self.turns.begin((boards, [loop.pid for loop in self._loops]))
        for loop in self._loops:
            loop.start()

    def _close(self) -> None:
        if self._begin is None:
            raise SystemExit("a board was done before all had begun: too few steps for this computer")
        self._end = time.monotonic(), self._cpu_s()
        self.turns.end()
        self._points = [loop.end() for loop in self._loops]

    def _cpu_s(self) -> dict[str, float]:
        """Return the CPU time so far of this process, of its workers, of their boards and of the bare loops."""
        found = {"orchestrator": 0.0, "worker": 0.0, "board": 0.0, "bare": 0.0}
        for who, process in self._who:
            times = process.cpu_times()
            found[who] += times.user + times.system
        return found

    def boards_rate(self) -> float:
        """Return the steps per second of all four boards in their turns."""
        assert self._begin is not None
        assert self._end is not None
        return self._steps / self.turns.length_s(0, self._begin[0], self._end[0])

    def bare_steps(self) -> int:
        """Return how many steps the bare loops did."""
        return sum(points[-1][1] for points in self._measured_points())

    def bare_rate(self) -> float:
        """Return the steps per second of all four bare loops in their turns."""
        found = 0.0
        for points in self._measured_points():
            (begin_s, _), *_, (end_s, steps) = points
            found += steps / self.turns.length_s(1, begin_s, end_s)
        return found

    def real_s_per_step(self) -> float:
        """Return how long a real board would be busy with a step."""
        assert NRF52840.clock_hz is not None
        return self._cycles / self._steps / NRF52840.clock_hz

    def _measured_points(self) -> list[list[tuple[float, int]]]:
        assert self._end is not None
        return [[point for point in points if point[0] <= self._end[0]] for points in self._points]

    def cpu_s_per_step(self) -> dict[str, float]:
        """Return what a step costs whom in CPU time."""
        assert self._begin is not None
        assert self._end is not None
        steps = {"bare": self.bare_steps()}
        return {
            who: (s - self._begin[1][who]) / steps.get(who, self._steps) for who, s in self._end[1].items()
        }


def _processes() -> Iterator[tuple[str, psutil.Process]]:
    """Yield this process and those that it started for boards, with what they are."""
    ours = psutil.Process(os.getpid())
    yield "orchestrator", ours
    kinds = {"fqtbench.bench.serve": "worker", "fqtbench.virtual": "board"}
    for process in ours.children(recursive=True):
        command = process.cmdline()
        for module, kind in kinds.items():
            if module in command:
                yield kind, process


def _samples(run: Run) -> Iterator[tuple[bytes, int]]:
    """Yield what a bare loop trains on: the run's samples, and behind them some more of the same."""
    data, seed = run.ref.load(), run.identity["seed"]
    orders = (epoch_order(len(data.train_x), _BATCH, seed, epoch) for epoch in itertools.count())
    for number in itertools.islice(itertools.chain.from_iterable(orders), _RECORDED):
        yield data.train_x[number].tobytes(), int(data.train_y[number])


def _measured(suite: Suite, folder: Path) -> Window:
    """Return what the boards did, and the bare loops between their turns."""
    with ExitStack() as stack:
        loops = []
        for run in plan_runs(suite, [NRF52840]):
            recording = folder / f"run-{run.number}"
            recording.mkdir()
            record(recording, run.compiled.image, _samples(run))
            loops.append(Loop(recording))
            stack.callback(loops[-1].close)
        for loop in loops:
            loop.await_ready()
        launch = (sys.executable, "-m", "fqtbench.virtual", NRF52840.firmware)
        boards = [
            BoardInstance(name=f"board-{i}", model=NRF52840.name, launch=launch) for i in range(_BOARDS)
        ]
        window = Window(loops)
        stack.callback(window.turns.end)
        run_suite(Order(suite, boards, {NRF52840.name: NRF52840}, folder / "out"), window)
        return window


def main() -> None:
    """Measure."""
    shares, overheads, of_real = [], [], []
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "suite.yaml"
            path.write_text(yaml.safe_dump(_SUITE, sort_keys=False))
            window = _measured(load_suite(path), Path(temporary))
        cpu_s = window.cpu_s_per_step()
        shares.append(window.boards_rate() / window.bare_rate())
        others_s = cpu_s["orchestrator"] + cpu_s["worker"]
        overheads.append(others_s / cpu_s["board"])
        of_real.append(others_s / window.real_s_per_step())
        costs = ", ".join(f"{who} {1e3 * s:.3f}" for who, s in cpu_s.items())
        print(f"steps/s: bare {window.bare_rate():.1f}, boards {window.boards_rate():.1f} ({shares[-1]:.1%}); "
              f"ms of CPU a step: {costs}; overhead {overheads[-1]:.2%}", flush=True)  # fmt: skip
    share, overhead = statistics.median(shares), statistics.median(overheads)
    real = f"of the time that a real board is busy with the same steps it is {statistics.median(of_real):.2%}"
    print(real)
    keep("four-boards", Promise(8, "four virtual boards at once, of what four bare CPU loops reach in the same run",
                                "≥ 90 %", f"{share:.1%} (median of {_ROUNDS} rounds)", share >= 0.9,
                                "python -m benchmarks.four_boards", "" if share >= 0.9 else _SHORTFALL))  # fmt: skip
    keep("orchestrator-overhead", Promise(8, "CPU time of the orchestrator and its workers, of the CPU time of their "
                                          "virtual boards", "≤ 3 %", f"{overhead:.1%} (median of {_ROUNDS} rounds)",
                                          overhead <= 0.03, "python -m benchmarks.four_boards",
                                          "" if overhead <= 0.03 else f"{_OVERHEAD}; {real}"))  # fmt: skip


if __name__ == "__main__":
    main()
