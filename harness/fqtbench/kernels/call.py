"""One call of an engine's kernel as bytes, what it works on and what it left: firmware/bench/kernel_driver.c.

The same bytes go in and come out on every core and on the host, so that variants can be held against each other.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_UNUSED: Final = b"\xa5"
_GUARD_BYTES: Final = 16
_LEAST_WINDOWS: Final = 8  # FQT_LEAST_WINDOWS: of fewer, weights aren't widened
_ROWS_AT_ONCE: Final = 4  # that are widened together
_PLANES: Final = 4  # FQT_PLANES: filters of a depthwise layer at a time

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
        weights = max(-(-(2 * kernel_h - 1) * 2 * (kernel_w + 1) // 4) * 4, 4 * kernel_h * kernel_w) + 4
        return planes + (16 + rows) * (-(-out_w // 4) * 4) + channels * filters * weights

    def planar_error_bytes(self) -> int:
        """Return what fqt_planar_error_bytes asks for."""
        pad = (self.kernel[0] - 1 - self.pad[0], self.kernel[1] - 1 - self.pad[1])
        turned = replace(self, h=self.out[0], w=self.out[1], pad=pad, pad_end=pad)
        return replace(
            turned, pad_end=(pad[0] + self.h - turned.out[0], pad[1] + self.w - turned.out[1])
        )._planar_bytes()

    def grey_gradient_bytes(self, band_rows: int) -> int:
        """Return what a planar gradient of grey images takes for so many rows of output at once, on any core."""
        pairs, stride_h = (self.out[1] + 1) // 2, self.stride[0]
        map_rows = stride_h * (band_rows + (self.kernel[0] - 1) // stride_h)
        words = pairs * (6 * map_rows + 4 * band_rows) + 4 + _PLANES * (self.stored + 1)
        return 4 * words + 2 * pairs * self.stride[1] + 7

    def planar_gradient_bytes(self) -> int:
        """Return what fqt_planar_gradient_bytes asks for, of grey images for all rows at once."""
        if self.groups == 1:
            return self.grey_gradient_bytes(self.out[0])
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

    def widened_bytes(self) -> int:
        """Return what a forward pass takes that widens all weights of a group, and centres the map."""
        filters, channels, (out_h, out_w) = self.filters // self.groups, self.c // self.groups, self.out
        if self._planar_bytes() or filters < _ROWS_AT_ONCE or out_h * out_w < _LEAST_WINDOWS:
            return 0
        n_bytes = 6 * self.stored + 4 * filters + 2 * self.stored * (filters // 4 * 4)
        (kernel_h, kernel_w), (stride_h, stride_w) = self.kernel, self.stride
        if (filters | channels) % 4 == 0 and kernel_h * kernel_w > stride_h * stride_w:
            rows, columns = (
                (n - 1) * stride + k for n, stride, k in zip(self.out, self.stride, self.kernel, strict=True)
            )
            n_bytes += 2 * rows * columns * channels
        return n_bytes

    def widened_error_bytes(self) -> int:
        """Return what a dense error takes that widens all weights at once, and centres the errors."""
        reach = tuple(-(-k // stride) for k, stride in zip(self.kernel, self.stride, strict=True))
        n = -(-reach[0] * reach[1] * self.filters // 4) * 4
        n_bytes = 6 * n + (2 * n + 4) * self.c
        if (self.filters | self.c) % 4 == 0 and reach != (1, 1):
            sides = zip((self.h, self.w), reach, self.stride, self.pad, strict=True)
            rows, columns = (
                max(far - 1 - pad // stride, 0) + (size - 1 + pad) // stride + 1
                for size, far, stride, pad in sides
            )
            n_bytes += 2 * rows * columns * self.filters
        return n_bytes

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
    Those of float kernels are float32, with gradients(F,stored) and behind them bias gradients(F) in `argmax`.
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


def lay_out(call: Call) -> NDArray[np.uint8]:
    """Return the request with its tensors behind it, and guards between them."""
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
    before, after = lay_out(call), np.frombuffer(memory, np.uint8)
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


def read_back(call: Call, memory: bytes, instructions: int = 0, cycles: int = 0) -> Result:
    """Return what a call left in `memory`; RuntimeError if a kernel wrote outside of what it was given."""
    _check_guards(call, memory)
    request = np.frombuffer(memory[: _REQUEST.itemsize], _REQUEST)[0]
    size = call.out_bytes
    if call.kernel in (Kernel.GRADIENT_DENSE, Kernel.GRADIENT_SPARSE):
        size = 4 * call.shape.stored * call.n_filters
    begin, sums = int(request["out_at"]), int(request["sums_at"])
    first, second = (int(v) for v in request["result"])
    argmax, n_argmax = int(request["argmax_at"]), 0
    if "argmax" in call.tensors:
        n_argmax = call.tensors["argmax"].nbytes
    out, sum_bytes = memory[begin : begin + size], memory[sums : sums + 4 * call.n_filters]
    if call.kernel is Kernel.GRADIENT_PLANAR:
        blocks = np.frombuffer(out, "<i4").reshape(-1, _PLANES * (call.shape.stored + 1))
        out, sum_bytes = blocks[:, :-_PLANES].tobytes(), blocks[:, -_PLANES:].tobytes()
    return Result(
        out,
        sum_bytes,
        memory[argmax : argmax + n_argmax],
        (first, second),
        instructions,
        cycles,
    )
