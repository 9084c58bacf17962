"""Your own arrays: a NumPy ``.npz`` with train_x, train_y, test_x, test_y, read without pickle.

x is uint8 of 3 dimensions (n, height, width) or 4 (…, channels): images, whose bytes stand for 0 to 1. Or it is float:
of 2 dimensions, vectors (n, features); of 3, windows (n, length, channels); of 4, maps (n, height, width, channels).
Floats are standardized per feature or channel by the training part. y is of any integer type, (n,), classes from 0.
"""

import hashlib
import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fqtbench.datasets.affine import SCALE, ZERO_POINT
from fqtbench.datasets.dataset import PIXEL_SCALE, Dataset
from fqtbench.datasets.files import LIMIT_BYTES, read_bounded
from fqtbench.datasets.standardize import standardize
from fqtbench.errors import UsageError

_KEYS: Final = ("train_x", "train_y", "test_x", "test_y")
_HEADER_LIMIT_BYTES: Final = 1 << 16
_MOST_CLASSES: Final = 1000

Array = NDArray[Any]


def load_npz(root: Path) -> Dataset:
    """Return the dataset of the file `root`, or of the only ``.npz`` in the folder `root`.

    Raises UsageError if the file is broken, or if its arrays don't fit each other.
    """
    path = _path(root)
    content = read_bounded(path)
    arrays = _read(path, content)
    train_x, train_y, test_x, test_y = (arrays[key] for key in _KEYS)
    for key, x, y in (("train", train_x, train_y), ("test", test_x, test_y)):
        _check(path, key, x, y)
    if train_x.dtype != test_x.dtype or train_x.shape[1:] != test_x.shape[1:]:
        raise UsageError(
            f"{path}: train_x is {_kind(train_x)}, test_x {_kind(test_x)}; samples must be of one kind"
        )
    largest = int(max(train_y.max(), test_y.max()))
    if largest >= _MOST_CLASSES:
        raise UsageError(f"{path}: label {largest}; classes are 0 to {_MOST_CLASSES - 1}")
    is_image = train_x.dtype == np.uint8
    maps = [_as_maps(train_x), _as_maps(test_x)]
    if not is_image:
        try:
            maps = standardize(*(x.astype(np.float64) for x in maps))
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
    return Dataset(
        path.stem,
        tuple(str(number) for number in range(largest + 1)),
        maps[0],
        train_y.astype(np.uint16),
        maps[1],
        test_y.astype(np.uint16),
        "not stated",
        str(path),
        hashlib.sha256(content).hexdigest(),
        scale=PIXEL_SCALE if is_image else SCALE,
        zero_point=0 if is_image else ZERO_POINT,
    )


def _path(root: Path) -> Path:
    if not root.is_dir():
        return root
    found = sorted(root.glob("*.npz"))
    if len(found) != 1:
        raise UsageError(f"{root}: {len(found)} .npz files; give the one that is meant, or a folder with one")
    return found[0]


def _read(path: Path, content: bytes) -> dict[str, Array]:
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            sizes = {info.filename: info.file_size for info in opened.infolist()}
            for key in _KEYS:
                if f"{key}.npy" not in sizes:
                    raise UsageError(f"{path}: no array {key}; it needs {', '.join(_KEYS)}")
                if sum(sizes[f"{key}.npy"] for key in _KEYS if f"{key}.npy" in sizes) > LIMIT_BYTES:
                    raise UsageError(f"{path}: unpacks to more than {LIMIT_BYTES} bytes")
                with opened.open(f"{key}.npy") as file:
                    arrays[key] = _array(file.read(sizes[f"{key}.npy"]))
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError) as error:
        raise UsageError(f"{path}: can't be read as .npz: {error}") from error
    return arrays


def _array(content: bytes) -> Array:
    """Return the array of an ``.npy``; ValueError unless its header announces exactly the bytes that follow.

    NumPy would allocate what the header says before it finds that the bytes are missing.
    """
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(stream, max_header_size=_HEADER_LIMIT_BYTES)
    if dtype.kind not in "uif":
        raise ValueError(f"values of type {dtype}, neither integers nor floats")
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes != len(content) - stream.tell():
        raise ValueError(f"a header announces {n_bytes} bytes, {len(content) - stream.tell()} follow")
    values = np.frombuffer(content, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if fortran else "C")


def _check(path: Path, part: str, x: Array, y: Array) -> None:
    dimensions = (3, 4) if x.dtype == np.uint8 else (2, 3, 4)
    if (x.dtype != np.uint8 and x.dtype.kind != "f") or x.ndim not in dimensions or 0 in x.shape:
        raise UsageError(
            f"{path}: {part}_x is {_kind(x)}; samples are uint8 (n, height, width[, channels]), or floats (n, "
            "features), (n, length, channels) or (n, height, width, channels)"
        )
    if y.dtype.kind not in "ui" or y.shape != (len(x),) or y.min() < 0:
        raise UsageError(
            f"{path}: {part}_y is {_kind(y)}; labels are integers from 0, one for each of the {len(x)} samples"
        )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise UsageError(f"{path}: {part}_x has values that are infinite or no number")


def _as_maps(x: Array) -> Array:
    """Return (n, height, width, channels)."""
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x if x.ndim == 4 else x[..., None])
    return x.reshape(len(x), *(1,) * (4 - x.ndim), *x.shape[1:])


def _kind(x: Array) -> str:
    return f"{x.dtype} {x.shape}"
