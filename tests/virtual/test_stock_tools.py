"""Promise: stock pyOCD and gdb work against every virtual board: flash, reset, memory, breakpoints, steps, traces."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from elftools.elf.elffile import ELFFile

from fqtbench.board import BoardModel
from tests.boards import PREBUILT, VIRTUAL, launched, manifest
from tests.tools import require

DEADLINE_S = 60

pytest.importorskip("unicorn")
pytestmark = pytest.mark.timeout(240)


class Flashed:
    """A virtual board with the firmware that `pyocd flash` has programmed."""

    def __init__(self, model: BoardModel, probe_id: str) -> None:
        self.model = model
        self.elf = PREBUILT / f"{model.firmware}.elf"
        self.where = ("-u", probe_id, "-t", model.pyocd_target)
        with self.elf.open("rb") as file:
            table = ELFFile(file).get_section_by_name(".symtab")
            assert table is not None
            self.symbols = {symbol.name: int(symbol["st_value"]) for symbol in table.iter_symbols()}
        self.pyocd("flash", *self.where, str(self.elf))

    def pyocd(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "pyocd", *arguments]
        done = subprocess.run(command, timeout=DEADLINE_S, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def commands(self, *lines: str) -> str:
        return self.pyocd("cmd", *self.where, *(part for line in lines for part in ("-c", line)))


@pytest.fixture(scope="module", params=VIRTUAL, ids=lambda model: model.name)
def board(request: pytest.FixtureRequest) -> Iterator[Flashed]:
    with launched(request.param) as said:
        yield Flashed(request.param, said["probe"])


def test_what_pyocd_flashes_it_reads_back(board: Flashed) -> None:
    at = board.symbols["__build_id"]
    words = board.commands(f"read8 {at:#x} 8")
    found = re.search(rf"{at:08x}:\s+((?:[0-9a-f]{{2}}\s+){{8}})", words)
    assert found, words
    assert found[1].replace(" ", "").strip() == manifest(board.model)["build_id"]


def test_pyocd_resets_halts_and_steps(board: Flashed) -> None:
    main = board.symbols["main"] & ~1
    said = board.commands("reset halt", f"wreg pc {main:#x}", "step", "reg pc")
    stepped = re.search(r"pc = (0x[0-9a-f]+)", said)
    assert stepped and 0 < int(stepped[1], 16) - main <= 4, said


def test_gdb_breaks_steps_reads_and_traces_back(board: Flashed) -> None:
    server = [sys.executable, "-m", "pyocd", "gdbserver", *board.where, "-p", "0", "-T", "0"]
    with subprocess.Popen(server, stderr=subprocess.PIPE, text=True) as pyocd:
        try:
            assert pyocd.stderr is not None
            port = next(
                line.split("listening on port")[1].split()[0]
                for line in pyocd.stderr
                if "GDB server listening on port" in line
            )
            said = _gdb(board, port)
        finally:
            pyocd.kill()
    poll = board.symbols["link_poll"] & ~1
    assert f"stopped at {poll:#x}\n" in said, said
    trace = said.partition("trace:")[2].partition("end of trace")[0]
    assert re.search(r"#0 .*link_poll.*\n#1 .*main", trace), said
    stepped = re.search(r"stepped to (0x[0-9a-f]+)\n", said)
    assert stepped and 0 < int(stepped[1], 16) - poll <= 4, said
    assert f"build {manifest(board.model)['build_id']}\n" in said, said


def _gdb(board: Flashed, port: str) -> str:
    bytes_of = ", ".join(f"((unsigned char*){board.symbols['__build_id']:#x})[{i}]" for i in range(8))
    commands = [
        "set pagination off",
        "set osabi none",  # gdb-multiarch takes it for a Linux program, whose backtraces end below 0x8000
        f"target remote localhost:{port}",
        f"set $pc = {board.symbols['main'] & ~1:#x}",  # again: a reset would copy code over a breakpoint in RAM
        "break *link_poll",
        "continue",
        'printf "stopped at %#x\\n", $pc',
        'printf "trace:\\n"',
        "backtrace",
        'printf "end of trace\\n"',
        f'printf "build %02x%02x%02x%02x%02x%02x%02x%02x\\n", {bytes_of}',
        "stepi",
        'printf "stepped to %#x\\n", $pc',
        "delete",
        "detach",
    ]
    options = [part for command in commands for part in ("-ex", command)]
    command = [require("gdb-multiarch", "gdb-multiarch"), "-q", "-nx", "-batch", *options, str(board.elf)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    return done.stdout + done.stderr
