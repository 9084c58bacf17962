"""Promise: `doctor` tries a board as a run would, passes one that works, and names the remedy of one that doesn't."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import serial

from fqtbench.bench.lock import ProbeLock
from fqtbench.cli_lab import boards, judge
from fqtbench.errors import BoardError, UsageError
from fqtbench.lab.doctor import Diagnosis
from fqtbench.lab.finding import Finding, Severity
from fqtbench.probe import Probe, Segment, elf_segments
from tests.bench.conftest import bench_file, board, virtual_board
from tests.boards import NAMES, PREBUILT
from tests.command import run_command
from tests.monitors import install
from tests.virtual.test_board_probe import NVMC_CONFIG, NVMC_CONFIG_WEN, UICR_APPROTECT

DEADLINE_S = 200
ILL = BoardError.exit_code
CHIP = "nrf52840"
WORN = """
class Opened:
    origin, model_id = "measured", "worn"
    def __init__(self, url, supply): self.url = url
    def stop(self): ...
    def calibration_fault(self):
        return f"meter {self.url.partition(':')[2]} was never calibrated; do so by its maker's program"
"""
__all__ = ["board"]


def _fqtbench(cwd: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_command(*arguments, cwd=cwd, deadline_s=DEADLINE_S)


def _doctor(cwd: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return exit code and what is said of each board; standard error has one line or none."""
    done = _fqtbench(cwd, "doctor", "--json", *arguments)
    assert len(done.stderr.splitlines()) == (1 if done.returncode else 0), done.stderr
    return done.returncode, json.loads(done.stdout)["boards"]


def _only_finding(report: dict[str, Any]) -> dict[str, str]:
    (finding,) = report["desk"]["findings"]
    return dict(finding)


def _flash(board: dict[str, Any]) -> None:
    with Probe(board["probe"], CHIP) as probe:
        probe.flash(elf_segments(PREBUILT / f"{CHIP}.elf"))


@pytest.mark.parametrize("name", NAMES)
def test_a_virtual_board_is_well_from_probe_to_hello(tmp_path: Path, name: str) -> None:
    code, report = _doctor(tmp_path, f"virtual-{name}", "--program", "--strict")
    assert report == {
        f"virtual-{name}": {
            "board": f"virtual-{name}",
            "findings": [],
            "tried": ["monitor", "probe", "port", "line"],
            "well": True,
        }
    }
    assert code == 0


def test_a_chip_without_the_firmware_is_a_note_and_stays_so(tmp_path: Path, board: dict[str, Any]) -> None:
    bench_file(tmp_path, probe=board["probe"], serial=board["serial"])
    for _ in range(2):
        code, report = _doctor(tmp_path, "--strict")
        finding = _only_finding(report)
        assert (code, finding["severity"], finding["check"]) == (0, "note", "firmware")
        assert report["desk"]["tried"] == ["monitor", "probe", "port"]
        assert "`fqtbench doctor desk --program`" in finding["remedy"]
    with Probe(board["probe"], CHIP) as probe:
        assert probe.read_memory(0, 64) == b"\xff" * 64


def test_a_locked_chip_is_found_and_recovered_by_what_is_said(tmp_path: Path, board: dict[str, Any]) -> None:
    bench_file(tmp_path, probe=board["probe"], serial=board["serial"])
    with Probe(board["probe"], CHIP) as probe:
        probe.flash([Segment(0, b"code")])
        probe.write_memory(NVMC_CONFIG, struct.pack("<I", NVMC_CONFIG_WEN))
        probe.write_memory(UICR_APPROTECT, struct.pack("<I", 0xFFFF_FF00))
        probe.reset()
    done = _fqtbench(tmp_path, "doctor", "desk")
    assert done.returncode == ILL
    assert "error: probe and chip of desk: " in done.stdout
    assert "`fqtbench recover desk` unlocks it" in done.stdout
    assert done.stderr.startswith("fqtbench: not well: desk; ")
    flashed = _fqtbench(tmp_path, "flash", "desk")
    assert (flashed.returncode, "locked" in flashed.stderr) == (ILL, True)

    assert _fqtbench(tmp_path, "recover", "desk", "--yes").returncode == 0
    code, report = _doctor(tmp_path)
    assert (code, _only_finding(report)["check"]) == (0, "firmware")


