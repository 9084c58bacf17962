"""Splits for sets that come without one."""

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.options import Options
from fqtbench.errors import UsageError

Indices = NDArray[np.int64]


def balanced_split(labels: NDArray[np.integer], n_test_per_class: int, seed: int) -> tuple[Indices, Indices]:
    """Return the indices (n_train,), (n_test,), ascending, with so many test samples of each class, drawn by `seed`."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(labels))
    chosen = [order[labels[order] == number][:n_test_per_class] for number in np.unique(labels)]
    test = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), test), test


def choose_subjects(
    name: str, options: Options, known: NDArray[np.integer], default_test: NDArray[np.integer]
) -> tuple[Indices, Indices]:
    """Return the training and test subjects, of those `known`, that `options` ask for.

    `test_subjects` alone leaves all others for the training, `subjects` alone all others for the test. Raises
    UsageError for an unknown subject, and for one that would be both trained on and tested.
    """
    everybody = np.unique(known).astype(np.int64)
    for key in ("subjects", "test_subjects"):
        for subject in getattr(options, key) or ():
            if subject not in everybody:
                there = ", ".join(map(str, everybody))
                raise UsageError(f"dataset {name}: {key}: no subject {subject}; it has {there}")
    train, test = options.subjects, options.test_subjects
    if test is None:
        tested = np.setdiff1d(everybody, train) if train else np.unique(default_test).astype(np.int64)
    else:
        tested = np.unique(np.array(test, np.int64))
    trained = np.unique(np.array(train, np.int64)) if train else np.setdiff1d(everybody, tested)
    both = np.intersect1d(trained, tested)
    if len(both):
        raise UsageError(f"dataset {name}: subject {both[0]} is both in subjects and in test_subjects")
    if not len(trained) or not len(tested):
        raise UsageError(f"dataset {name}: subjects and test_subjects leave nobody to train on or to test")
    return trained, tested
