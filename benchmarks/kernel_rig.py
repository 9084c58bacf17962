"""The engine's integer kernels, one call at a time: on a virtual Cortex-M4, counted, or on this machine.

The same bytes go in and come out on both, so that the DSP variants can be held against the portable ones.
"""

import ctypes
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import unicorn
from elftools.elf.elffile import ELFFile
from numpy.typing import NDArray
from unicorn import arm_const

from fqtbench.virtual.cpu import Cpu, Stop
from fqtbench.virtual.memory import CodeMemory, Kind, Region
from fqtbench.virtual.timing import cortex_m0plus, cortex_m4, cortex_m7
from fqtbench.virtual.timing.model import Timing

_ROOT: Final = Path(__file__).resolve().parents[1]
_KERNELS: Final = _ROOT / "firmware" / "engine" / "kernels"
_SOURCES: Final = (
    "gradient_sparse",
    "error_sparse",
    "scatter",
    "convolution_forward",
    "rows",
    "rows_dsp",
    "rows_v6m",
    "gradient_dense_v6m",
    "patch",
    "gradient_dense",
    "error_dense",
    "importance",
    "fold",
    "outer",
    "step",
    "cells",
    "elementwise",
    "planar",
    "planar_ring",
    "planar_gradient",
    "planar_rows",
    "planar_rows_v6m",
    "float32",
    "float_fpu",
)
_WARNINGS: Final = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror")
_COMMON: Final = (
    "-std=c11",
    "-O2",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    *_WARNINGS,
)  # firmware/Makefile
_BARE: Final = ("-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-ffunction-sections")

_FLASH_BYTES: Final = 0x10000
_ENTRY: Final = 0x1000  # where the linker puts the first section
_RAM: Final = Region(0x2000_0000, 0x8_0000, Kind.RAM)
_MEMORY: Final = CodeMemory((Region(0, _FLASH_BYTES, Kind.FLASH), _RAM))
_STACK_BYTES: Final = 0x1000
_RETURN: Final = 0x100  # a BKPT lies there
_DEADLINE_CYCLES: Final = 1 << 40

_UNUSED: Final = b"\xa5"
_GUARD_BYTES: Final = 16

_GEOMETRY: Final = (
    "h", "w", "c", "out_h", "out_w", "filters", "kernel_h", "kernel_w", "stride_h", "stride_w", "pad_top", "pad_left",
    "group_channels", "group_filters", "pool", "taps", "stored",
)  # fmt: skip
_OFFSETS: Final = ("x", "weights", "error", "bias", "argmax", "filters", "scratch", "out", "sums")
_UNSIGNED: Final = ("n_filters", "scratch_bytes")
_SIGNED: Final = (
    "x_zero",
    "weight_zero",
    "out_zero",
    "lowest",
    "highest",
    "m",
    "shift",
    "mask_low",
    "mask_high",
)
_REQUEST: Final = np.dtype(
    [("kernel", "<u4")]
    + [(name, "<u4") for name in (*_GEOMETRY, *(f"{name}_at" for name in _OFFSETS), *_UNSIGNED)]
    + [(name, "<i4") for name in _SIGNED]
    + [("tracking", "<u4"), ("out_is_int32", "<u4"), ("flags", "<u4"), ("result", "<i4", 2)]
)  # struct request in kernel_driver.c


class Core(NamedTuple):
    """A core: compiler flags as in its chips' chip.mk, Unicorn's number of it, what its instructions cost."""

    flags: tuple[str, ...]
    model: int
    timing: Timing


CORES: Final = {
    "cortex-m0plus": Core(
        ("-mcpu=cortex-m0plus", "-mthumb", "-mfloat-abi=soft"),
        arm_const.UC_CPU_ARM_CORTEX_M0,
        cortex_m0plus.TIMING,
    ),
    "cortex-m4": Core(
        ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
        arm_const.UC_CPU_ARM_CORTEX_M4,
        cortex_m4.TIMING,
    ),
    "cortex-m7": Core(
        ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16", "-DFQT_FPU_VMLA=1"),
        arm_const.UC_CPU_ARM_CORTEX_M7,
        cortex_m7.TIMING,
    ),
}


