"""Engine noise: is a certain symptom there, in 500 points of a sensor's signal? (Ford, WCCI 2008 challenge.)

Both sets are those of the UCR archive (Dau et al. 2018), in its format: a line per series, the label -1 or 1, then the
values, tab-separated; each series has mean 0 and standard deviation 1 by itself. FordA was recorded in typical
operating conditions; so was FordB's training set, while its test set was recorded with noise.
"""

import hashlib
from pathlib import Path
from typing import Final, Literal

import numpy as np

from fqtbench.datasets.affine import SCALE, ZERO_POINT, Standardization
from fqtbench.datasets.dataset import Dataset, Labels, Samples
from fqtbench.datasets.packages import UCR
from fqtbench.errors import UsageError

CLASSES: Final = ("-1", "1")  # the archive does not say which of them is the symptom
LICENCE: Final = "none stated; not to be redistributed"
SOURCE: Final = "engine noise, UCR time series archive (Dau et al. 2018, arXiv 1810.07758)"
POINTS: Final = 500

_UNIT: Final = Standardization(np.zeros(1), np.ones(1))  # the series are standardized already


def load_ford(which: Literal["A", "B"], root: Path | None) -> Dataset:
    """Return FordA (3601 + 1320 series) or FordB (3636 + 810) as maps (1, 500, 1), in units of σ, clipped at ±4 σ."""
    name = f"ford-{which.lower()}"
    parts, digest = [], hashlib.sha256()
    for split in ("TRAIN", "TEST"):
        file = next(file for file in UCR.files if file.name == f"Ford{which}_{split}.tsv")
        content = UCR.read(name, file, root)
        digest.update(content)
        parts.append(_parse(content, file.name))
    (train_x, train_y), (test_x, test_y) = parts
    return Dataset(
        name,
        CLASSES,
        train_x,
        train_y,
        test_x,
        test_y,
        LICENCE,
        f"{SOURCE}, from {UCR.requirement}",
        digest.hexdigest(),
        scale=SCALE,
        zero_point=ZERO_POINT,
    )


def _parse(content: bytes, name: str) -> tuple[Samples, Labels]:
    try:
        table = np.loadtxt(content.decode("ascii").splitlines(), np.float64, delimiter="\t", ndmin=2)
    except ValueError as error:
        raise UsageError(f"{name}: can't be read: {error}") from error
    values = table[:, 1:].reshape(-1, 1, POINTS, 1)
    return _UNIT.quantize(values), (table[:, 0] > 0).astype(np.uint16)
