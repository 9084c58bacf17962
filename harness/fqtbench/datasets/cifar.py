"""CIFAR-10 and CIFAR-100 in their binary version (https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version").

A record is one label byte (CIFAR-100: two, the coarse label and then the fine one) and 3072 bytes of image: 1024 of
red, 1024 of green, 1024 of blue, each a plane of 32 rows. CIFAR-10 has five training files and one test file of 10 000
records each; CIFAR-100 has one of 50 000 and one of 10 000. The archives unpack to ``cifar-10-batches-bin`` and
``cifar-100-binary``; the folder given may be that one, or the one that holds it.
"""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np

from fqtbench.datasets.dataset import Dataset, Labels, Samples
from fqtbench.datasets.files import read_bounded
from fqtbench.errors import UsageError

LICENCE: Final = "none stated by its authors"
SOURCE: Final = "Krizhevsky 2009, Learning multiple layers of features from tiny images"
CLASSES_10: Final = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_SIDE: Final = 32
_IMAGE_BYTES: Final = 3 * _SIDE * _SIDE


def load_cifar10(root: Path, records: int = 10_000) -> Dataset:
    """Return 50 000 + 10 000 images (32, 32, 3) of 10 classes; `records` is the number in each of the six files.

    Raises UsageError if a file is missing, of another length, or has a label out of range.
    """
    folder = _folder(root, "cifar-10-batches-bin")
    training = [(f"data_batch_{number}.bin", records) for number in range(1, 6)]
    return _load("cifar10", folder, training, ("test_batch.bin", records), 1, CLASSES_10)


def load_cifar100(root: Path, n_train: int = 50_000, n_test: int = 10_000) -> Dataset:
    """Return 50 000 + 10 000 images (32, 32, 3) with their fine labels, 100 classes.

    The names of the classes are those of ``fine_label_names.txt`` if it is there. Raises UsageError as `load_cifar10`.
    """
    folder = _folder(root, "cifar-100-binary")
    names = tuple(str(number) for number in range(100))
    path = folder / "fine_label_names.txt"
    if path.is_file():
        names = tuple(read_bounded(path, 1 << 16).decode(errors="replace").split())
        if len(names) != 100:
            raise UsageError(f"{path}: {len(names)} names, not 100")
    return _load("cifar100", folder, [("train.bin", n_train)], ("test.bin", n_test), 2, names)


def _load(
    name: str,
    folder: Path,
    training: list[tuple[str, int]],
    test: tuple[str, int],
    label_bytes: int,
    classes: tuple[str, ...],
) -> Dataset:
    digest = hashlib.sha256()
    parts = []
    for file, records in [*training, test]:
        content = read_bounded(folder / file)
        digest.update(content)
        parts.append(_parse(folder / file, content, records, label_bytes, len(classes)))
    *train, (test_x, test_y) = parts
    return Dataset(
        name,
        classes,
        np.concatenate([x for x, _ in train]),
        np.concatenate([y for _, y in train]),
        test_x,
        test_y,
        LICENCE,
        f"{name.upper()} ({SOURCE})",
        digest.hexdigest(),
    )


def _parse(
    path: Path, content: bytes, records: int, label_bytes: int, n_classes: int
) -> tuple[Samples, Labels]:
    record_bytes = label_bytes + _IMAGE_BYTES
    if len(content) != records * record_bytes:
        raise UsageError(
            f"{path}: {len(content)} bytes, not the {records * record_bytes} of {records} records of {record_bytes}"
        )
    table = np.frombuffer(content, np.uint8).reshape(records, record_bytes)
    labels = table[:, label_bytes - 1].astype(np.uint16)
    if labels.max() >= n_classes:
        worst = int(labels.argmax())
        raise UsageError(f"{path}: record {worst} has label {labels[worst]}; labels are 0 to {n_classes - 1}")
    planes = table[:, label_bytes:].reshape(records, 3, _SIDE, _SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _folder(root: Path, inner: str) -> Path:
    return root / inner if (root / inner).is_dir() else root
