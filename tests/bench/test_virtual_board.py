"""Promise: a suite runs end to end on a (virtual) board; and when the board misbehaves, that is one clear line."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import serial
from elftools.elf.elffile import ELFFile

from fqtbench.bench.firmware import load_firmware
from fqtbench.bench.job import Charge, FlashJob
from fqtbench.bench.lock import ProbeLock
from fqtbench.bench.pool import Pool, Task
from fqtbench.board import BoardInstance, load_models
from fqtbench.experiment import journal
from fqtbench.experiment.attempts import load_attempts
from fqtbench.experiment.metrics import show
from fqtbench.experiment.results import load_results
from fqtbench.probe import Probe
from tests.bench.conftest import bench_file, virtual_board
from tests.boards import NAMES
from tests.experiment import suites
from tests.processes import MARKER, marked

DEADLINE_S = 240
REPRODUCIBLE = ("steps.parquet", "evaluations.parquet", "epochs.parquet", "weights.npz")
MODEL = load_models()["nrf52840"]


def _command(suite: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "fqtbench.cli", "run", str(suite), "--out", str(out), *options]


def _run(suite: Path, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        _command(suite, out, *options), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


def _assert_one_line(done: "subprocess.CompletedProcess[str]", code: int, expected: str) -> None:
    """The last line says it all, and no traceback came before it."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("fqtbench: ")
    assert re.search(expected, last), last


def _hashes(out: Path) -> list[dict[str, str]]:
    entries = journal.read(out / "journal").entries[1:]
    return [{name: entry["files"][name] for name in REPRODUCIBLE} for entry in entries]


@pytest.fixture(scope="module")
def board() -> Iterator[dict[str, Any]]:
    """Addresses of a virtual nRF52840: one for all tests that want a board, whatever its flash has."""
    with virtual_board() as addresses:
        yield addresses


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return suites.write(tmp_path, suites.tiny())


