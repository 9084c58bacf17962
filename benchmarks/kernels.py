"""What the engine's integer kernels cost on a Cortex-M4: ``python -m benchmarks.kernels``.

Instructions and cycles per product (MAC) on the virtual core, whose memory never waits (origin: modelled), calls
included. Products with padding count; those with errors of zero count too, so sparse and dense compare.
"""

import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.kernel_rig import Call, Kernel, OnCore, Shape

_COMPILER: Final = "arm-none-eabi-gcc"
_SAME: Final = ((3, 3), (1, 1), (1, 1), (1, 1))
_HALF: Final = ((3, 3), (2, 2), (1, 1), (1, 1))
_SHAPES: Final = {
    "3x3 16x16x16->32": Shape(16, 16, 16, 32, *_SAME),
    "3x3 16x16x16->32, stride 2": Shape(16, 16, 16, 32, *_HALF),
    "3x3 8x8x64->64": Shape(8, 8, 64, 64, *_SAME),
    "1x1 16x16x16->32": Shape(16, 16, 16, 32),
    "1x1 16x16x32->32": Shape(16, 16, 32, 32),
    "3x3 28x28x1->8": Shape(28, 28, 1, 8, *_SAME),
    "depthwise 3x3 16x16x32": Shape(16, 16, 32, 32, *_SAME, groups=32),
    "depthwise 3x3 16x16x32, stride 2": Shape(16, 16, 32, 32, *_HALF, groups=32),
    "depthwise 5x5 16x16x32": Shape(16, 16, 32, 32, (5, 5), (1, 1), (2, 2), (2, 2), groups=32),
    "FC 256->64": Shape(1, 1, 256, 64),
}
_DENSITIES: Final = (1.0, 0.25, 0.1)
_CHANNELS_AT_ONCE: Final = 32


def _error(shape: Shape, density: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return errors of which the share `density` is not zero."""
    error = rng.integers(129, 256, shape.errors).astype(np.uint8)
    error[rng.permutation(shape.errors) >= round(density * shape.errors)] = 128
    return error


def _call(kernel: Kernel, shape: Shape, density: float) -> Call:
    rng = np.random.default_rng(zlib.crc32(repr((shape, density)).encode()))
    tensors: dict[str, NDArray[np.generic]] = {
        "x": rng.integers(0, 256, shape.h * shape.w * shape.c).astype(np.uint8),
        "weights": rng.integers(0, 256, shape.filters * shape.stored).astype(np.uint8),
        "bias": rng.integers(-1000, 1000, shape.filters).astype(np.int32),
        "error": _error(shape, density, rng),
    }
    numbers = {"weight_zero": 128, "highest": 255, "m": 20000, "shift": 28, "mask_low": 0, "mask_high": 256}
    scratch, out = {
        Kernel.FORWARD: (shape.scratch_bytes(), shape.errors),
        Kernel.GRADIENT_SPARSE: (shape.scratch_bytes(gradient=True), 4 * shape.filters * shape.stored),
        Kernel.GRADIENT_DENSE: (shape.dense_gradient_bytes(shape.filters), 0),
        Kernel.ERROR_SPARSE: (shape.scratch_bytes(error=True), shape.h * shape.w * shape.c),
        Kernel.ERROR_DENSE: (shape.dense_error_bytes(_CHANNELS_AT_ONCE), shape.h * shape.w * shape.c),
        Kernel.GRADIENT_PLANAR: (shape.planar_gradient_bytes(), 4 * shape.filters * shape.stored),
        Kernel.ERROR_PLANAR: (shape.planar_error_bytes(), shape.h * shape.w * shape.c),
        Kernel.COUNT: (0, 0),
    }[kernel]
    return Call(kernel, shape, tensors, scratch, out, shape.filters, numbers)


def _calls(shape: Shape) -> Iterator[tuple[Call, float]]:
    yield _call(Kernel.FORWARD, shape, 1.0), 1.0
    kernels = [Kernel.GRADIENT_SPARSE, Kernel.GRADIENT_DENSE, Kernel.ERROR_SPARSE, Kernel.ERROR_DENSE]
    if shape.groups > 1:
        kernels = [Kernel.GRADIENT_SPARSE, Kernel.ERROR_SPARSE]
    elif shape.out == (1, 1):
        kernels.remove(Kernel.GRADIENT_DENSE)  # one window: nothing to sum over
    for kernel in kernels:
        for density in _DENSITIES:
            yield _call(kernel, shape, density), density


def _crossover(run: OnCore, shape: Shape, sparse: Kernel, dense: Kernel) -> int:
    """Return the share of errors, in percent, from which the dense kernel takes fewer cycles."""
    slower, faster = 0, 100
    while faster - slower > 1:
        share = (slower + faster) // 2
        if run(_call(dense, shape, share / 100)).cycles < run(_call(sparse, shape, share / 100)).cycles:
            faster = share
        else:
            slower = share
    return faster


def _print_crossovers(run: OnCore) -> None:
    for name, shape in _SHAPES.items():
        if shape.groups > 1:
            continue
        error = _crossover(run, shape, Kernel.ERROR_SPARSE, Kernel.ERROR_DENSE)
        line = f"{name}: dense takes fewer cycles from {error} % of errors not zero (error)"
        if shape.out != (1, 1):
            gradient = _crossover(run, shape, Kernel.GRADIENT_SPARSE, Kernel.GRADIENT_DENSE)
            line += f", {gradient} % (gradient)"
        print(line)


def main() -> None:
    """Measure every kernel on every shape, in the DSP and the portable variant."""
    table = Table(
        "shape",
        "kernel",
        "errors",
        "DSP instr./MAC",
        "cycles/MAC",
        "portable instr./MAC",
        "cycles/MAC",
        "scratch B",
    )
    with tempfile.TemporaryDirectory() as folder:
        dsp = OnCore(Path(folder), _COMPILER, "cortex-m4")
        portable = OnCore(Path(folder), _COMPILER, "cortex-m4", portable=True)
        for name, shape in _SHAPES.items():
            for call, density in _calls(shape):
                fast, plain = dsp(call), portable(call)
                figures = (fast.instructions, fast.cycles, plain.instructions, plain.cycles)
                share = "" if call.kernel is Kernel.FORWARD else f"{density:.0%}"
                table.add_row(
                    name,
                    call.kernel.name.lower().replace("_", " "),
                    share,
                    *(f"{n / shape.macs:.2f}" for n in figures),
                    str(call.scratch_bytes),
                )
        Console(width=140).print(table)
        _print_crossovers(dsp)


if __name__ == "__main__":
    main()
