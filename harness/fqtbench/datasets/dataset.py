"""A dataset in memory, and class-balanced parts of it."""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import UsageError

Samples = NDArray[np.uint8]  # (n, h, w, c)
Labels = NDArray[np.uint16]  # (n,)

PIXEL_SCALE: Final = 1 / 255  # pixels 0..255 stand for 0..1


@dataclass(frozen=True)
class Dataset:
    """Training and test samples with their labels, and where they come from.

    A byte q of a sample stands for (q − zero_point)·scale: 0..1 for images; what that is for other sets, their loader
    says. `sha256` is that of the files read; `licence` is an SPDX identifier, or says that none is stated.
    """

    name: str
    classes: tuple[str, ...]
    train_x: Samples
    train_y: Labels
    test_x: Samples
    test_y: Labels
    licence: str
    source: str
    sha256: str
    scale: float = PIXEL_SCALE
    zero_point: int = 0

    def subset(self, n_train: int | None, n_test: int | None, seed: int = 0) -> Self:
        """Return a part with equally many samples of each class, drawn by `seed`; None takes all of a split.

        Raises UsageError if a split holds fewer samples of some class than that takes.
        """
        train = _balanced(self.train_y, n_train, len(self.classes), seed, f"{self.name}, training split")
        test = _balanced(self.test_y, n_test, len(self.classes), seed + 1, f"{self.name}, test split")
        return replace(
            self,
            train_x=self.train_x[train],
            train_y=self.train_y[train],
            test_x=self.test_x[test],
            test_y=self.test_y[test],
        )


def _balanced(labels: Labels, n: int | None, n_classes: int, seed: int, what: str) -> NDArray[np.int64]:
    if n is None:
        return np.arange(len(labels))
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(labels))
    chosen = []
    for number in range(n_classes):
        wanted = n // n_classes + (number < n % n_classes)
        found = order[labels[order] == number][:wanted]
        if len(found) < wanted:
            raise UsageError(f"{what}: {wanted} samples of class {number} asked for, it has {len(found)}")
        chosen.append(found)
    return np.sort(np.concatenate(chosen))