def test_a_suite_runs_end_to_end_and_again_to_the_same_bits(tmp_path: Path) -> None:
    """Two runs on one board, and both again in another folder: same cycles, same weights, firmware flashed once."""
    suite = suites.write(tmp_path, suites.tiny(sweep={"seed": [1, 2]}))
    first = _run(suite, tmp_path / "one", "--json")
    assert first.returncode == 0, first.stderr
    summary = json.loads(first.stdout)
    assert [run["label"] for run in summary["runs"]] == ["seed=1", "seed=2"]
    assert Path(summary["report"]).is_file()

    runs = load_results(tmp_path / "one").runs
    assert all(run.description["verified_steps"] == 16 for run in runs)
    assert all(run.metrics["step_s"].origin == "modelled" and run.metrics["step_s"].exact for run in runs)
    assert not any(run.description["perturbed"] for run in runs)
    firmware_bytes = load_firmware(MODEL).flash_bytes
    assert runs[0].description["flash"]["programmed_bytes"] > firmware_bytes
    assert runs[1].description["flash"]["skipped_bytes"] >= firmware_bytes

    again = _run(suite, tmp_path / "two", "--no-report", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["report"] is None
    assert not (tmp_path / "two" / "report.html").exists()
    assert _hashes(tmp_path / "one") == _hashes(tmp_path / "two")


def test_several_boards_at_once_learn_the_same_weights(tmp_path: Path) -> None:
    """One worker each, beside each other; the same training run gives the same bits on every chip."""
    boards = [f"virtual-{name}" for name in NAMES]
    suite = suites.write(tmp_path, suites.tiny(boards=boards))
    done = _run(suite, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    results = load_results(tmp_path / "out")
    assert {run.description["board"]["name"] for run in results.runs} == set(boards)
    assert all(run.description["verified_steps"] == 16 for run in results.runs)
    assert len({names["weights.npz"] for names in _hashes(tmp_path / "out")}) == 1
    assert len({run.metrics["step_s"].value for run in results.runs}) == len(boards)
    started = [line for line in done.stderr.splitlines() if line.endswith(": started")]
    first_end = next(i for i, line in enumerate(done.stderr.splitlines()) if "epoch 2" in line)
    assert len([line for line in done.stderr.splitlines()[:first_end] if line in started]) > 1
    page = (tmp_path / "out" / "report.html").read_text()
    for run in results.runs:
        value = run.metrics["forward_s"]
        assert value.uncertainty is not None
        assert show(value) in page


def test_a_missing_board_stops_no_other_one(tmp_path: Path, suite: Path) -> None:
    """The exit code tells; with a board that is there, --resume does what is left."""
    bench = bench_file(tmp_path, probe="000000001", serial="/dev/null", model="rp2040")
    boards = ("--board", "desk", "--board", "host")
    done = _run(suite, tmp_path / "out", "--bench", str(bench), *boards, "--json")
    _assert_one_line(done, 3, r"board desk: .*000000001.*\(1 of 2 runs are recorded in .*--resume\)")
    assert [run["board"] for run in json.loads(done.stdout)["runs"]] == ["host"]
    assert (tmp_path / "out" / "report.html").is_file()

    boards = ("--board", "virtual-rp2040", "--board", "host")
    done = _run(suite, tmp_path / "out", *boards, "--resume", "--no-report")
    assert done.returncode == 0, done.stderr
    names = [run.description["board"]["name"] for run in load_results(tmp_path / "out").runs]
    assert names == ["virtual-rp2040", "host"]


def test_a_locked_board_stops_no_other_one(tmp_path: Path, suite: Path, board: dict[str, Any]) -> None:
    """Somebody else uses its probe."""
    bench = bench_file(tmp_path, probe=board["probe"], serial=board["serial"], model="nrf52840")
    with ProbeLock(board["probe"], "theirs"):
        boards = ("--board", "desk", "--board", "host")
        done = _run(suite, tmp_path / "out", "--bench", str(bench), *boards, "--no-report")
    _assert_one_line(done, 3, rf"board desk: probe {board['probe']} is in use by .*theirs")
    (run,) = load_results(tmp_path / "out").runs
    assert run.description["board"]["name"] == "host"


def test_a_run_waits_for_a_board_that_is_in_use(tmp_path: Path, suite: Path, board: dict[str, Any]) -> None:
    """It says for whom, and goes on when the probe is free."""
    bench = bench_file(tmp_path, probe=board["probe"], serial=board["serial"], model="nrf52840")
    options = ("--bench", str(bench), "--board", "desk", "--wait", str(DEADLINE_S))
    with ProbeLock(board["probe"], "theirs"):
        process = subprocess.Popen(
            _command(suite, tmp_path / "out", *options), stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        waiting = f"desk: waiting {DEADLINE_S} s for probe {board['probe']}, in use by process {os.getpid()} "
        assert any(line.startswith(waiting) for line in process.stderr)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    assert len(load_results(tmp_path / "out").runs) == 1


def test_ctrl_c_is_one_line_and_leaves_no_process(tmp_path: Path) -> None:
    """A terminal sends it to all processes of the command's group. Of the other commands: tests/reliability."""
    boards = ["virtual-nrf52840", "virtual-rp2040"]
    training = suites.TINY["training"] | {"epochs": 1000}
    suite = suites.write(tmp_path, suites.tiny(boards=boards, training=training))
    marker = uuid.uuid4().hex
    process = subprocess.Popen(
        _command(suite, tmp_path / "out"),
        env=os.environ | {MARKER: marker},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    seen: set[str] = set()
    for line in process.stderr:
        seen |= {board for board in boards if f"on {board}: epoch" in line}
        if len(seen) == len(boards):
            break
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1].startswith("fqtbench: interrupted")
    assert not marked(marker)


def test_no_such_probe(tmp_path: Path, suite: Path) -> None:
    bench = bench_file(tmp_path, probe="000000001", serial="/dev/null")
    _assert_one_line(_run(suite, tmp_path / "out", "--bench", str(bench), "--board", "desk"), 3, "000000001")


def test_a_serial_port_in_use(tmp_path: Path, suite: Path, board: dict[str, Any]) -> None:
    """As whatever else is wrong with a line: nobody answers on it (tests/wire, tests/lab), or it breaks."""
    bench = bench_file(tmp_path, probe=board["probe"], serial=board["serial"])
    with serial.Serial(board["serial"], exclusive=True):
        done = _run(suite, tmp_path / "out", "--bench", str(bench), "--board", "desk")
    _assert_one_line(done, 3, "another program holds the serial port")


def test_a_device_with_another_firmware(tmp_path: Path, suite: Path, board: dict[str, Any]) -> None:
    """The serial line is that of another board, which runs another build."""
    firmware = load_firmware(MODEL)
    elf = tmp_path / "other.elf"
    data = bytearray(firmware.path.read_bytes())
    with firmware.path.open("rb") as file:
        offset = ELFFile(file).get_section_by_name(".build_id")["sh_offset"]
    data[offset] ^= 0xFF
    elf.write_bytes(data)
    with virtual_board() as other:
        instance = BoardInstance(name="other", model="nrf52840", probe=other["probe"], serial=other["serial"])
        with Pool([Charge(instance=instance, model=MODEL)]) as pool:
            pool.run([Task("flash", "nrf52840", FlashJob(elf=elf), DEADLINE_S)], lambda *_: None)
        bench = bench_file(tmp_path, probe=board["probe"], serial=other["serial"])
        done = _run(suite, tmp_path / "out", "--bench", str(bench), "--board", "desk")
    _assert_one_line(done, 3, "has build id .*, the one in its flash ")


def test_a_device_that_resets_in_mid_run_is_tried_again(tmp_path: Path, board: dict[str, Any]) -> None:
    """What failed is on record, with what was done about it, and the run counts as the second attempt."""
    suite = suites.write(tmp_path, suites.tiny(training=suites.TINY["training"] | {"epochs": 20}))
    out = tmp_path / "out"
    bench = bench_file(tmp_path, probe=board["probe"], serial=board["serial"])
    process = subprocess.Popen(
        _command(suite, out, "--bench", str(bench), "--board", "desk"), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert any("epoch 1:" in line for line in process.stderr)
    (worker,) = psutil.Process(process.pid).children()
    worker.suspend()  # so that the reset comes before the run's end, however long it takes
    try:
        with Probe(board["probe"], MODEL.pyocd_target) as probe:
            probe.reset()
    finally:
        worker.resume()
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    (run,) = load_results(out).runs
    assert run.attempts == 2
    failed, rung = load_attempts(out)
    assert (failed.error_class, failed.attempt, failed.rung) == ("DeviceError", 1, "reset")
    assert re.search("reset itself", failed.reason or "")
    assert (rung.rung, rung.error_class) == ("reset", None)
    assert "reset itself" in (out / "report.html").read_text()
