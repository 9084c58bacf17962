"""The recordings that the PyPI package seglearn carries, read without importing it and without unpickling.

Its ``watch_dataset.npy`` is a pickled dictionary. `pickletools.genops` lists a pickle's operations and executes none;
the arrays are the contents of its long strings. Which is which follows from their order, and that is known because no
file is read but the one whose SHA-256 stands here.
"""

import hashlib
import pickletools
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import UsageError

CLASSES: Final = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
CHANNELS: Final = ("ax", "ay", "az", "wx", "wy", "wz")  # acceleration, angular rate
RATE_HZ: Final = 50
LICENCE: Final = "BSD-3-Clause"
SOURCE: Final = (
    "smartwatch recordings of shoulder exercises (Burns et al. 2018, arXiv 1802.01489), from seglearn 1.2.5"
)

_FILE: Final = "watch_dataset.npy"
_BYTES: Final = 18_118_091
_SHA256: Final = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
_NPY_HEADER_BYTES: Final = 128
_SHORTEST_ARRAY: Final = 100  # bytes; every other string of the file is a name of at most 16
_HOW: Final = (
    "install it with `pip install 'fqtbench[seglearn]'` (or, without its own dependencies, `pip install --no-deps "
    f"seglearn==1.2.5`), or give the folder of its {_FILE} with --dataset-root"
)


@dataclass(frozen=True)
class Recordings:
    """One entry per recording: about half a minute in which one subject repeats one exercise with one arm."""

    values: tuple[NDArray[np.float64], ...]  # (n, 6) each: CHANNELS, in the sensor's units
    exercise: NDArray[np.int64]  # (n recordings,), index into CLASSES
    subject: NDArray[np.int64]  # 1..10
    right: NDArray[np.bool_]  # the arm
    sha256: str


def read_recordings(root: Path | None = None) -> Recordings:
    """Read them from the installed package seglearn, or from `watch_dataset.npy` in the folder `root`.

    Raises UsageError if there is no such file, or if it isn't byte for byte the one of seglearn 1.2.5.
    """
    path = _installed() if root is None else root / _FILE
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size == _BYTES else b""
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}; {_HOW}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != _SHA256:
        raise UsageError(
            f"{path}: not the {_BYTES} bytes that seglearn 1.2.5 carries, so it isn't read; {_HOW}"
        )
    return _parse(data[_NPY_HEADER_BYTES:], digest)


def _installed() -> Path:
    try:
        found = metadata.distribution("seglearn")
    except metadata.PackageNotFoundError as error:
        raise UsageError(f"the recordings of the package seglearn are not here; {_HOW}") from error
    return Path(str(found.locate_file(f"seglearn/data/{_FILE}")))


def _parse(pickled: bytes, sha256: str) -> Recordings:
    strings = (arg for opcode, arg, _ in pickletools.genops(pickled) if opcode.name == "BINUNICODE")
    arrays = [text.encode("latin-1") for text in strings if text is not None and len(text) > _SHORTEST_ARRAY]
    *values, exercise, subject, side = arrays
    return Recordings(
        tuple(np.frombuffer(array, "<f8").reshape(len(CHANNELS), -1).T for array in values),  # Fortran order
        np.frombuffer(exercise, "<i8").astype(np.int64),
        np.frombuffer(subject, "<i8").astype(np.int64),
        np.frombuffer(side, "<f8") == 1,
        sha256,
    )
