"""Promise: `--board host` trains the same weights as a board, without latency or energy, or says what it lacks."""

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fqtbench.errors import BoardError
from fqtbench.experiment.results import load_results
from fqtbench.host import LibraryDevice, build_library
from tests.experiment import suites
from tests.tools import require

_DEADLINE_S = 240
_COSTS = {"step_s", "forward_s", "step_j", "inference_j", "flash_bytes", "stack_bytes"}


def _run(suite: Path, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fqtbench.cli", "run", str(suite), "--out", str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)


@pytest.mark.parametrize(
    "training",
    [{"batch": 8}, {"batch": 1, "learning_rate": 0.01}, {"batch": 8, "configuration": "float32", "recipe": "paper"}],
    ids=["mini-batch", "batch 1", "float32"],
)  # fmt: skip
def test_the_host_trains_the_weights_of_the_virtual_board(tmp_path: Path, training: dict[str, Any]) -> None:
    """Loss of each sample, and the checksum after each epoch; the first steps are the reference's, too."""
    require("cc", "gcc")
    tables = []
    for board in ("host", "virtual-nrf52840"):
        suite = suites.write(tmp_path, suites.tiny(training={"epochs": 2, **training}))
        done = _run(suite, tmp_path / board, "--board", board, "--json")
        assert done.returncode == 0, done.stderr
        assert Path(json.loads(done.stdout)["report"]).is_file()
        tables.append(load_results(tmp_path / board).runs[0])
    host, chip = tables
    assert host.description["verified_steps"] == chip.description["verified_steps"] > 0
    assert host.epochs.checksum.tolist() == chip.epochs.checksum.tolist()
    assert host.steps.loss.tolist() == chip.steps.loss.tolist()
    assert not _COSTS & host.metrics.keys()
    assert chip.metrics.keys() >= _COSTS
    assert host.metrics["arena_bytes"].value == chip.metrics["arena_bytes"].value


def test_a_recorded_run_is_not_repeated(tmp_path: Path) -> None:
    require("cc", "gcc")
    suite = suites.write(tmp_path, suites.tiny())
    assert _run(suite, tmp_path / "out", "--board", "host").returncode == 0
    again = _run(suite, tmp_path / "out", "--board", "host", "--resume")
    assert again.returncode == 0
    assert "1 of 1 runs are recorded already" in again.stderr
    assert len(load_results(tmp_path / "out").runs) == 1


def test_without_a_compiler_the_message_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BoardError, match=r"no C compiler \(cc, gcc, clang\).*--board virtual-nrf52840"):
        build_library(folder=tmp_path)


def test_a_compiler_that_fails_is_one_line(tmp_path: Path) -> None:
    require("cc", "gcc")
    with pytest.raises(BoardError, match="failed to build the training engine: "):
        build_library(("-DIMAGE_VERSION=not-a-number",), tmp_path)
    assert not list(tmp_path.iterdir())


def _build(folder: Path) -> None:
    build_library(folder=folder)


def test_processes_may_build_at_once(tmp_path: Path) -> None:
    """One file remains, and it works."""
    require("cc", "gcc")
    builders = [multiprocessing.Process(target=_build, args=(tmp_path,)) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(_DEADLINE_S)
    assert [builder.exitcode for builder in builders] == [0, 0, 0]
    (library,) = tmp_path.iterdir()
    with pytest.raises(Exception, match="no model image"):
        LibraryDevice(library, bytes(4096), 1 << 16)
