"""The engine's kernels compiled from today's sources: for a virtual core, and for this machine."""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from fqtbench.kernels.call import Call, Result, lay_out, read_back
from fqtbench.kernels.rig import OnCore
from tests.builds import built_once, copy_firmware
from tests.tools import require

_FIRMWARE: Final = Path(__file__).resolve().parents[2] / "firmware"
_KERNELS: Final = _FIRMWARE / "engine" / "kernels"
_FLAGS: Final = (
    *("-std=c11", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing"),
    *("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror"),
)  # firmware/flags.mk
_ONLY_WHAT_RUN_CALLS: Final = ("-ffunction-sections", "-fvisibility=hidden", "-Wl,--gc-sections")
_DEADLINE_S: Final = 240


def built_for(factory: pytest.TempPathFactory, core: str) -> Path:
    """Return the ELF of `core`, its manifest beside it, built from a copy of the sources as `make firmware` does."""
    require("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    make = require("make", "make")

    def build(folder: Path) -> None:
        copy = copy_firmware(folder / "somewhere else" / "firmware")
        place = [f"BUILD={folder / 'build'}", f"OUT={folder}", f"PYTHON={sys.executable}"]
        command = [make, "-s", "-C", str(copy), "-f", "bench/kernels.mk", f"CORE={core}", *place]
        subprocess.run(command, check=True, timeout=_DEADLINE_S)

    return built_once(factory, f"kernels-{core}", build) / f"kernels-{core}.elf"


def on_core(factory: pytest.TempPathFactory, core: str) -> OnCore:
    """Return today's kernels on a virtual core."""
    return OnCore(built_for(factory, core), core)


def on_host(factory: pytest.TempPathFactory, *extra_flags: str) -> Callable[[Call], Result]:
    """Return the portable variants of today's kernels, compiled for this machine."""
    compiler = require("cc", "gcc")

    def build(folder: Path) -> None:
        _build_for_host(folder / "kernels.so", compiler, extra_flags)

    library = built_once(factory, "-".join(("kernels-host", *extra_flags)), build) / "kernels.so"
    entry = ctypes.CDLL(str(library)).run

    def run(call: Call) -> Result:
        memory = lay_out(call)
        words = np.zeros(len(memory) // 8 + 1, np.uint64).view(np.uint8)
        words[: len(memory)] = memory
        entry(ctypes.c_void_p(words.ctypes.data))
        return read_back(call, words[: len(memory)].tobytes())

    return run


def _build_for_host(library: Path, compiler: str, extra_flags: tuple[str, ...]) -> None:
    sources = [_FIRMWARE / "bench" / "kernel_driver.c", *sorted(_KERNELS.glob("*.c"))]
    command = [compiler, *_FLAGS, *_ONLY_WHAT_RUN_CALLS, *extra_flags, "-shared", "-fPIC"]
    command += [f"-I{_KERNELS}", "-o", str(library), *map(str, sources)]
    subprocess.run(command, check=True, timeout=_DEADLINE_S)
