"""Your own table: ``train.csv`` and ``test.csv`` of numeric features and a column ``label``.

The first line names the columns, the same in both files; fields are separated by commas, as RFC 4180 has it. Labels
are any text; the classes are those of the training file, in order (of their numbers, if all are integers). A sample is
a map (1, 1, features), standardized per column by the training file.
"""

import csv
import hashlib
import io
import math
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.affine import SCALE, ZERO_POINT
from fqtbench.datasets.dataset import Dataset
from fqtbench.datasets.files import read_bounded
from fqtbench.datasets.standardize import standardize
from fqtbench.errors import UsageError

_LABEL: Final = "label"
_MOST_COLUMNS: Final = 65_536
_MOST_CLASSES: Final = 1000


def load_csv(root: Path) -> Dataset:
    """Return the dataset of the folder `root`; UsageError names file and line of what is wrong."""
    digest = hashlib.sha256()
    parts = []
    for name in ("train.csv", "test.csv"):
        content = read_bounded(root / name, 256 << 20)
        digest.update(content)
        parts.append(_parse(root / name, content))
    (columns, train, labels), (test_columns, test, test_labels) = parts
    if columns != test_columns:
        raise UsageError(f"{root / 'test.csv'}: its columns are not those of train.csv, in the same order")
    classes = _classes(labels)
    if len(classes) > _MOST_CLASSES:
        raise UsageError(
            f"{root / 'train.csv'}: {len(classes)} different labels; the limit is {_MOST_CLASSES}"
        )
    strange = sorted(set(test_labels) - set(classes))
    if strange:
        raise UsageError(f"{root / 'test.csv'}: label {strange[0]!r} is not in train.csv")
    try:
        train_x, test_x = standardize(train, test)
    except UsageError as error:
        raise UsageError(f"{root}: {error}") from error
    return Dataset(
        root.name,
        classes,
        train_x,
        np.array([classes.index(label) for label in labels], np.uint16),
        test_x,
        np.array([classes.index(label) for label in test_labels], np.uint16),
        "not stated",
        str(root),
        digest.hexdigest(),
        scale=SCALE,
        zero_point=ZERO_POINT,
    )


def _parse(path: Path, content: bytes) -> tuple[list[str], NDArray[np.float64], list[str]]:
    """Return the names of the features, their values (n, 1, 1, features), and the labels."""
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = next(reader, [])
        if header.count(_LABEL) != 1 or not 2 <= len(header) <= _MOST_COLUMNS:
            raise UsageError(f"{path}: its first line must name the columns, one of them {_LABEL}")
        at = header.index(_LABEL)
        rows, labels = [], []
        for row in reader:
            if not row:
                continue
            rows.append(_numbers(path, reader.line_num, header, row[:at] + row[at + 1 :], len(row)))
            labels.append(row[at].strip())
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read as CSV: {error}") from error
    if not rows:
        raise UsageError(f"{path}: has no line of data")
    values = np.array(rows)
    return header[:at] + header[at + 1 :], values.reshape(len(rows), 1, 1, -1), labels


def _numbers(path: Path, line: int, header: list[str], fields: list[str], n_fields: int) -> list[float]:
    if n_fields != len(header):
        raise UsageError(f"{path}:{line}: {n_fields} fields, not the {len(header)} that the first line names")
    try:
        numbers = [float(field) for field in fields]
    except ValueError as error:
        raise UsageError(f"{path}:{line}: {error}") from error
    if not all(math.isfinite(number) for number in numbers):
        raise UsageError(f"{path}:{line}: a value is infinite or no number")
    return numbers


def _classes(labels: list[str]) -> tuple[str, ...]:
    found = set(labels)
    if all(len(label) < 19 and label.removeprefix("-").isdecimal() for label in found):
        return tuple(sorted(found, key=lambda label: (int(label), label)))
    return tuple(sorted(found))
