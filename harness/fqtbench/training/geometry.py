"""Windows over maps: what a convolution or a pool reads, and where its errors go back to."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fqtbench.training import arithmetic as ar

Exact = NDArray[np.float64]  # integers held in float64


@dataclass(frozen=True)
class Geometry:
    """Shapes of a convolution; a fully connected layer is one with 1×1 maps."""

    h: int
    w: int
    c: int
    out_h: int
    out_w: int
    filters: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int

    @property
    def taps(self) -> int:
        """Weights per filter."""
        return self.kernel_h * self.kernel_w * self.c

    @property
    def padded_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of the input with the padding that the windows reach."""
        h = max((self.out_h - 1) * self.stride_h + self.kernel_h, self.pad_top + self.h)
        w = max((self.out_w - 1) * self.stride_w + self.kernel_w, self.pad_left + self.w)
        return h, w, self.c

    def patches(self, x: Exact) -> Exact:
        """Return the windows of `x` (h, w, c) as (out_h·out_w, taps); padding is 0."""
        padded = np.zeros(self.padded_shape)
        padded[self.pad_top : self.pad_top + self.h, self.pad_left : self.pad_left + self.w] = x
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, (self.kernel_h, self.kernel_w), axis=(0, 1)
        )
        strided = windows[:: self.stride_h, :: self.stride_w][: self.out_h, : self.out_w]
        return strided.transpose(0, 1, 3, 4, 2).reshape(self.out_h * self.out_w, self.taps)

    def scatter(self, columns: Exact) -> Exact:
        """Add windows (out_h·out_w, taps) into a map (h, w, c): the transpose of `patches`."""
        padded = np.zeros(self.padded_shape)
        windows = columns.reshape(self.out_h, self.out_w, self.kernel_h, self.kernel_w, self.c)
        for y in range(self.kernel_h):
            for x in range(self.kernel_w):
                rows = slice(y, y + self.stride_h * self.out_h, self.stride_h)
                cols = slice(x, x + self.stride_w * self.out_w, self.stride_w)
                padded[rows, cols] += windows[:, :, y, x]
        return padded[self.pad_top : self.pad_top + self.h, self.pad_left : self.pad_left + self.w]


def pool_windows(x: NDArray[np.int64], layer: Any) -> NDArray[np.int64]:
    """Return the pooling windows of `x` (h, w, c) as (out_h, out_w, kernel_h·kernel_w, c), row-major inside."""
    kernel = int(layer["kernel_h"]), int(layer["kernel_w"])
    strides = int(layer["stride_h"]), int(layer["stride_w"])
    view = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(0, 1))[:: strides[0], :: strides[1]]
    return view.transpose(0, 1, 3, 4, 2).reshape(view.shape[0], view.shape[1], -1, x.shape[2])


def unpool(x: NDArray[np.int64], error: NDArray[np.int64], layer: Any) -> NDArray[np.int64]:
    """Put each error at the first maximum of its window; the windows don't overlap."""
    first = pool_windows(x, layer).argmax(axis=2)
    out_y, out_x, channel = np.indices(error.shape)
    y = out_y * int(layer["stride_h"]) + first // int(layer["kernel_w"])
    column = out_x * int(layer["stride_w"]) + first % int(layer["kernel_w"])
    spread = np.full(x.shape, ar.ERROR_ZERO_POINT, np.int64)
    spread[y, column, channel] = error
    return spread


def rounded_mean(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Mean over height and width of `x` (h, w, c), halves up, as (1, 1, c)."""
    n = x.shape[0] * x.shape[1]
    mean: NDArray[np.int64] = (2 * x.sum(axis=(0, 1)) + n) // (2 * n)
    return mean.reshape(1, 1, -1)
