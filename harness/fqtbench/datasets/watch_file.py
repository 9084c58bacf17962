"""The recordings that the PyPI package seglearn carries, read without importing it and without unpickling.

Its ``watch_dataset.npy`` is a pickled dictionary. `pickletools.genops` lists a pickle's operations and executes none;
the arrays are the contents of its long strings. Which is which follows from their order, and that is known because no
file is read but the one whose SHA-256 stands here.
"""

import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.packages import SEGLEARN, read_checked
from fqtbench.errors import UsageError

CLASSES: Final = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
CHANNELS: Final = ("ax", "ay", "az", "wx", "wy", "wz")  # acceleration, angular rate
RATE_HZ: Final = 50
LICENCE: Final = "BSD-3-Clause"
SOURCE: Final = (
    "smartwatch recordings of shoulder exercises (Burns et al. 2018, arXiv 1802.01489), from seglearn 1.2.5"
)

(_FILE,) = SEGLEARN.files
_NPY_HEADER_BYTES: Final = 128
_SHORTEST_ARRAY: Final = 100  # bytes; every other string of the file is a name of at most 16
_HOW: Final = (
    "get it with `fqtbench fetch seglearn-left` or `pip install 'fqtbench[seglearn]'`, or give the folder of its "
    f"{_FILE.name} with --dataset-root"
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
    """Read them from the installed package seglearn or the cache, or from `watch_dataset.npy` in the folder `root`.

    Raises UsageError if there is no such file, or if it isn't byte for byte the one of seglearn 1.2.5.
    """
    path = SEGLEARN.find(_FILE, root)
    if path is None:
        where = (
            f"{root / _FILE.name}: can't be read"
            if root
            else "the recordings of the package seglearn are not here"
        )
        raise UsageError(f"{where}; {_HOW}")
    content = read_checked(path, _FILE, f"that seglearn {SEGLEARN.version} carries, so it isn't read; {_HOW}")
    return _parse(content[_NPY_HEADER_BYTES:], _FILE.sha256)


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
