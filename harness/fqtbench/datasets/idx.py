"""The IDX format of the MNIST family (LeCun, Cortes, Burges: "The MNIST database", section "File formats")."""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.dataset import Dataset
from fqtbench.errors import UsageError

_UNSIGNED_BYTE: Final = 0x08
_LIMIT_BYTES: Final = 1 << 30  # a larger file is no dataset for a microcontroller, and may be a gzip bomb
_MOST_DIMENSIONS: Final = 4
_FILES: Final = (  # of each the names it may have; idx4: images (N, height, width, channels)
    ("train-images-idx3-ubyte", "train-images-idx4-ubyte"),
    ("train-labels-idx1-ubyte",),
    ("t10k-images-idx3-ubyte", "t10k-images-idx4-ubyte"),
    ("t10k-labels-idx1-ubyte",),
)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzip-compressed if its name ends so. UsageError if it isn't one."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            data = file.read(_LIMIT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: can't be read as an IDX file: {error}") from error
    if len(data) < 4 or data[:3] != bytes((0, 0, _UNSIGNED_BYTE)):
        raise UsageError(f"{path}: not an IDX file of unsigned bytes")
    start = 4 + 4 * data[3]
    if not 1 <= data[3] <= _MOST_DIMENSIONS:
        raise UsageError(f"{path}: {data[3]} dimensions; an IDX file of labels has 1, of images 3")
    if len(data) < start:
        raise UsageError(f"{path}: its IDX header is cut short")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    n_bytes = math.prod(shape)
    if n_bytes == 0:
        raise UsageError(f"{path}: its header announces no data: shape {shape}")
    if n_bytes != len(data) - start:
        raise UsageError(f"{path}: its header announces {n_bytes} bytes, {len(data) - start} follow")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    """Write `values` as a gzip-compressed IDX file whose bytes depend on nothing else."""
    header = bytes((0, 0, _UNSIGNED_BYTE, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(header + values.tobytes())


def load_idx_folder(
    folder: Path, name: str, classes: tuple[str, ...] | None, licence: str, source: str
) -> Dataset:
    """Load the four files of an MNIST-format folder, plain or ``.gz``; images of 3 dimensions get one channel."""
    paths = [_find(folder, stems) for stems in _FILES]
    train_x, train_y, test_x, test_y = (read_idx(path) for path in paths)
    for images, labels, path in ((train_x, train_y, paths[0]), (test_x, test_y, paths[2])):
        if images.ndim not in (3, 4) or labels.ndim != 1 or len(images) != len(labels):
            raise UsageError(
                f"{path}: images of shape {images.shape} don't go with labels of shape {labels.shape}"
            )
    largest = int(max(train_y.max(initial=0), test_y.max(initial=0)))
    names = classes or tuple(str(number) for number in range(largest + 1))
    if largest >= len(names):
        raise UsageError(f"{folder}: label {largest}, but {name} has {len(names)} classes")
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return Dataset(
        name,
        names,
        _with_channels(train_x),
        train_y.astype(np.uint16),
        _with_channels(test_x),
        test_y.astype(np.uint16),
        licence,
        source,
        digest.hexdigest(),
    )


def _with_channels(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (N, H, W, C)."""
    return images if images.ndim == 4 else images[..., None]


def _find(folder: Path, stems: tuple[str, ...]) -> Path:
    for stem in stems:
        for path in (folder / stem, folder / f"{stem}.gz"):
            if path.is_file():
                return path
    needed = ", ".join(names[0] for names in _FILES)
    raise UsageError(f"{folder}: no {stems[0]} or {stems[0]}.gz; an MNIST-format folder has {needed}")
