"""Promise: `--board host` trains the same weights as a board, without latency or energy, or says what it lacks."""

import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from fqtbench.board import load_models
from fqtbench.errors import BoardError, DeviceError
from fqtbench.experiment.plan import plan_runs
from fqtbench.experiment.results import load_results
from fqtbench.experiment.spec import load_suite
from fqtbench.host import LibraryDevice, build_library
from fqtbench.paths import share
from tests.experiment import suites
from tests.tools import require

_DEADLINE_S = 240
_QUICKLY = ("-O0",)  # takes less time, where only that it is built matters
_COSTS = {"step_s", "forward_s", "step_j", "inference_j", "flash_bytes", "stack_bytes"}


def _run(
    suite: Path, out: Path, *options: str, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fqtbench.cli", "run", str(suite), "--out", str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False, env=env)


_QUICKSTART = yaml.safe_load((share("experiments") / "quickstart.yaml").read_text())["network"]


@pytest.mark.parametrize(
    "change",
    [
        {"network": _QUICKSTART},
        {"training": {"epochs": 2, "batch": 1, "learning_rate": 0.01}},
        {"training": {"epochs": 2, "batch": 8, "configuration": "float32", "recipe": "paper"}},
    ],
    ids=["quickstart", "batch 1", "float32"],
)
def test_the_host_trains_the_weights_of_the_virtual_board(tmp_path: Path, change: dict[str, Any]) -> None:
    """Loss of each sample, and the checksum after each epoch; the first steps are the reference's, too.

    Both are runs of one suite: they have different ids, and the report has room for what only one of them knows.
    """
    require("cc", "gcc")
    suite = suites.write(tmp_path, suites.tiny(**change))
    done = _run(suite, tmp_path / "out", "--board", "host", "--board", "virtual-nrf52840", "--json")
    assert done.returncode == 0, done.stderr
    host, chip = load_results(tmp_path / "out").runs
    assert host.description["run_id"] != chip.description["run_id"]
    assert host.description["verified_steps"] == chip.description["verified_steps"] > 0
    assert host.epochs.checksum.tolist() == chip.epochs.checksum.tolist()
    assert host.steps.loss.tolist() == chip.steps.loss.tolist()
    assert not _COSTS & host.metrics.keys()
    assert chip.metrics.keys() >= _COSTS
    assert host.metrics["arena_bytes"].value == chip.metrics["arena_bytes"].value
    table = pd.read_csv(tmp_path / "out" / "summary.csv").set_index("model")
    assert table.step_s.isna().to_dict() == {"host": True, "nrf52840": False}
    figures = {path.stem for path in (tmp_path / "out" / "figures").glob("*.svg")}
    assert figures >= {"accuracy", "loss", "latency", "memory", "trade_off_energy", "trade_off_latency"}


def test_what_a_host_has_not_is_absent_everywhere(tmp_path: Path) -> None:
    require("cc", "gcc")
    done = _run(suites.write(tmp_path, suites.tiny()), tmp_path / "out", "--board", "host")
    assert done.returncode == 0, done.stderr
    (run,) = load_results(tmp_path / "out").runs
    for table in (run.steps, run.evaluations, run.epochs):
        assert not [name for name in table.columns if "cycles" in name or "energy" in name]
    assert run.description["status"].keys() == {
        "arena_bytes",
        "arena_peak_bytes",
        "perturbed",
        "retransmissions",
    }
    assert run.description["board"] == {"name": "host"}
    assert run.description["firmware"]["sha256"] == build_library().source_id
    header = (tmp_path / "out" / "summary.csv").read_text().splitlines()[0]
    assert not [name for name in ("step_s", "step_j", "flash_bytes", "stack_bytes") if name in header]
    assert {path.stem for path in (tmp_path / "out" / "figures").glob("*.svg")} == {"accuracy", "loss"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "not counted" in page
    assert "trained on host" in page
    assert "Energy per step" not in page


def test_several_hosts_of_a_bench_file_share_a_suite(tmp_path: Path) -> None:
    require("cc", "gcc")
    bench = tmp_path / "bench.toml"
    bench.write_text('[[board]]\nname = "host-2"\nmodel = "host"\n')
    suite = suites.write(tmp_path, suites.tiny(sweep={"seed": [1, 2]}))
    boards = ("--bench", str(bench), "--board", "host", "--board", "host-2")
    done = _run(suite, tmp_path / "out", *boards, "--no-report")
    assert done.returncode == 0, done.stderr
    runs = load_results(tmp_path / "out").runs
    assert {run.description["board"]["name"] for run in runs} == {"host", "host-2"}


def test_a_recorded_run_is_not_repeated(tmp_path: Path) -> None:
    require("cc", "gcc")
    suite = suites.write(tmp_path, suites.tiny())
    options = ("--board", "host", "--no-report")
    assert _run(suite, tmp_path / "out", *options).returncode == 0
    again = _run(suite, tmp_path / "out", *options, "--resume")
    assert again.returncode == 0
    assert "1 of 1 runs are recorded already" in again.stderr
    assert len(load_results(tmp_path / "out").runs) == 1


def test_without_a_compiler_the_message_says_how_to_go_on(tmp_path: Path) -> None:
    suite = suites.write(tmp_path, suites.tiny())
    environment = {name: value for name, value in os.environ.items() if name != "CC"} | {
        "PATH": str(tmp_path)
    }
    done = _run(suite, tmp_path / "out", "--board", "host", env=environment)
    assert done.returncode == 3
    (line,) = done.stderr.strip().splitlines()
    assert re.search(r"no C compiler \(cc, gcc, clang\).*Debian: gcc.*--board virtual-nrf52840", line)


def test_cc_may_have_arguments_and_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = require("cc", "gcc")
    monkeypatch.setenv("CC", f"{compiler} -DUNUSED=1")
    assert build_library(_QUICKLY, tmp_path).path.parent == tmp_path
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(BoardError, match=r"no C compiler \(CC=no-such-compiler\)"):
        build_library(folder=tmp_path)


def test_a_compiler_that_fails_is_one_line(tmp_path: Path) -> None:
    require("cc", "gcc")
    with pytest.raises(BoardError, match=r"failed, building the training engine: .*error") as caught:
        build_library((*_QUICKLY, "-DIMAGE_VERSION=not-a-number", "-Werror"), tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cant_be_written_is_named(tmp_path: Path) -> None:
    require("cc", "gcc")
    occupied = tmp_path / "occupied"
    occupied.write_text("a file, no folder")
    with pytest.raises(BoardError, match=f"can't be kept in {occupied}.*XDG_CACHE_HOME"):
        build_library(folder=occupied)


def test_a_library_of_another_kind_of_machine_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "fqt.so"
    broken.write_bytes(b"no ELF")
    with pytest.raises(DeviceError, match=f"delete {broken}"):
        LibraryDevice(broken, bytes(4096), 1 << 16)


def test_samples_that_dont_fit_the_network_never_reach_the_engine(tmp_path: Path) -> None:
    require("cc", "gcc")
    (run,) = plan_runs(load_suite(suites.write(tmp_path, suites.tiny())), [load_models()["host"]])
    device = LibraryDevice(run.firmware.path, run.compiled.image, 1 << 20)
    sample = bytes(28 * 28)
    with pytest.raises(DeviceError, match="label 10 is not a class"):
        next(device.train([(sample, 10)]))
    with pytest.raises(DeviceError, match="takes samples of 784 bytes, this one has 783"):
        next(device.evaluate([(sample[1:], 0)]))
    assert device.checksum().steps == 0


@pytest.mark.parametrize("action", ["flash", "reset", "recover"])
def test_a_host_has_nothing_to_flash_reset_or_recover(action: str) -> None:
    require("cc", "gcc")
    command = [
        sys.executable,
        "-m",
        "fqtbench.cli",
        action,
        "host",
        *(["--yes"] if action == "recover" else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    assert done.returncode == 2
    assert re.search(r"fqtbench: board host: there is n\w+", done.stderr)


def _build(folder: Path) -> None:
    build_library(_QUICKLY, folder)


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
    with pytest.raises(DeviceError, match="no model image"):
        LibraryDevice(library, bytes(4096), 1 << 16)
