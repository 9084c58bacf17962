"""The table: shapes, the kernels that each is measured with, and the calls."""

import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fqtbench.kernels.call import Call, Kernel, Shape

_SAME: Final = ((3, 3), (1, 1), (1, 1), (1, 1))
_HALF: Final = ((3, 3), (2, 2), (1, 1), (1, 1))
_SAME_5X5: Final = ((5, 5), (1, 1), (2, 2), (2, 2))
CONVOLUTION: Final = "3x3 16x16x16->32"
POINTWISE_16: Final = "1x1 16x16x16->32"
POINTWISE_32: Final = "1x1 16x16x32->32"
DEPTHWISE: Final = "depthwise 3x3 16x16x32"
FULLY_CONNECTED: Final = "FC 256->64"
SHAPES: Final = {
    CONVOLUTION: Shape(16, 16, 16, 32, *_SAME),
    "3x3 16x16x16->32, stride 2": Shape(16, 16, 16, 32, *_HALF),
    "3x3 8x8x64->64": Shape(8, 8, 64, 64, *_SAME),
    POINTWISE_16: Shape(16, 16, 16, 32),
    POINTWISE_32: Shape(16, 16, 32, 32),
    DEPTHWISE: Shape(16, 16, 32, 32, *_SAME, groups=32),
    "depthwise 3x3 16x16x32, stride 2": Shape(16, 16, 32, 32, *_HALF, groups=32),
    "depthwise 5x5 16x16x32": Shape(16, 16, 32, 32, *_SAME_5X5, groups=32),
    "5x5 8x8x16->16": Shape(8, 8, 16, 16, *_SAME_5X5),
    "1x5 1x64x16->32": Shape(1, 64, 16, 32, (1, 5), (1, 1), (0, 2), (0, 2)),
    "3x3 28x28x1->8": Shape(28, 28, 1, 8, *_SAME),
    "3x3 28x28x1->20, stride 2": Shape(28, 28, 1, 20, *_HALF),
    FULLY_CONNECTED: Shape(1, 1, 256, 64),
}
ROW: Final = "a filter of 144 weights"  # as the 3x3 kernel over 16 channels has
_ROW_SHAPE: Final = Shape(1, 1, 144, 1)

DENSITIES: Final = (100, 25, 10)  # per cent of errors that are not zero
_SCRATCH_BYTES: Final = 1 << 15  # what a plan gives at most, training.scratch_bytes
_BACKWARD: Final = (
    *(Kernel.GRADIENT_DENSE, Kernel.GRADIENT_PLANAR, Kernel.GRADIENT_SPARSE),
    *(Kernel.ERROR_DENSE, Kernel.ERROR_PLANAR, Kernel.ERROR_SPARSE),
)
_FLOAT_BACKWARD: Final = (Kernel.FLOAT_GRADIENT, Kernel.FLOAT_ERROR)
_OUTER: Final = (Kernel.FOLD_OUTER, Kernel.STEP_OUTER)
UPDATE: Final = (Kernel.FOLD, Kernel.STEP, Kernel.SUM_CELLS, Kernel.STEP_CELLS)
FLOAT: Final = (Kernel.FLOAT_FORWARD, *_FLOAT_BACKWARD)
FLOAT_TWIN: Final = {
    Kernel.FORWARD: Kernel.FLOAT_FORWARD,
    Kernel.GRADIENT_DENSE: Kernel.FLOAT_GRADIENT,
    Kernel.GRADIENT_PLANAR: Kernel.FLOAT_GRADIENT,
    Kernel.GRADIENT_SPARSE: Kernel.FLOAT_GRADIENT,
    Kernel.FOLD_OUTER: Kernel.FLOAT_GRADIENT,  # both add to what the mini-batch has
    Kernel.ERROR_DENSE: Kernel.FLOAT_ERROR,
    Kernel.ERROR_PLANAR: Kernel.FLOAT_ERROR,
    Kernel.ERROR_SPARSE: Kernel.FLOAT_ERROR,
}

# Steps stay well within the clamps, and are not so small that a whole filter is skipped.
_NUMBERS: Final = {
    "weight_zero": 128,
    "highest": 255,
    "m": 20000,
    "shift": 28,
    "mask_low": 0,
    "mask_high": 256,
}
_UPDATE_NUMBERS: Final = {"x_zero": 20, "m": 20000, "shift": 24}
_LARGEST_SUM: Final = 1 << 16
_SUM_LIMIT: Final = 16 * 16 * 128 * 255  # all that the engine knows of sums over a 16x16 map
_LARGEST_GRADIENT: Final = 1000  # a mini-batch keeps it within 256..1023


