"""Windows over maps: what a convolution or a pool reads, and where its errors go back to."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]  # integers held in float64 (exact) or in int64, or float32


@dataclass(frozen=True)
class Geometry:
    """Shapes of a convolution; a fully connected layer is one with 1×1 maps.

    `out_h`, `out_w` count the windows that are computed. Filters and channels fall into `groups`; a filter reads
    only its group's channels.
    """

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
    groups: int

    @classmethod
    def fully_connected(cls, inputs: int, units: int) -> Self:
        """Return the geometry of a fully connected layer."""
        return cls(1, 1, inputs, 1, 1, units, 1, 1, 1, 1, 0, 0, 1)

    @property
    def group_channels(self) -> int:
        """Channels that a filter reads."""
        return self.c // self.groups

    @property
    def group_filters(self) -> int:
        """Filters of a group."""
        return self.filters // self.groups

    @property
    def taps(self) -> int:
        """Weights per filter."""
        return self.kernel_h * self.kernel_w * self.group_channels

    @property
    def windows(self) -> int:
        """Windows, and outputs of a filter."""
        return self.out_h * self.out_w

    @property
    def _padded_shape(self) -> tuple[int, int, int]:
        h = max((self.out_h - 1) * self.stride_h + self.kernel_h, self.pad_top + self.h)
        w = max((self.out_w - 1) * self.stride_w + self.kernel_w, self.pad_left + self.w)
        return h, w, self.c

    def patches(self, x: Values) -> Values:
        """Return the windows of `x` (h, w, c) as (groups, windows, taps), in x's type; padding is 0."""
        padded = np.zeros(self._padded_shape, x.dtype)
        padded[self.pad_top : self.pad_top + self.h, self.pad_left : self.pad_left + self.w] = x
        view = np.lib.stride_tricks.sliding_window_view(padded, (self.kernel_h, self.kernel_w), axis=(0, 1))
        strided = view[:: self.stride_h, :: self.stride_w][: self.out_h, : self.out_w]
        shape = (self.windows, self.groups, self.group_channels, self.kernel_h, self.kernel_w)
        return strided.reshape(shape).transpose(1, 0, 3, 4, 2).reshape(self.groups, self.windows, self.taps)

    def scatter(self, columns: Values) -> Values:
        """Add windows (groups, windows, taps) into a map (h, w, c): the transpose of `patches`."""
        padded = np.zeros(self._padded_shape, columns.dtype)
        shape = (self.groups, self.out_h, self.out_w, self.kernel_h, self.kernel_w, self.group_channels)
        windows = columns.reshape(shape).transpose(1, 2, 3, 4, 0, 5)
        windows = windows.reshape(self.out_h, self.out_w, self.kernel_h, self.kernel_w, self.c)
        for y in range(self.kernel_h):
            for x in range(self.kernel_w):
                padded[self.reached(y, x)] += windows[:, :, y, x]
        return self.cropped(padded)

    def zeros(self) -> Values:
        """Return a map with its padding, float32."""
        return np.zeros(self._padded_shape, np.float32)

    def cropped(self, padded: Values) -> Values:
        """Return the map without its padding."""
        return padded[self.pad_top : self.pad_top + self.h, self.pad_left : self.pad_left + self.w]

    def reached(self, y: int, x: int) -> tuple[slice, slice]:
        """Return where kernel position (y, x) of all windows lies in the padded map."""
        rows = slice(y, y + self.stride_h * (self.out_h - 1) + 1, self.stride_h)
        columns = slice(x, x + self.stride_w * (self.out_w - 1) + 1, self.stride_w)
        return rows, columns

    def grouped_rows(self, weights: Values) -> Values:
        """Return weights (filters, taps) as (groups, filters of a group, taps)."""
        return weights.reshape(self.groups, self.group_filters, self.taps)

    def grouped_outputs(self, values: Values) -> Values:
        """Return outputs (windows, filters) as (groups, windows, filters of a group)."""
        return values.reshape(self.windows, self.groups, self.group_filters).transpose(1, 0, 2)

    def outputs(self, grouped: Values) -> Values:
        """Return (groups, windows, filters of a group) as (windows, filters)."""
        return grouped.transpose(1, 0, 2).reshape(self.windows, self.filters)


def pool_windows(x: Values, kernel: tuple[int, int]) -> Values:
    """Return the windows of `x` (h, w, c) that lie side by side, as (out_h, out_w, kernel_h·kernel_w, c), row-major."""
    h, w = x.shape[0] // kernel[0], x.shape[1] // kernel[1]
    blocks = x[: h * kernel[0], : w * kernel[1]].reshape(h, kernel[0], w, kernel[1], x.shape[2])
    return blocks.transpose(0, 2, 1, 3, 4).reshape(h, w, kernel[0] * kernel[1], x.shape[2])


def unpool(windows: Values, shape: tuple[int, ...], kernel: tuple[int, int], rest: Any) -> Values:
    """Put windows back into a map of `shape` (h, w, c): the inverse of `pool_windows`; the rest of it is `rest`."""
    h, w, _, c = windows.shape
    blocks = windows.reshape(h, w, kernel[0], kernel[1], c).transpose(0, 2, 1, 3, 4)
    spread = np.full(shape, rest, windows.dtype)
    spread[: h * kernel[0], : w * kernel[1]] = blocks.reshape(h * kernel[0], w * kernel[1], c)
    return spread


def at_maximum(windows: Values, error: Values, rest: Any) -> Values:
    """Return windows (h, w, n, c) of `rest`, but for `error` (h, w, c) at the first maximum of each."""
    spread = np.full(windows.shape, rest, error.dtype)
    np.put_along_axis(spread, windows.argmax(axis=2)[:, :, None], error[:, :, None], axis=2)
    return spread