class Kernel(IntEnum):
    """What the driver calls."""

    FORWARD = 0
    GRADIENT_SPARSE = 1
    GRADIENT_DENSE = 2
    ERROR_SPARSE = 3
    ERROR_DENSE = 4
    COUNT = 5
    WEIGH = 6
    FOLD = 7
    FOLD_OUTER = 8
    STEP = 9
    STEP_OUTER = 10
    SUM_CELLS = 11
    STEP_CELLS = 12
    ADD = 13
    GRADIENT_PLANAR = 14
    ERROR_PLANAR = 15
    FLOAT_FORWARD = 16
    FLOAT_GRADIENT = 17  # goes on from the gradients in `argmax`
    FLOAT_ERROR = 18


@dataclass(frozen=True)
class Shape:
    """A convolution of one group or more; `pad` on top and left, `pad_end` on the other sides."""

    h: int
    w: int
    c: int
    filters: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    pad_end: tuple[int, int] = (0, 0)
    groups: int = 1
    pool: int = 1

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the windows computed, those under a fused pool too."""
        h = (self.h + self.pad[0] + self.pad_end[0] - self.kernel[0]) // self.stride[0] + 1
        w = (self.w + self.pad[1] + self.pad_end[1] - self.kernel[1]) // self.stride[1] + 1
        return h // self.pool * self.pool, w // self.pool * self.pool

    @property
    def taps(self) -> int:
        """Weights of a filter."""
        return self.kernel[0] * self.kernel[1] * self.c // self.groups

    @property
    def stored(self) -> int:
        """Bytes of a filter's row."""
        return -(-self.taps // 4) * 4

    @property
    def macs(self) -> int:
        """Products of the forward pass, those with padding included."""
        return self.out[0] * self.out[1] * self.filters * self.taps

    @property
    def errors(self) -> int:
        """Errors of the layer's output."""
        return self.out[0] // self.pool * (self.out[1] // self.pool) * self.filters

    def scratch_bytes(self, gradient: bool = False, error: bool = False) -> int:
        """Return what fqt_scratch_bytes asks for: the forward pass, and the kernels that skip zeros."""
        forward = self._planar_bytes() or 6 * self.stored + 4 * (self.filters // self.groups)
        ring_rows = self.kernel[0] + (self.stride[0] if self.pool == 2 else 0)
        return max(
            forward,
            6 * self.stored + 84 if gradient else 0,
            4 * ring_rows * self.w * self.c if error else 0,
        )

    def _planar_bytes(self) -> int:
        """Return what fqt_planar_bytes asks for, of a group with one channel."""
        (kernel_h, kernel_w), out_w = self.kernel, self.out[1]
        if self.c != self.groups or kernel_h * kernel_w == 1 or kernel_h < self.stride[0]:
            return 0
        filters = self.filters // self.groups
        channels = 4 if filters == self.pool == 1 and self.filters % 4 == 0 else 1
        planes = 4 * channels * kernel_h * self._ring_cells()
        rows = 1 + (filters if self.pool == 2 else 0)
        weights = -(-(2 * kernel_h - 1) * 2 * (kernel_w + 1) // 4) * 4 + 4
        return planes + (16 + rows) * (-(-out_w // 4) * 4) + channels * filters * weights

    def planar_error_bytes(self) -> int:
        """Return what fqt_planar_error_bytes asks for."""
        pad = (self.kernel[0] - 1 - self.pad[0], self.kernel[1] - 1 - self.pad[1])
        turned = replace(self, h=self.out[0], w=self.out[1], pad=pad, pad_end=pad)
        return replace(
            turned, pad_end=(pad[0] + self.h - turned.out[0], pad[1] + self.w - turned.out[1])
        )._planar_bytes()

    def planar_gradient_bytes(self) -> int:
        """Return what fqt_planar_gradient_bytes asks for."""
        ring = 16 * self.kernel[0] * self._ring_cells()
        return ring + 16 * (-(-self.out[1] // 4) * 4 + 2 + self.stored + 1) + 4 * (2 * self.kernel[0] - 1)

    def _ring_cells(self) -> int:
        windows = -(-self.out[1] // 4) * 4
        return ((windows - 1) * self.stride[1] + self.kernel[1] + 2) // 2 * 2

    def dense_gradient_bytes(self, n_filters: int) -> int:
        """Return what fqt_dense_gradient_bytes asks for."""
        return 18 * self.stored + 384 + (4 * self.stored + 68) * (n_filters + n_filters % 2)

    def dense_error_bytes(self, channels: int) -> int:
        """Return what fqt_dense_error_bytes asks for."""
        if self.h == self.w == 1 and self.kernel == (1, 1) and self.out == (1, 1):
            return 16 * (self.filters // 2 + 1)
        reach = -(-self.kernel[0] // self.stride[0]) * -(-self.kernel[1] // self.stride[1])
        n = -(-reach * self.filters // 4) * 4
        return 6 * n + (n + 4) * channels

    def geometry(self) -> dict[str, int]:
        """Return the fields of struct fqt_geometry."""
        values = (
            *(self.h, self.w, self.c, *self.out, self.filters, *self.kernel, *self.stride, *self.pad),
            *(self.c // self.groups, self.filters // self.groups, self.pool, self.taps, self.stored),
        )
        return dict(zip(_GEOMETRY, values, strict=True))


@dataclass(frozen=True)
class Call:
    """One call of a kernel.

    `tensors` are x(H,W,C), weights(F,stored), error(OH,OW,F), all uint8; bias(F) int32, argmax uint8, filters uint16.
    `out_bytes` are reserved for the result, `scratch_bytes` for the scratch.
    """

    kernel: Kernel
    shape: Shape
    tensors: dict[str, NDArray[np.generic]]
    scratch_bytes: int
    out_bytes: int
    n_filters: int
    numbers: dict[str, int] = field(default_factory=dict)


class Result(NamedTuple):
    """What a call left: `out` its bytes, or for gradients rows(n,stored) as bytes; cycles are 0 on this machine."""

    out: bytes
    sums: bytes
    argmax: bytes
    numbers: tuple[int, int]
    instructions: int = 0
    cycles: int = 0


def _lay_out(call: Call) -> NDArray[np.uint8]:
    """Return the request with its tensors behind it, and between them guards."""
    request = np.zeros(1, _REQUEST)[0]
    request["kernel"] = call.kernel
    for name, value in {**call.shape.geometry(), **call.numbers}.items():
        request[name] = value
    request["n_filters"], request["scratch_bytes"] = call.n_filters, call.scratch_bytes
    parts: dict[str, bytes] = {name: array.tobytes() for name, array in call.tensors.items()}
    parts["scratch"], parts["out"] = _UNUSED * call.scratch_bytes, _UNUSED * call.out_bytes
    parts["sums"] = bytes(4 * call.n_filters)
    body = bytearray(_UNUSED * _GUARD_BYTES)
    for name, data in parts.items():
        request[f"{name}_at"] = _REQUEST.itemsize + len(body)
        body += data + _UNUSED * (-len(data) % 4 + _GUARD_BYTES)
    return np.frombuffer(request.tobytes() + bytes(body), np.uint8).copy()


def _check_guards(call: Call, memory: bytes) -> None:
    """Raise RuntimeError if a kernel wrote outside its output, its scratch and argmax."""
    before, after = _lay_out(call), np.frombuffer(memory, np.uint8)
    request = np.frombuffer(before[: _REQUEST.itemsize].tobytes(), _REQUEST)[0]
    touched = before != after
    touched[: _REQUEST.itemsize] = False
    sizes = {"scratch": call.scratch_bytes, "out": call.out_bytes, "sums": 4 * call.n_filters}
    if "argmax" in call.tensors:
        sizes["argmax"] = call.tensors["argmax"].nbytes
    for name, size in sizes.items():
        begin = int(request[f"{name}_at"])
        touched[begin : begin + size] = False
    if touched.any():
        raise RuntimeError(
            f"{call.kernel.name} on {call.shape} wrote outside its memory at +{touched.argmax()}"
        )


def _read_back(call: Call, memory: bytes, instructions: int = 0, cycles: int = 0) -> Result:
    _check_guards(call, memory)
    request = np.frombuffer(memory[: _REQUEST.itemsize], _REQUEST)[0]
    size = call.out_bytes
    if call.kernel in (Kernel.GRADIENT_DENSE, Kernel.GRADIENT_SPARSE, Kernel.GRADIENT_PLANAR):
        size = 4 * call.shape.stored * call.n_filters
    begin, sums = int(request["out_at"]), int(request["sums_at"])
    first, second = (int(v) for v in request["result"])
    argmax, n_argmax = int(request["argmax_at"]), 0
    if "argmax" in call.tensors:
        n_argmax = call.tensors["argmax"].nbytes
    return Result(
        memory[begin : begin + size],
        memory[sums : sums + 4 * call.n_filters],
        memory[argmax : argmax + n_argmax],
        (first, second),
        instructions,
        cycles,
    )


def _sources() -> list[str]:
    return [
        str(Path(__file__).with_name("kernel_driver.c")),
        *(str(_KERNELS / f"{name}.c") for name in _SOURCES),
    ]


class OnCore:
    """The kernels as one of CORES runs them (or the portable ones), virtual, with memory that never waits."""

    def __init__(self, folder: Path, compiler: str, core: str, portable: bool = False) -> None:
        elf = folder / (f"{core}-portable.elf" if portable else f"{core}.elf")
        flags = ("-DFQT_PORTABLE",) if portable else ()
        command = [
            compiler,
            *CORES[core].flags,
            *_COMMON,
            *flags,
            *_BARE,
            f"-I{_KERNELS}",
            f"-Wl,-Ttext={_ENTRY:#x}",
            "-Wl,-erun",
        ]
        subprocess.run([*command, "-o", str(elf), *_sources()], check=True, timeout=120)
        self._cpu = Cpu(CORES[core].model, _MEMORY, CORES[core].timing)
        engine = self._cpu.engine
        engine.mem_map(0, _FLASH_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        engine.mem_map(_RAM.base, _RAM.size)
        engine.mem_write(_RETURN, b"\x00\xbe")
        with elf.open("rb") as file:
            parsed = ELFFile(file)
            for segment in parsed.iter_segments("PT_LOAD"):
                engine.mem_write(segment["p_paddr"], segment.data())
            self._entry = int(parsed.header["e_entry"]) & ~1

    def __call__(self, call: Call) -> Result:
        """Run it; instructions and cycles include the call itself."""
        memory = _lay_out(call)
        assert len(memory) < _RAM.size - _STACK_BYTES
        engine = self._cpu.engine
        engine.mem_write(_RAM.base, memory.tobytes())
        engine.reg_write(arm_const.UC_ARM_REG_R0, _RAM.base)
        engine.reg_write(arm_const.UC_ARM_REG_SP, _RAM.base + _RAM.size)
        engine.reg_write(arm_const.UC_ARM_REG_LR, _RETURN | 1)
        self._cpu.pc = self._entry
        instructions, cycles = self._cpu.instructions, self._cpu.now
        stop = self._cpu.run(cycles + _DEADLINE_CYCLES)
        if stop is not Stop.BREAKPOINT:
            raise RuntimeError(f"{call.kernel.name} on {call.shape}: {stop} {self._cpu.fault}")
        after = bytes(engine.mem_read(_RAM.base, len(memory)))
        return _read_back(call, after, self._cpu.instructions - instructions, self._cpu.now - cycles)


def on_host(folder: Path, compiler: str, *extra_flags: str) -> Callable[[Call], Result]:
    """Build the portable variants for this machine."""
    library = folder / "kernels.so"
    command = [compiler, *_COMMON, *extra_flags, "-shared", "-fPIC", f"-I{_KERNELS}", "-o", str(library)]
    subprocess.run([*command, *_sources()], check=True, timeout=120)
    entry = ctypes.CDLL(str(library)).run

    def run(call: Call) -> Result:
        memory = _lay_out(call)
        words = np.zeros(len(memory) // 8 + 1, np.uint64).view(np.uint8)
        words[: len(memory)] = memory
        entry(ctypes.c_void_p(words.ctypes.data))
        return _read_back(call, words[: len(memory)].tobytes())

    return run
