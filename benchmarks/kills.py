"""The orchestrator killed at random instants on a virtual board, then resumed: ``python -m benchmarks.kills``.

An instant is a line that the command has printed and a random delay after it, which may be as long as it is to the
next line. So the instants spread over a suite's whole life, however busy the computer is.
"""

import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.promise import Promise, keep
from fqtbench.experiment.journal import read

_ENOUGH_TO_SPREAD: Final = (
    50  # so many fall before, between and after the runs, but for once in 100 000 times
)
_KILLS: Final = 15 if os.environ.get("FQTBENCH_STRICT") else _ENOUGH_TO_SPREAD
_RUNS: Final = 2
_LINES: Final = 2  # that the command prints of each run: it has begun, its epoch is over
_EARLIEST_S: Final = 0.1
_DEADLINE_S: Final = 120.0
_SUITE: Final = """
name: kills
dataset: {name: fashion-mnist-12k, train: 160, test: 20}
network:
  layers:
    - {type: conv2d, filters: 4, stride: 2}
    - {type: max_pool, size: 2}
    - {type: fully_connected, units: 10, activation: linear}
training: {batch: 16}
sweep: {seed: [1, 2]}
"""


class _Suite:
    """The command under way, and what it prints of its runs."""

    def __init__(self, suite: Path, out: Path) -> None:
        command = [sys.executable, "-m", "fqtbench.cli", "run", str(suite), "--out", str(out), "--resume"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.startswith("run "):
                self._lines.put(line)
        self._lines.put(None)

    def await_lines(self, n: int) -> bool:
        """Wait for so many lines; False if it ended before."""
        return all(self._lines.get(timeout=_DEADLINE_S) is not None for _ in range(n))

    def kill_after(self, delay_s: float) -> bool:
        """Kill it after a while; True if it was still running. Nothing it started may outlive it."""
        try:
            self._process.wait(delay_s)
        except subprocess.TimeoutExpired:
            family = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            self._process.wait()
            _, alive = psutil.wait_procs(family, timeout=10)
            if alive:
                raise SystemExit(f"processes outlived the orchestrator: {alive}") from None
            return True
        return False

    def end(self) -> None:
        """Let it come to its end, which must be a good one."""
        if self._process.wait(_DEADLINE_S):
            raise SystemExit(f"the suite ended with exit code {self._process.returncode}")


def _gaps_s(suite: Path, out: Path) -> list[float]:
    """Run undisturbed; return how long it takes to each line, and from the last one to the end."""
    gaps_s, before_s = [], time.monotonic()
    whole = _Suite(suite, out)
    for n in [1] * _RUNS * _LINES + [0]:
        if not n:
            whole.end()
        elif not whole.await_lines(n):
            raise SystemExit("the suite ended early")
        now_s = time.monotonic()
        gaps_s.append(now_s - before_s)
        before_s = now_s
    return gaps_s


def _recorded(out: Path) -> list[dict[str, Any]]:
    path = out / "journal"
    return [entry for entry in read(path).entries if "run_id" in entry] if path.exists() else []


def _kill_on(suite: Path, out: Path, gaps_s: list[float], rng: random.Random, moments: Counter[int]) -> None:
    """Kill and resume in one folder until the suite is complete, once more after that, or there are enough kills."""
    recorded = 0
    while sum(moments.values()) < _KILLS:
        left = _LINES * (_RUNS - recorded)  # lines that it has yet to print
        n = rng.randint(0, left)
        running = _Suite(suite, out)
        killed = running.await_lines(n) and running.kill_after(
            rng.uniform(_EARLIEST_S, max(_EARLIEST_S, gaps_s[n - left - 1] if n else gaps_s[0]))
        )
        was_complete, recorded = recorded == _RUNS, len(_recorded(out))
        if not killed:
            running.end()
            return
        moments[recorded] += 1
        if was_complete:
            return


def main() -> None:
    """Kill, resume, and count what is recorded."""
    rng, folders, sound = random.Random(7), 0, 0
    moments: Counter[int] = Counter()  # runs recorded at a kill → kills
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "kills.yaml"
        suite.write_text(_SUITE)
        gaps_s = _gaps_s(suite, Path(folder) / "whole")
        while sum(moments.values()) < _KILLS:
            out = Path(folder) / f"out{folders}"
            folders += 1
            _kill_on(suite, out, gaps_s, rng, moments)
            _Suite(suite, out).end()
            runs = [entry["run_id"] for entry in _recorded(out)]
            sound += len(runs) == len(set(runs)) == _RUNS
            print(
                json.dumps({"runs": len(runs), "kills by runs recorded": dict(sorted(moments.items()))}),
                flush=True,
            )
    spread = ", ".join(f"{moments[n]} with {n}" for n in range(_RUNS + 1))
    kept = sound == folders and (_KILLS < _ENOUGH_TO_SPREAD or all(moments[n] for n in range(_RUNS + 1)))
    keep("kills", Promise(8, f"SIGKILL of the orchestrator at {_KILLS} random instants, then `--resume`",
                          "every run recorded once, no orphan; kills before, between and after the runs",
                          f"{sum(moments.values())} kills ({spread} of {_RUNS} runs recorded), "
                          f"{sound} of {folders} suites complete, no orphan", kept,
                          "python -m benchmarks.kills"))  # fmt: skip


if __name__ == "__main__":
    main()
