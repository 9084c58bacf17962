"""The firmware's app and wire, compiled for this machine, with a stand-in engine that records samples."""

import os
import select
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from tests.tools import require

_ROOT: Final = Path(__file__).resolve().parents[2]
_FIRMWARE: Final = _ROOT / "firmware"
_NATIVE: Final = Path(__file__).resolve().parent / "native"
_WARNINGS: Final = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
_INCLUDES: Final = [f"-I{_FIRMWARE / part}" for part in ("engine", "wire", "chips")]
_BUILD_TIMEOUT_S: Final = 120

SAMPLE_BYTES: Final = 300


def _compile(arguments: list[str]) -> None:
    done = subprocess.run(
        [require("cc", "gcc"), "-std=gnu11", "-g", "-O1", *_WARNINGS, *_INCLUDES, f"-I{_NATIVE}", *arguments],
        capture_output=True,
        text=True,
        timeout=_BUILD_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def build_device(folder: Path, *flags: str) -> Path:
    """Build the executable that speaks the wire on its standard input and output."""
    main = folder / "main.o"
    _compile([*flags, "-Dmain=device_main", "-c", str(_FIRMWARE / "app" / "main.c"), "-o", str(main)])
    wire = [str(source) for source in sorted((_FIRMWARE / "wire").glob("*.c"))]
    native = [str(source) for source in sorted(_NATIVE.glob("*.c"))]
    device = folder / "device"
    crc = str(_FIRMWARE / "engine" / "crc32.c")
    _compile([*flags, str(main), *wire, *native, crc, "-o", str(device)])
    return device


def build_library(folder: Path) -> Path:
    """Build the wire's own code as a shared library."""
    sources = [_FIRMWARE / "wire" / "cobs.c", _FIRMWARE / "wire" / "ring.c", _FIRMWARE / "engine" / "crc32.c"]
    library = folder / "libwire.so"
    _compile(["-shared", "-fPIC", *map(str, sources), "-o", str(library)])
    return library


class NativeBoard:
    """A running device and its line; implements `fqtbench.wire.Line`."""

    name = "native board"

    def __init__(
        self,
        executable: Path,
        *,
        seed: int = 1,
        n_slots: int = 2,
        image_status: int = 0,
        image_detail: int = 0,
    ) -> None:
        arguments = map(str, (seed, SAMPLE_BYTES, n_slots, image_status, image_detail))
        self.process = subprocess.Popen(
            [str(executable), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        while data:
            data = data[os.write(self._in, data) :]

    def read(self) -> bytes:
        """Return what is there, waiting 50 ms for the first byte."""
        ready, _, _ = select.select([self._out], [], [], 0.05)
        return os.read(self._out, 4096) if ready else b""

    def drain(self) -> None:
        """Drop what has arrived, so that the device never waits for its output to be read."""
        while select.select([self._out], [], [], 0)[0] and os.read(self._out, 4096):
            pass

    def end(self) -> tuple[int, str]:
        """Close the device's input; return its exit code and what it wrote to standard error."""
        try:
            _, stderr = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, stderr = self.process.communicate()
        return self.process.returncode, stderr.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def crc_chain(samples: Iterable[tuple[bytes, int]]) -> int:
    """Return the checksum of the stand-in engine after it was trained on `samples` in this order, each once."""
    state = 0
    for sample, label in samples:
        state = zlib.crc32(label.to_bytes(2, "little") + sample, state)
    return state
