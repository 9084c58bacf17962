"""What the engine's float32 kernels cost on each core: ``python -m benchmarks.float_kernels``.

Instructions and cycles per product (MAC) on virtual cores whose memory never waits (origin: modelled), calls included.
Products with padding count, and those with errors of zero. The Cortex-M0+ computes floats in software.
"""

import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.kernel_rig import CORES, Call, Kernel, OnCore, Shape

_COMPILER: Final = "arm-none-eabi-gcc"
_SAME: Final = ((3, 3), (1, 1), (1, 1), (1, 1))
_SHAPES: Final = {
    "3x3 16x16x16->32": Shape(16, 16, 16, 32, *_SAME),
    "1x1 16x16x32->32": Shape(16, 16, 32, 32),
    "depthwise 3x3 16x16x32": Shape(16, 16, 32, 32, *_SAME, groups=32),
    "FC 256->64": Shape(1, 1, 256, 64),
    "3x3 28x28x1->8": Shape(28, 28, 1, 8, *_SAME),
}
_DENSITIES: Final = (1.0, 0.25, 0.1)


def _call(kernel: Kernel, shape: Shape, density: float) -> Call:
    rng = np.random.default_rng(zlib.crc32(repr((shape, density)).encode()))

    def normal(n: int) -> NDArray[np.float32]:
        return rng.standard_normal(n).astype(np.float32)

    error = normal(shape.errors)
    error[rng.permutation(shape.errors) >= round(density * shape.errors)] = 0
    tensors: dict[str, NDArray[np.generic]] = {
        "x": np.maximum(normal(shape.h * shape.w * shape.c), 0),
        "weights": normal(shape.filters * shape.stored),
        "bias": normal(shape.filters),
        "error": error,
        "argmax": normal(shape.filters * (shape.stored + 1)),
    }
    out_bytes = {
        Kernel.FLOAT_FORWARD: 4 * shape.errors,
        Kernel.FLOAT_GRADIENT: 0,
        Kernel.FLOAT_ERROR: 4 * shape.h * shape.w * shape.c,
    }[kernel]
    return Call(kernel, shape, tensors, 0, out_bytes, shape.filters)


def _calls(shape: Shape) -> Iterator[tuple[Call, float]]:
    yield _call(Kernel.FLOAT_FORWARD, shape, 1.0), 1.0
    for kernel in (Kernel.FLOAT_GRADIENT, Kernel.FLOAT_ERROR):
        for density in _DENSITIES:
            yield _call(kernel, shape, density), density


def main() -> None:
    """Measure every kernel on every shape and core."""
    wanted = sys.argv[1:] or list(CORES)
    table = Table("shape", "kernel", "errors", *(f"{core} instr./MAC, cycles/MAC" for core in wanted))
    with tempfile.TemporaryDirectory() as folder:
        cores = [OnCore(Path(folder), _COMPILER, core) for core in wanted]
        for name, shape in _SHAPES.items():
            for call, density in _calls(shape):
                results = [core(call) for core in cores]
                figures = (f"{r.instructions / shape.macs:.2f}  {r.cycles / shape.macs:.2f}" for r in results)
                share = "" if call.kernel is Kernel.FLOAT_FORWARD else f"{density:.0%}"
                table.add_row(name, call.kernel.name.lower().replace("_", " "), share, *figures)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
