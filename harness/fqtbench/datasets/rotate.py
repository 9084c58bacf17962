"""Images turned about their centre, in integers, so that every host gets the same bytes."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.dataset import Samples
from fqtbench.datasets.integers import cos_sin

_BITS: Final = 16  # of the fraction of cosine and sine
_WEIGHT_BITS: Final = 8  # of an interpolation weight along one axis
_CHUNK: Final = 2048  # images at once


def rotate(images: Samples, degrees: float, background: int = 0) -> Samples:
    """Return `images` (n, h, w, c) turned counter-clockwise by `degrees`.

    Multiples of 90 are exact; odd ones swap height and width. Other angles keep the size: each pixel is interpolated
    bilinearly with weights of 1/256, rounded to nearest; what comes from outside the image is `background`.
    """
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(images, int(degrees // 90) % 4, axes=(1, 2)))
    rows, columns, weights = _sources(images.shape[1], images.shape[2], degrees)
    turned = [
        _interpolate(images[start : start + _CHUNK], rows, columns, weights, background)
        for start in range(0, len(images), _CHUNK)
    ]
    return np.concatenate(turned) if turned else images


def _sources(
    height: int, width: int, degrees: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of the upper left neighbour of each pixel's origin, (h, w), and weights (4, h, w)."""
    cosine, sine = cos_sin(degrees, _BITS)
    y = 2 * np.arange(height, dtype=np.int64)[:, None] - (height - 1)  # half pixels from the centre
    x = 2 * np.arange(width, dtype=np.int64)[None, :] - (width - 1)
    shift = _BITS + 1 - _WEIGHT_BITS  # from half pixels times 2^16 to pixels times 2^8
    half = 1 << (shift - 1)
    source_y = (cosine * y + sine * x + ((height - 1) << _BITS) + half) >> shift
    source_x = (cosine * x - sine * y + ((width - 1) << _BITS) + half) >> shift
    one = 1 << _WEIGHT_BITS
    part_y, part_x = source_y & (one - 1), source_x & (one - 1)
    weights = np.stack(
        [(one - part_y) * (one - part_x), (one - part_y) * part_x, part_y * (one - part_x), part_y * part_x]
    )
    return source_y >> _WEIGHT_BITS, source_x >> _WEIGHT_BITS, weights


def _interpolate(
    images: Samples,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weights: NDArray[np.int64],
    background: int,
) -> Samples:
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=background)
    total = np.full(images.shape, 1 << (2 * _WEIGHT_BITS - 1), np.int32)
    for number, weight in enumerate(weights):
        row = (rows + number // 2 + 1).clip(0, height + 1)
        column = (columns + number % 2 + 1).clip(0, width + 1)
        total += padded[:, row, column] * weight[None, ..., None].astype(np.int32)
    return (total >> (2 * _WEIGHT_BITS)).astype(np.uint8)
