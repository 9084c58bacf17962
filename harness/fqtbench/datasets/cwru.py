"""Bearing vibrations of Case Western Reserve University's Bearing Data Center, as its MATLAB files.

A file holds one recording, at 12 or 48 kHz; the accelerometer at the drive end is the array whose name ends in
``_DE_time`` (``X105_DE_time``), (n, 1) float64. A few files hold two such arrays: then it is the one with the largest
number that also stands in the file's name, else the first.

The class is the fault and its diameter in mils, taken from the name of the file, or else of the nearest folder, that
has one of ``Normal``, ``B007``, ``IR014``, ``OR021`` … (any three digits, upper or lower case) at its beginning or
after a character that is no letter: ``12k_Drive_End_B007_0_118.mat`` and ``IR007/105.mat`` are both understood. The
position of an outer-race fault (``@6``) and the motor's load don't count. Files as the centre names them, bare numbers,
must be put into such folders.
"""

import hashlib
import io
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.affine import SCALE, ZERO_POINT
from fqtbench.datasets.dataset import Dataset
from fqtbench.datasets.files import read_bounded
from fqtbench.datasets.options import Options
from fqtbench.datasets.standardize import standardization
from fqtbench.datasets.windows import cut
from fqtbench.errors import UsageError

LICENCE: Final = "none stated"
SOURCE: Final = "Case Western Reserve University Bearing Data Center, drive-end accelerometer"
WINDOW: Final = 1024

_TEST_SHARE: Final = 4  # the last quarter of each recording
_CLASS: Final = re.compile(r"(?<![A-Za-z])(normal|(?:B|IR|OR)\d{3})(?!\d)", re.IGNORECASE)
_FILE_LIMIT_BYTES: Final = 64 << 20
_MOST_VALUES: Final = 16 << 20
_MOST_FILES: Final = 1000
_LARGEST_G: Final = 1e9


def load_cwru(root: Path, options: Options) -> Dataset:
    """Return windows (1, window, 1), by default 1024 samples, beginning every half window.

    Of each recording the first three quarters are trained on, the last quarter is tested; no window crosses that
    border. Values are standardized by the training parts. Raises UsageError without SciPy, for a file without a class
    in its name, and for one that is broken.
    """
    if find_spec("scipy") is None:
        raise UsageError("dataset cwru: .mat files are read with SciPy: pip install 'fqtbench[mat]'")
    paths = sorted(path for path in root.rglob("*.mat") if path.is_file())
    if not 1 <= len(paths) <= _MOST_FILES:
        raise UsageError(f"{root}: {len(paths)} .mat files below it; 1 to {_MOST_FILES} are possible")
    window = options.window or WINDOW
    step = options.step or max(1, window // 2)
    faults = [class_of(path.relative_to(root)) for path in paths]
    classes = tuple(sorted(set(faults), key=lambda fault: (fault != "normal", fault)))
    digest = hashlib.sha256()
    signals = []
    for path in paths:
        content = read_bounded(path, _FILE_LIMIT_BYTES)
        digest.update(content)
        signals.append(_signal(path, content))
        if len(signals[-1]) < _TEST_SHARE * window:
            raise UsageError(
                f"{path}: {len(signals[-1])} samples; {_TEST_SHARE} windows of {window} are needed"
            )
    borders = [len(signal) - len(signal) // _TEST_SHARE for signal in signals]
    standard = standardization(
        np.concatenate([signal[:border] for signal, border in zip(signals, borders, strict=True)])
    )
    parts: tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]] = ([], [])
    labels: tuple[list[int], list[int]] = ([], [])
    for signal, border, fault in zip(signals, borders, faults, strict=True):
        quantized = standard.quantize(signal)
        for number, part in enumerate((quantized[:border], quantized[border:])):
            parts[number].append(cut(part, window, step))
            labels[number].extend([classes.index(fault)] * len(parts[number][-1]))
    return Dataset(
        "cwru",
        classes,
        np.concatenate(parts[0]),
        np.array(labels[0], np.uint16),
        np.concatenate(parts[1]),
        np.array(labels[1], np.uint16),
        LICENCE,
        SOURCE,
        digest.hexdigest(),
        scale=SCALE,
        zero_point=ZERO_POINT,
    )


def class_of(path: Path) -> str:
    """Return ``normal``, ``B007`` …: from the file's name, else from the nearest folder's; UsageError without one."""
    for part in (path.stem, *reversed(path.parts[:-1])):
        found = _CLASS.search(part)
        if found:
            return "normal" if found[1].lower() == "normal" else found[1].upper()
    raise UsageError(
        f"dataset cwru: {path}: no class in its name or its folders'; one is Normal, B007, IR014, OR021 …"
    )


def _signal(path: Path, content: bytes) -> NDArray[np.float64]:
    """Return the drive end's samples, (n, 1)."""
    from scipy.io import loadmat, whosmat  # noqa: PLC0415 - an extra

    try:
        listed = {str(name): tuple(shape) for name, shape, _ in whosmat(io.BytesIO(content))}
        name = _drive_end(path, [name for name in listed if name.endswith("_DE_time")])
        if np.prod(listed[name], dtype=object) > _MOST_VALUES:
            raise UsageError(f"{path}: {name} announces {listed[name]} values, more than {_MOST_VALUES}")
        values = loadmat(io.BytesIO(content), variable_names=[name])[name]
    except UsageError:
        raise
    except Exception as error:  # SciPy's reader raises whatever its parser stumbles over
        raise UsageError(f"{path}: can't be read as a MATLAB file (level 5): {error}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or not _is_sane(values):
        raise UsageError(f"{path}: {name} is no array of finite numbers")
    return values.astype(np.float64).reshape(-1, 1)


def _is_sane(values: NDArray[np.float64]) -> bool:
    return bool(values.size and np.isfinite(values).all() and np.abs(values).max() < _LARGEST_G)


def _drive_end(path: Path, names: list[str]) -> str:
    if not names:
        raise UsageError(f"{path}: no array whose name ends in _DE_time")
    numbers = set(re.findall(r"\d+", path.stem))
    named = [name for name in names if {part.lstrip("0") for part in re.findall(r"\d+", name)} & numbers]
    return max(named) if named else names[0]
