"""Promise: a launched board says where it is, keeps its flash if told to, and leaves nothing when its parent ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fqtbench.virtual.chips.nrf52840.chip import FLASH_BYTES
from fqtbench.virtual.timing import cortex_m4
from tests.virtual.programs import LOOPS, Program

_DEADLINE_S = 30

# For ever, without sleep: b .
_SPIN = Program("end:\n    b end\n", bytes.fromhex("fee7"))


@contextmanager
def _board(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    command = [sys.executable, "-m", "fqtbench.virtual", "nrf52840", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def _flash(path: Path, program: Program) -> Path:
    path.write_bytes(program.flash())
    return path


def test_its_first_line_says_what_it_is_and_where() -> None:
    with _board() as (_, said):
        assert said["model"] == "nrf52840"
        assert said["probe"].startswith("remote:127.0.0.1:")
        assert Path(said["serial"]).is_symlink()
        assert said["timing_model_id"] == cortex_m4.MODEL_ID
        assert (said["power"], said["cycles"]) == ("modelled:", "modelled")
        port = int(said["probe"].rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), _DEADLINE_S).close()


@pytest.mark.parametrize("way", ["stdin", "SIGTERM", "SIGINT"])
@pytest.mark.parametrize("program", [LOOPS, _SPIN], ids=["asleep", "running"])
def test_it_ends_and_leaves_nothing(way: str, program: Program, tmp_path: Path) -> None:
    flash, link = _flash(tmp_path / "flash.bin", program), tmp_path / "uart"
    with _board("--flash", str(flash), "--uart", str(link)) as (process, _):
        assert link.is_symlink()
        if way == "stdin":
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.send_signal(getattr(signal, way))
        assert process.wait(_DEADLINE_S) == 0
    assert not os.path.lexists(link)
    assert flash.read_bytes() == program.flash().ljust(FLASH_BYTES, b"\xff")


def test_statistics_come_at_the_end(tmp_path: Path) -> None:
    with _board("--stats", "--flash", str(_flash(tmp_path / "flash.bin", LOOPS))) as (process, _):
        _, errors = process.communicate(timeout=_DEADLINE_S)
    assert "instructions" in errors
    assert "MIPS" in errors


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "fqtbench.virtual", "nrf52840", "--probe-port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    assert done.returncode != 0
    assert str(port) in done.stderr
    assert "--probe-port" in done.stderr


def test_a_file_in_the_way_of_the_uart_is_spared(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    command = [sys.executable, "-m", "fqtbench.virtual", "nrf52840", "--uart", str(thesis)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    assert done.returncode != 0
    assert "--uart" in done.stderr
    assert thesis.read_text() == "years of work"


def test_the_socket_instead_of_a_pseudo_terminal() -> None:
    with _board("--uart", "tcp") as (_, said):
        assert said["serial"].startswith("socket://127.0.0.1:")
