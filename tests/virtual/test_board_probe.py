"""A launched virtual board under pyOCD and gdb: real flash algorithm, real core, real processes."""

import json
import random
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fqtbench.errors import ProbeError
from fqtbench.probe import Probe, Segment

CHIP = "nrf52840"
DEADLINE_S = 30
RAM = 0x2000_0000
NVMC_CONFIG = 0x4001_E504  # nRF52840 PS v1.7, 4.3.9
NVMC_CONFIG_WEN = 1
UICR_APPROTECT = 0x1000_1208

# main: r0 = 1; do { r0 = triple(r0); counter (RAM + 0) += 1 } for ever. triple: r0 = 3 * r0 + 1.
TRIPLE = 0x100
MAIN = 0x108
PROGRAM = [
    Segment(0, struct.pack("<2I", RAM + 0x4_0000, MAIN | 1)),
    Segment(TRIPLE, struct.pack("<4H", 0xEB00, 0x0040, 0x3001, 0x4770)),  # add.w r0,r0,r0,lsl#1; adds; bx lr
    Segment(
        MAIN,
        struct.pack(
            "<8HI",
            *(0x2001, 0x4A03, 0xF7FF, 0xFFF8),  # movs r0,#1; ldr r2,=RAM; bl triple
            *(0x6813, 0x3301, 0x6013),  # ldr r3,[r2]; adds r3,#1; str r3,[r2]
            0xE7F9,  # b to the bl
            RAM,
        ),
    ),
]


@pytest.fixture
def board() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "fqtbench.virtual", CHIP]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def probe_id(board: subprocess.Popen[str]) -> str:
    assert board.stdout is not None
    return str(json.loads(board.stdout.readline())["probe"])


def test_pyocds_flash_algorithm_programs_and_verifies_200_kb(probe_id: str) -> None:
    content = random.Random(1).randbytes(200 * 1024)
    with Probe(probe_id, CHIP) as probe:
        assert probe.flash([Segment(0x4_0000, content)]).programmed_bytes == len(content)
        assert probe.read_memory(0x4_0000, len(content)) == content
        assert probe.flash([Segment(0x4_0000, content)]).programmed_bytes == 0


def test_a_flashed_program_runs_and_stops(probe_id: str) -> None:
    with Probe(probe_id, CHIP) as probe:
        probe.flash(PROGRAM)
        probe.write_memory(RAM, bytes(4))
        probe.reset()
        probe.halt()
        first = probe.read_memory(RAM, 4)
        assert probe.read_memory(RAM, 4) == first
        probe.resume()
        while probe.read_memory(RAM, 4) == first:  # ends by the suite's own time-out
            pass
        probe.reset_and_halt()


def test_a_locked_chip_is_refused_until_it_is_recovered(probe_id: str) -> None:
    with Probe(probe_id, CHIP) as probe:
        probe.flash([Segment(0, b"code")])
        probe.write_memory(NVMC_CONFIG, struct.pack("<I", NVMC_CONFIG_WEN))
        probe.write_memory(UICR_APPROTECT, struct.pack("<I", 0xFFFF_FF00))
        probe.reset()
    with pytest.raises(ProbeError, match="locked"):
        Probe(probe_id, CHIP).open()
    Probe(probe_id, CHIP).recover()
    with Probe(probe_id, CHIP) as probe:
        assert probe.read_memory(0, 4) == b"\xff" * 4


def test_a_killed_board_fails_the_next_call(board: subprocess.Popen[str], probe_id: str) -> None:
    with Probe(probe_id, CHIP) as probe:
        board.send_signal(signal.SIGKILL)
        board.wait(DEADLINE_S)
        with pytest.raises(ProbeError, match="lost"):
            probe.read_memory(RAM, 4)


def test_stepping_a_core_that_has_been_running(probe_id: str) -> None:
    """One instruction per step, also through code that has run at full speed before."""
    with Probe(probe_id, CHIP) as probe:
        probe.flash(PROGRAM)
        probe.reset()
    commander = [sys.executable, "-m", "pyocd", "cmd", "-u", probe_id, "-t", CHIP]
    lines = ("halt", f"wreg pc {MAIN:#x}", "step", "step", "step", "reg pc", "reg r0")
    script = [part for line in lines for part in ("-c", line)]
    done = subprocess.run(
        [*commander, *script], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert f"pc = {TRIPLE:#010x}" in done.stdout, done.stdout + done.stderr
    assert "r0 = 0x00000001" in done.stdout


@pytest.mark.skipif(shutil.which("gdb-multiarch") is None, reason="needs gdb-multiarch")
def test_gdb_breaks_steps_and_reads_through_stock_pyocd(probe_id: str) -> None:
    with Probe(probe_id, CHIP) as probe:
        probe.flash(PROGRAM)
        probe.reset()
    server = [sys.executable, "-m", "pyocd", "gdbserver", "-u", probe_id, "-t", CHIP, "-p", "0", "-T", "0"]
    with subprocess.Popen(server, stderr=subprocess.PIPE, text=True) as pyocd:
        try:
            assert pyocd.stderr is not None
            port = next(
                line.split("listening on port")[1].split()[0]
                for line in pyocd.stderr
                if "GDB server listening on port" in line
            )
            commands = [
                "set pagination off",
                "set architecture armv7e-m",
                f"target remote localhost:{port}",
                "stepi",
                "monitor reset halt",
                "maint flush register-cache",
                'printf "reset to %#x\\n", $pc',
                f"hbreak *{TRIPLE:#x}",
                "continue",
                'printf "first %d\\n", $r0',
                "continue",
                'printf "second %d at %#x\\n", $r0, $pc',
                "stepi",
                'printf "stepped %d to %#x\\n", $r0, $pc',
                "x/2xw 0",
                "set $r0 = 5",
                "delete",
                "stepi",
                'printf "set and stepped %d\\n", $r0',
                "detach",
            ]
            gdb = ["gdb-multiarch", "-q", "-nx", "-batch", *(part for c in commands for part in ("-ex", c))]
            done = subprocess.run(gdb, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        finally:
            pyocd.kill()
    for expected in (
        "reset to 0x108\n",
        "first 1\n",
        "second 4 at 0x100\n",
        "stepped 12 to 0x104\n",
        "0x20040000\t0x00000109",
        "set and stepped 6\n",
    ):
        assert expected in done.stdout, done.stdout + done.stderr


def test_stock_pyocd_flashes_resets_and_reads(probe_id: str, tmp_path: Path) -> None:
    content = random.Random(2).randbytes(8192)
    image = tmp_path / "content.bin"
    image.write_bytes(content)
    port = probe_id.rpartition(":")[2]
    where = ["-u", f"remote:localhost:{port}", "-t", CHIP]

    def pyocd(*arguments: str) -> str:
        command = [sys.executable, "-m", "pyocd", *arguments]
        done = subprocess.run(command, timeout=DEADLINE_S, capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    pyocd("flash", *where, str(image), "--base-address", "0x40000")
    pyocd("reset", *where)
    words = pyocd("cmd", *where, "-c", "read32 0x40000 16")
    assert f"{int.from_bytes(content[:4], 'little'):08x}" in words


def test_a_board_ends_at_once_when_its_input_closes_even_while_the_core_runs(
    board: subprocess.Popen[str], probe_id: str
) -> None:
    with Probe(probe_id, CHIP) as probe:
        probe.flash(PROGRAM)
        probe.reset()
    assert board.stdin is not None
    board.stdin.close()
    assert board.wait(DEADLINE_S) == 0