class Entry(NamedTuple):
    """A row of the table to be measured: `density` in per cent of errors that are not zero."""

    name: str
    density: int
    call: Call

    @property
    def title(self) -> str:
        """The kernel's name in tables; `tracked` if it notes the ranges of its sums, too."""
        return title(self.call.kernel) + (" tracked" if self.call.numbers.get("tracking") else "")


def title(kernel: Kernel) -> str:
    """Return the kernel's name in tables."""
    return kernel.name.lower().replace("_", " ")


def _takes(kernel: Kernel, shape: Shape) -> bool:
    """Whether the kernel is for this shape, as fqtbench's engine decides (dense.h, planar.h)."""
    if kernel in (Kernel.GRADIENT_DENSE, Kernel.ERROR_DENSE):
        one_window = shape.out == (1, 1)  # nothing to sum over
        return shape.groups == 1 and not (one_window and kernel is Kernel.GRADIENT_DENSE)
    if kernel in (Kernel.GRADIENT_PLANAR, Kernel.ERROR_PLANAR):
        depthwise = shape.groups == shape.c == shape.filters and shape.groups % 4 == 0
        grey = shape.c == 1 and shape.kernel[1] == 3 and shape.filters % 4 == 0
        if kernel is Kernel.GRADIENT_PLANAR:
            return depthwise or grey
        return depthwise and shape.stride == (1, 1)
    return True


def kernels_of(shape: Shape) -> Iterator[tuple[Kernel, int]]:
    """Yield the shape's kernels with the densities of errors that they are measured at."""
    yield Kernel.FORWARD, 100
    for kernel in _BACKWARD:
        if _takes(kernel, shape):
            yield from ((kernel, density) for density in DENSITIES)
    if shape.out == (1, 1):
        yield from ((kernel, 100) for kernel in _OUTER)
    yield Kernel.FLOAT_FORWARD, 100
    yield from ((kernel, density) for kernel in _FLOAT_BACKWARD for density in DENSITIES)


def entries() -> Iterator[Entry]:
    """Yield the whole table."""
    for name, shape in SHAPES.items():
        for kernel, density in kernels_of(shape):
            call = call_of(kernel, shape, density)
            yield Entry(name, density, call)
            if kernel is Kernel.FORWARD:
                yield Entry(name, density, replace(call, numbers={**call.numbers, "tracking": 1}))
    for kernel in UPDATE:
        yield Entry(ROW, 100, _update_call(kernel))


def call_of(kernel: Kernel, shape: Shape, density: float) -> Call:
    """Return a call on random tensors, which depend on shape and density only."""
    rng = np.random.default_rng(zlib.crc32(repr((shape, density)).encode()))
    if kernel in FLOAT:
        return _float_call(kernel, shape, density, rng)
    if kernel in _OUTER:
        return _outer_call(kernel, shape, rng)
    tensors: dict[str, NDArray[np.generic]] = {
        "x": _bytes(rng, shape.h * shape.w * shape.c),
        "weights": _bytes(rng, shape.filters * shape.stored),
        "bias": rng.integers(-1000, 1000, shape.filters).astype(np.int32),
        "error": _error(shape, density, rng),
    }
    scratch, out = _sizes(kernel, shape)
    return Call(kernel, shape, tensors, scratch, out, shape.filters, dict(_NUMBERS))


