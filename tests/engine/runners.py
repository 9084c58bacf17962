"""The engine's test runner on several targets: this machine under sanitizers, and two Cortex-M under QEMU.

The file of cases: for each case four uint32 (image bytes, arena bytes, sample bytes, samples), the image, then for each
sample its label (uint32) and its bytes. The file of results: for each case status and detail (uint32), and where status
is 0 for each sample loss (float32), prediction, checksum and a weighted sum of the structures updated (uint32).
"""

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.tools import require

_FIRMWARE: Final = Path(__file__).resolve().parents[2] / "firmware"
_RUNNER: Final = Path(__file__).with_name("runner")
_BUILD_DEADLINE_S: Final = 180
_RUN_DEADLINE_S: Final = 600
DOES_NOT_FIT: Final = 0xFFFF
_WARNINGS: Final = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror")
_FLOATS: Final = ("-std=c11", "-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing")


class Steps(NamedTuple):
    """What a target gave for one case; a row a sample: loss bits, prediction, checksum, structures."""

    status: int
    detail: int
    rows: NDArray[np.uint32]


@dataclass(frozen=True)
class Job:
    """One case: a model image, and samples with their labels."""

    image: bytes
    arena_bytes: int
    samples: tuple[tuple[bytes, int], ...]

    def encode(self) -> bytes:
        """Return it as the runner reads it."""
        size = len(self.samples[0][0])
        parts = [struct.pack("<4I", len(self.image), self.arena_bytes, size, len(self.samples)), self.image]
        for sample, label in self.samples:
            parts += [struct.pack("<I", label), sample]
        return b"".join(parts)


def decode(data: bytes, jobs: Sequence[Job]) -> list[Steps]:
    """Parse a file of results; what is missing at its end is an error."""
    found, at = [], 0
    for job in jobs:
        status, detail = struct.unpack_from("<2I", data, at)
        at += 8
        n = 4 * len(job.samples) if status == 0 else 0
        found.append(Steps(status, detail, np.frombuffer(data, "<u4", n, at).reshape(-1, 4)))
        at += 4 * n
    assert at == len(data)
    return found


def _engine_sources() -> list[str]:
    engine = _FIRMWARE / "engine"
    return [str(path) for path in (*sorted(engine.glob("*.c")), *sorted((engine / "kernels").glob("*.c")))]


def _build(compiler: str, output: Path, *arguments: str) -> None:
    command = [
        *(compiler, *_FLOATS, *_WARNINGS, f"-I{_FIRMWARE / 'engine'}", f"-I{_RUNNER}"),
        *(str(_RUNNER / "runner.c"), *_engine_sources(), *arguments, "-o", str(output)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr


class Sanitized:
    """The runner on this machine, under AddressSanitizer and UndefinedBehaviorSanitizer."""

    def __init__(self, folder: Path) -> None:
        self._program = folder / "runner"
        sanitizers = (
            "-fsanitize=address,undefined,float-cast-overflow",
            "-fno-sanitize-recover=all",
            "-g",
            "-O1",
        )
        native = str(_RUNNER / "native.c")
        _build(require("cc", "gcc"), self._program, *sanitizers, native, "-lm")

    def run(self, jobs: Sequence[Job]) -> list[Steps]:
        """Run the cases; a finding of a sanitizer ends the program and fails the test with what it said."""
        cases = b"".join(job.encode() for job in jobs)
        done = subprocess.run(
            [self._program], input=cases, capture_output=True, timeout=_RUN_DEADLINE_S, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return decode(done.stdout, jobs)


@dataclass(frozen=True)
class Machine:
    """A machine of QEMU's; sizes in bytes."""

    name: str
    cpu_flags: tuple[str, ...]
    code_bytes: int
    ram_bytes: int
    image_bytes: int
    arena_bytes: int
    sample_bytes: int


# An AN386 image for the MPS2: a Cortex-M4 with FPU, 4 MB of ZBT RAM at each of 0 and 0x2000_0000 (Arm DAI 0386).
CORTEX_M4: Final = Machine(
    "mps2-an386",
    ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    1 << 22,
    1 << 22,
    1 << 19,
    1 << 20,
    1 << 14,
)
# A micro:bit: nRF51822 with a Cortex-M0, 256 KB of flash, 16 KB of RAM (nRF51822 PS v3.1).
CORTEX_M0: Final = Machine(
    "microbit", ("-mcpu=cortex-m0", "-mthumb", "-mfloat-abi=soft"), 1 << 18, 1 << 14, 6000, 6600, 512
)


class Emulated:
    """The runner under QEMU."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, self._folder = machine, folder
        self._qemu = require("qemu-system-arm", "qemu-system-arm")
        self.elf = folder / f"{machine.name}.elf"
        _build(
            require("arm-none-eabi-gcc", "gcc-arm-none-eabi"),
            self.elf,
            *machine.cpu_flags,
            "-O3",
            "-ffunction-sections",
            "-nostartfiles",
            "--specs=nano.specs",
            f"-DIMAGE_BYTES={machine.image_bytes}",
            f"-DARENA_BYTES={machine.arena_bytes}",
            f"-DSAMPLE_BYTES={machine.sample_bytes}",
            str(_RUNNER / "bare.c"),
            f"-Wl,--defsym=CODE_BYTES={machine.code_bytes},--defsym=RAM_BYTES={machine.ram_bytes},--gc-sections",
            f"-T{_RUNNER / 'runner.ld'}",
            "-lm",
        )

    def run(self, jobs: Sequence[Job]) -> list[Steps]:
        """Run the cases; those too large for the machine come back with status DOES_NOT_FIT."""
        (self._folder / "cases.bin").write_bytes(b"".join(job.encode() for job in jobs))
        results = self._folder / "results.bin"
        results.unlink(missing_ok=True)
        command = [
            *(self._qemu, "-M", self.machine.name, "-kernel", str(self.elf), "-nographic"),
            *("-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"),
        ]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, timeout=_RUN_DEADLINE_S, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return decode(results.read_bytes(), jobs)
