"""The orchestrator killed at random instants on a virtual board, then resumed: ``python -m benchmarks.kills``."""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.promise import Promise, keep
from fqtbench.experiment.journal import read

_KILLS: Final = 50
_EARLIEST_S: Final = 0.1
_RUNS: Final = 2
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


def _command(suite: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "fqtbench.cli", "run", str(suite), "--out", str(out), "--resume"]


def _killed(command: list[str], after_s: float) -> bool:
    """Run, and kill after a while; True if it was still running. Nothing it started may outlive it."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(family, timeout=10)
        if alive:
            raise SystemExit(f"processes outlived the orchestrator: {alive}") from None
        return True
    return False


def _recorded(out: Path) -> list[dict[str, Any]]:
    return [entry for entry in read(out / "journal").entries if "run_id" in entry]


def main() -> None:
    """Kill, resume, and count what is recorded."""
    rng, kills, folders, sound = random.Random(7), 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "kills.yaml"
        suite.write_text(_SUITE)
        begin = time.monotonic()
        subprocess.run(
            _command(suite, Path(folder) / "whole"),
            check=True,
            timeout=_DEADLINE_S,
            stdout=subprocess.DEVNULL,
        )
        # Of this computer, as busy as it is: a kill may come at any moment of a suite.
        whole_s = time.monotonic() - begin
        while kills < _KILLS:
            out = Path(folder) / f"out{folders}"
            out.mkdir()
            folders += 1
            while kills < _KILLS and _killed(_command(suite, out), rng.uniform(_EARLIEST_S, whole_s)):
                kills += 1
            begin = time.monotonic()
            subprocess.run(_command(suite, out), check=True, timeout=_DEADLINE_S, stdout=subprocess.DEVNULL)
            runs = [entry["run_id"] for entry in _recorded(out)]
            sound += len(runs) == len(set(runs)) == _RUNS
            print(
                json.dumps(
                    {"kills": kills, "runs": len(runs), "last_resume_s": round(time.monotonic() - begin, 1)}
                )
            )
    kept = sound == folders
    keep("kills", Promise(8, f"SIGKILL of the orchestrator at {_KILLS} random instants, then `--resume`",
                          "every run recorded once, no orphan",
                          f"{kills} kills, {sound} of {folders} suites complete, no orphan", kept,
                          "python -m benchmarks.kills"))  # fmt: skip


if __name__ == "__main__":
    main()