def _bytes(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    return rng.integers(0, 256, n).astype(np.uint8)


def _stepping(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Return n weights, none at an end of its range, where steps saturate, and behind them n residuals."""
    return np.concatenate([rng.integers(1, 255, n).astype(np.uint8), _bytes(rng, n)])


def _zeros(shape: Shape, density: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which errors are zero: exactly all but the share `density`."""
    return rng.permutation(shape.errors) >= round(density / 100 * shape.errors)


def _error(shape: Shape, density: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    error = rng.integers(129, 256, shape.errors).astype(np.uint8)
    error[_zeros(shape, density, rng)] = 128
    return error


def _offered(least_bytes: int, best_bytes: int) -> int:
    return max(least_bytes, min(best_bytes, _SCRATCH_BYTES))


def _sizes(kernel: Kernel, shape: Shape) -> tuple[int, int]:
    """Return the bytes of scratch and of the result."""
    inputs, all_filters = shape.h * shape.w * shape.c, shape.dense_gradient_bytes(shape.filters)
    return {
        Kernel.FORWARD: (_offered(shape.scratch_bytes(), shape.widened_bytes()), shape.errors),
        Kernel.GRADIENT_SPARSE: (shape.scratch_bytes(gradient=True), 4 * shape.filters * shape.stored),
        Kernel.GRADIENT_DENSE: (max(_SCRATCH_BYTES, all_filters), 4 * shape.filters * shape.stored),
        Kernel.GRADIENT_PLANAR: (shape.planar_gradient_bytes(), 4 * shape.filters * (shape.stored + 1)),
        Kernel.ERROR_SPARSE: (shape.scratch_bytes(error=True), inputs),
        Kernel.ERROR_PLANAR: (shape.planar_error_bytes(), inputs),
        Kernel.ERROR_DENSE: (_offered(shape.dense_error_bytes(2), shape.widened_error_bytes()), inputs),
    }[kernel]


def _float_call(kernel: Kernel, shape: Shape, density: float, rng: np.random.Generator) -> Call:
    def normal(n: int) -> NDArray[np.float32]:
        return rng.standard_normal(n).astype(np.float32)

    error = normal(shape.errors)
    error[_zeros(shape, density, rng)] = 0
    inputs = shape.h * shape.w * shape.c
    tensors: dict[str, NDArray[np.generic]] = {
        "x": np.maximum(normal(inputs), 0),
        "weights": normal(shape.filters * shape.stored),
        "bias": normal(shape.filters),
        "error": error,
        "argmax": normal(shape.filters * (shape.stored + 1)),
    }
    out = {Kernel.FLOAT_FORWARD: 4 * shape.errors, Kernel.FLOAT_ERROR: 4 * inputs}.get(kernel, 0)
    return Call(kernel, shape, tensors, 0, out, shape.filters)


def _outer_call(kernel: Kernel, shape: Shape, rng: np.random.Generator) -> Call:
    """Return a call for a fully connected layer's gradients, which go where they are bound at once."""
    n = shape.filters * shape.stored
    tensors: dict[str, NDArray[np.generic]] = {
        "x": _bytes(rng, shape.c),
        "error": _error(shape, 100, rng),
        "argmax": _cells(rng, n) if kernel is Kernel.FOLD_OUTER else _stepping(rng, n),
    }
    return Call(
        kernel, shape, tensors, shape.scratch_bytes(gradient=True), 0, shape.filters, dict(_UPDATE_NUMBERS)
    )


def _cells(rng: np.random.Generator, n: int) -> NDArray[np.int16]:
    """Return cells of the plane: 12 bits of gradient, 4 of residual."""
    gradients = rng.integers(-_LARGEST_GRADIENT, _LARGEST_GRADIENT + 1, n)
    return (16 * gradients + rng.integers(0, 16, n)).astype(np.int16)


def _update_call(kernel: Kernel) -> Call:
    """Return a call on one filter's weights, gradients and residuals."""
    n = _ROW_SHAPE.stored
    rng = np.random.default_rng(zlib.crc32(kernel.name.encode()))
    numbers, out = dict(_UPDATE_NUMBERS), 0
    tensors: dict[str, NDArray[np.generic]] = {}
    if kernel in (Kernel.FOLD, Kernel.STEP):
        tensors["bias"] = rng.integers(-_LARGEST_SUM, _LARGEST_SUM + 1, n).astype(np.int32)
    if kernel is Kernel.STEP:
        tensors["argmax"] = _stepping(rng, n)
        numbers["highest"] = _SUM_LIMIT
    elif kernel is Kernel.STEP_CELLS:
        tensors["argmax"] = np.concatenate([_cells(rng, n).view(np.uint8), _stepping(rng, n)[:n]])
        numbers |= {"lowest": 1 << 23, "highest": _LARGEST_GRADIENT}
    else:
        tensors["argmax"] = _cells(rng, n)
    if kernel is Kernel.SUM_CELLS:
        out = 8
    return Call(kernel, _ROW_SHAPE, tensors, 0, out, n, numbers)
