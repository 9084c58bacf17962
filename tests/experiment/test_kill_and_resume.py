"""Promise: whenever the orchestrator dies, `--resume` records each run exactly once, and nothing is left behind."""

import json
import os
import random
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from filelock import FileLock

from fqtbench.bench.lock import ProbeLock
from fqtbench.experiment import journal
from tests.experiment import suites
from tests.experiment.standin_run import boards
from tests.processes import MARKER, assert_gone

ROOT = Path(__file__).parents[2]
N_KILLS = int(os.environ.get("FQTBENCH_KILLS", "8"))
N_RUNS = 4
DEADLINE_S = 60
EVENTS_OF_A_SUITE = (
    50  # roughly what the four runs below print; a kill after the end just counts as a whole run
)
SYNCS_OF_A_SUITE = 70
REPRODUCIBLE = ("steps.parquet", "evaluations.parquet", "epochs.parquet", "weights.npz")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return suites.write(tmp_path, suites.tiny(sweep={"seed": [1, 2], "training.batch": [8, 10]}))


def _start(suite: Path, folder: Path, marker: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.experiment.standin_run", str(suite), str(folder), "--resume"],
        cwd=ROOT,
        env=os.environ | {MARKER: marker} | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def _assert_locks_free(folder: Path) -> None:
    if folder.exists():
        with FileLock(folder / ".lock", timeout=DEADLINE_S):
            pass
    for board in boards():
        assert board.probe is not None
        with ProbeLock(board.probe, board.name, patience_s=DEADLINE_S):
            pass


def _run_until_event(process: "subprocess.Popen[str]", n_events: int) -> int:
    """Kill the process by SIGKILL after `n_events` lines of output; returns its exit code."""
    assert process.stdout is not None
    for count, _ in enumerate(process.stdout, 1):
        if count == n_events:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.read()
    return process.wait(DEADLINE_S)


def _assert_each_run_once(folder: Path) -> dict[str, dict[str, str]]:
    """Check the journal; returns run_id → hashes of the files that must not depend on kills."""
    content = journal.read(folder / "journal")
    ids = [entry["run_id"] for entry in content.entries[1:]]
    assert len(ids) == len(set(ids)) == N_RUNS
    attempts = {path.parent.name: path.name for path in folder.glob("runs/*/attempt-*")}
    assert attempts == {entry["run_id"]: entry["attempt"] for entry in content.entries[1:]}
    assert not list(folder.rglob("*.tmp"))
    return {e["run_id"]: {name: e["files"][name] for name in REPRODUCIBLE} for e in content.entries[1:]}


@pytest.mark.timeout(600)
def test_kills_at_any_instant_record_each_run_once(tmp_path: Path, suite: Path) -> None:
    chance = random.Random(20)
    kills, wholes = 0, []
    folder = tmp_path / "out-0"
    while kills < N_KILLS:
        marker = uuid.uuid4().hex
        if kills % 2:
            process = _start(suite, folder, marker, KILL_AT_SYNC=str(chance.randint(1, SYNCS_OF_A_SUITE)))
            code = _run_until_event(process, 0)
        else:
            code = _run_until_event(_start(suite, folder, marker), chance.randint(1, EVENTS_OF_A_SUITE))
        assert code in (0, -signal.SIGKILL)
        kills += code != 0
        assert_gone(marker, DEADLINE_S)
        _assert_locks_free(folder)
        if code == 0:
            wholes.append(_assert_each_run_once(folder))
            folder = tmp_path / f"out-{len(wholes)}"
    assert _run_until_event(_start(suite, folder, uuid.uuid4().hex), 0) == 0
    wholes.append(_assert_each_run_once(folder))
    assert all(whole == wholes[0] for whole in wholes)


def test_ctrl_c_ends_everything_and_keeps_what_is_recorded(tmp_path: Path, suite: Path) -> None:
    marker, folder = uuid.uuid4().hex, tmp_path / "out"
    process = _start(suite, folder, marker)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("recorded"):
            process.send_signal(signal.SIGINT)
            break
    process.stdout.read()
    assert process.wait(DEADLINE_S) == 130
    assert_gone(marker, DEADLINE_S)
    _assert_locks_free(folder)
    n_kept = len(journal.read(folder / "journal").entries) - 1
    assert 1 <= n_kept <= N_RUNS

    again = _start(suite, folder, marker)
    output, _ = again.communicate(timeout=DEADLINE_S)
    assert f"began {N_RUNS} {n_kept}" in output
    _assert_each_run_once(folder)


def test_resume_after_the_end_runs_nothing(tmp_path: Path, suite: Path) -> None:
    folder = tmp_path / "out"
    assert _run_until_event(_start(suite, folder, "x"), 0) == 0
    before = (folder / "journal").read_bytes()
    output, _ = _start(suite, folder, "x").communicate(timeout=DEADLINE_S)
    assert f"began {N_RUNS} {N_RUNS}" in output
    assert "event" not in output
    assert (folder / "journal").read_bytes() == before
    assert json.loads((folder / "manifest.json").read_text())["invocations"][1]["resume"]
