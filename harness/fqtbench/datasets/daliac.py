"""Daily activities with four inertial sensors: DaLiAc (Leutheuser, Schuldhaus, Eskofier 2013, PLoS ONE 8(10) e75196).

From the paper: 19 subjects, 13 activities; sensor nodes at wrist, chest, hip and ankle, each with a three-axis
accelerometer and a three-axis gyroscope, at 204.8 Hz. The set comes as one text file per subject, ``dataset_1.txt`` to
``dataset_19.txt``, a line per sampling instant: 24 numbers and the activity, 1 to 13, in the order of `CLASSES`,
separated by commas (white space is understood, too). The files themselves were not at hand when this was written. The
loader does not depend on which sensor has which of the 24 columns: each is a channel that is standardized by itself.
"""

import hashlib
import re
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.affine import SCALE, ZERO_POINT, Standardization
from fqtbench.datasets.dataset import Dataset, Labels, Samples
from fqtbench.datasets.files import read_bounded
from fqtbench.datasets.options import Options
from fqtbench.datasets.split import choose_subjects
from fqtbench.datasets.standardize import standardization
from fqtbench.datasets.windows import cut
from fqtbench.errors import UsageError

CLASSES: Final = (
    "sitting",
    "lying",
    "standing",
    "washing dishes",
    "vacuuming",
    "sweeping",
    "walking",
    "ascending stairs",
    "descending stairs",
    "treadmill running",
    "bicycling, 50 W",
    "bicycling, 100 W",
    "rope jumping",
)
CHANNELS: Final = 24
WINDOW: Final = 1024  # 5 s
LICENCE: Final = "none stated; for research"
SOURCE: Final = "DaLiAc (Leutheuser, Schuldhaus, Eskofier 2013, doi 10.1371/journal.pone.0075196)"

_FILE: Final = re.compile(r"dataset_(\d{1,3})\.txt")
_FILE_LIMIT_BYTES: Final = 512 << 20
_THINNING: Final = 16  # every 16th row is enough for mean and σ
_SEED: Final = 0

Rows = NDArray[np.float32]


def load_daliac(root: Path, options: Options) -> Dataset:
    """Return windows (1, window, 24), by default 1024 samples, beginning every half window.

    A window lies within one activity's uninterrupted stretch. A quarter of the subjects, drawn once and for all, are
    the test set unless `options` name others; mean and σ are those of the default's training subjects in either case,
    so that a network can go from one choice of subjects to another. Raises UsageError for a broken file or line.
    """
    paths = _subjects(root)
    subjects = np.array(sorted(paths))
    n_test = max(1, len(subjects) // 4)
    held_out = np.random.Generator(np.random.PCG64(_SEED)).permutation(subjects)[:n_test]
    trained, tested = choose_subjects("daliac", options, subjects, held_out)
    digest = hashlib.sha256()
    recordings = {}
    for subject in subjects.tolist():
        content = read_bounded(paths[subject], _FILE_LIMIT_BYTES)
        digest.update(content)
        recordings[subject] = _parse(paths[subject], content)
    default = [recordings[s][0][::_THINNING] for s in subjects.tolist() if s not in held_out]
    standard = standardization(np.concatenate(default).astype(np.float64))
    window = options.window or WINDOW
    step = options.step or max(1, window // 2)
    train_x, train_y = _windows([recordings[s] for s in trained.tolist()], standard, window, step)
    test_x, test_y = _windows([recordings[s] for s in tested.tolist()], standard, window, step)
    return Dataset(
        "daliac",
        CLASSES,
        train_x,
        train_y,
        test_x,
        test_y,
        LICENCE,
        SOURCE,
        digest.hexdigest(),
        scale=SCALE,
        zero_point=ZERO_POINT,
    )


def _subjects(root: Path) -> dict[int, Path]:
    found = {
        int(match[1]): path for path in root.glob("dataset_*.txt") if (match := _FILE.fullmatch(path.name))
    }
    if len(found) < 2:
        raise UsageError(f"{root}: {len(found)} files dataset_N.txt, one per subject; at least 2 are needed")
    return found


def _parse(path: Path, content: bytes) -> tuple[Rows, NDArray[np.int64]]:
    """Return the sensors' values (n, 24) and the activities 0 to 12, (n,)."""
    try:
        lines = content.decode("ascii").splitlines()
        if not lines:
            raise ValueError("it is empty")
        separator = "," if "," in lines[0] else None
        table = np.loadtxt(lines, np.float32, delimiter=separator, ndmin=2)
    except ValueError as error:
        raise UsageError(f"{path}: can't be read: {error}") from error
    if table.shape[1] != CHANNELS + 1 or not np.isfinite(table).all():
        raise UsageError(
            f"{path}: {table.shape[1]} columns; needs {CHANNELS} finite numbers and the activity in each line"
        )
    labels = table[:, -1]
    wrong = np.flatnonzero((labels < 1) | (labels > len(CLASSES)) | (labels != np.rint(labels)))
    if len(wrong):
        raise UsageError(
            f"{path}: activity {labels[wrong[0]]:g} in row {wrong[0] + 1}; they are 1 to {len(CLASSES)}"
        )
    return table[:, :-1].copy(), labels.astype(np.int64) - 1


def _windows(
    recordings: list[tuple[Rows, NDArray[np.int64]]], standard: Standardization, window: int, step: int
) -> tuple[Samples, Labels]:
    samples, labels = [], []
    for values, activities in recordings:
        quantized = standard.quantize(values.astype(np.float64))
        borders = [0, *(np.flatnonzero(np.diff(activities)) + 1).tolist(), len(activities)]
        for begin, end in pairwise(borders):
            samples.append(cut(quantized[begin:end], window, step))
            labels.append(np.full(len(samples[-1]), activities[begin], np.uint16))
    if not sum(map(len, samples)):
        raise UsageError(f"dataset daliac: no activity lasts for a window of {window} samples")
    return np.concatenate(samples), np.concatenate(labels)
