"""The engine's kernels compiled from today's sources: for a virtual core, and for this machine."""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from fqtbench.kernels.call import Call, Result, lay_out, read_back
from fqtbench.kernels.rig import OnCore

_FIRMWARE: Final = Path(__file__).resolve().parents[2] / "firmware"
_KERNELS: Final = _FIRMWARE / "engine" / "kernels"
_FLAGS: Final = (
    *("-std=c11", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing"),
    *("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror"),
)  # firmware/flags.mk
_ONLY_WHAT_RUN_CALLS: Final = ("-ffunction-sections", "-fvisibility=hidden", "-Wl,--gc-sections")
_DEADLINE_S: Final = 240


def on_core(folder: Path, core: str) -> OnCore:
    """Build the ELF of `core` into `folder`, as `make firmware` does."""
    place = [f"BUILD={folder / core}", f"OUT={folder}", f"PYTHON={sys.executable}"]
    command = ["make", "-s", "-C", str(_FIRMWARE), "-f", "bench/kernels.mk", f"CORE={core}", *place]
    subprocess.run(command, check=True, timeout=_DEADLINE_S)
    return OnCore(folder / f"kernels-{core}.elf", core)


def on_host(folder: Path, compiler: str, *extra_flags: str) -> Callable[[Call], Result]:
    """Build the portable variants for this machine."""
    library = folder / "kernels.so"
    sources = [_FIRMWARE / "bench" / "kernel_driver.c", *sorted(_KERNELS.glob("*.c"))]
    command = [compiler, *_FLAGS, *_ONLY_WHAT_RUN_CALLS, *extra_flags, "-shared", "-fPIC"]
    command += [f"-I{_KERNELS}", "-o", str(library), *map(str, sources)]
    subprocess.run(command, check=True, timeout=_DEADLINE_S)
    entry = ctypes.CDLL(str(library)).run

    def run(call: Call) -> Result:
        memory = lay_out(call)
        words = np.zeros(len(memory) // 8 + 1, np.uint64).view(np.uint8)
        words[: len(memory)] = memory
        entry(ctypes.c_void_p(words.ctypes.data))
        return read_back(call, words[: len(memory)].tobytes())

    return run