def test_a_line_on_which_nobody_answers(tmp_path: Path, board: dict[str, Any]) -> None:
    """It is another board's."""
    _flash(board)
    with virtual_board() as other:
        bench_file(tmp_path, probe=board["probe"], serial=other["serial"])
        code, report = _doctor(tmp_path)
    finding = _only_finding(report)
    assert (code, finding["check"], report["desk"]["tried"]) == (ILL, "silent", ["monitor", "probe", "port"])
    assert "TX and RX" in finding["remedy"]


def test_a_monitor_that_is_not_calibrated(
    tmp_path: Path, board: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "worn_meter", "worn", WORN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), *sys.path]))
    bench_file(tmp_path, probe=board["probe"], serial=board["serial"], power="worn:7")
    code, report = _doctor(tmp_path, "--program")
    finding = _only_finding(report)
    assert (code, finding["check"], report["desk"]["tried"]) == (
        ILL,
        "calibration",
        ["probe", "port", "line"],
    )
    assert finding["wrong"] == "meter 7 was never calibrated"
    assert finding["remedy"] == "do so by its maker's program"


def test_a_line_that_somebody_holds(tmp_path: Path, board: dict[str, Any]) -> None:
    bench_file(tmp_path, probe=board["probe"], serial=board["serial"])
    with serial.Serial(board["serial"], exclusive=True):
        code, report = _doctor(tmp_path)
    finding = _only_finding(report)
    assert (code, finding["check"], report["desk"]["tried"]) == (ILL, "port", ["monitor", "probe"])
    assert "another program holds the serial port" in finding["wrong"]


def test_a_probe_that_somebody_holds_is_busy_and_left_alone(tmp_path: Path, board: dict[str, Any]) -> None:
    bench_file(tmp_path, probe=board["probe"], serial=board["serial"])
    with ProbeLock(board["probe"], "theirs"):
        code, report = _doctor(tmp_path)
        listed = json.loads(_fqtbench(tmp_path, "boards", "--json").stdout)
    finding = _only_finding(report)
    assert (code, finding["check"], report["desk"]["tried"]) == (ILL, "probe-busy", [])
    assert "(board theirs)" in finding["wrong"]
    assert listed["boards"]["desk"]["status"]["state"] == "busy"
    listed = json.loads(_fqtbench(tmp_path, "boards", "--json").stdout)
    assert listed["boards"]["desk"]["status"] == {"state": "remote", "detail": ""}


def test_a_command_that_does_not_launch_is_an_error_of_its_board(tmp_path: Path) -> None:
    path = bench_file(tmp_path)
    path.write_text(path.read_text() + '\nlaunch = ["/nonexistent/lab-wrapper"]\n')
    code, report = _doctor(tmp_path)
    assert (code, _only_finding(report)["check"]) == (ILL, "attach")


def test_warnings_count_only_if_strict() -> None:
    """No warning can be had of a virtual board."""
    warning = Diagnosis("desk", (Finding("x", Severity.WARNING, "it", "is slow", "hurry"),), ())
    judge([warning], (), strict=False)
    with pytest.raises(BoardError, match="not well: desk"):
        judge([warning], (), strict=True)


def test_suggest_writes_a_file_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.toml"

    def suggest(to: Path | None, force: bool = False) -> None:
        boards(suggested=True, out=to, force=force, bench=None, as_json=False)

    suggest(None)
    printed = capsys.readouterr().out
    suggest(out)
    assert out.read_text() == printed
    out.write_text("# mine\n")
    with pytest.raises(UsageError, match=r"is there already; .*--force"):
        suggest(out)
    assert out.read_text() == "# mine\n"
    suggest(out, force=True)
    assert out.read_text() == printed
