"""Promise: datasets are what they say, and a broken file is a sentence, not a crash."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from fqtbench.datasets import load
from fqtbench.datasets.catalogue import _DEBIAN_FASHION
from fqtbench.datasets.idx import read_idx, write_idx
from fqtbench.errors import UsageError

_GZIP_HEADER_BITS = 80  # RFC 1952, 2.3: ten bytes


def test_the_packaged_fashion_mnist_is_balanced() -> None:
    data = load("fashion-mnist-12k")
    assert data.train_x.shape == (10_000, 28, 28, 1)
    assert data.test_x.shape == (2_000, 28, 28, 1)
    assert np.bincount(data.train_y).tolist() == [1000] * 10
    assert np.bincount(data.test_y).tolist() == [200] * 10
    assert len(data.classes) == 10
    assert data.licence == "MIT"


def test_a_subset_is_balanced_and_repeatable() -> None:
    data = load("fashion-mnist-12k")
    part, again, other = data.subset(500, 105, 3), data.subset(500, 105, 3), data.subset(500, 105, 4)
    assert np.bincount(part.train_y).tolist() == [50] * 10
    assert sorted(np.bincount(part.test_y).tolist()) == [10] * 5 + [11] * 5
    assert (part.train_x == again.train_x).all()
    assert not (part.train_x == other.train_x).all()


def test_a_subset_larger_than_the_data_is_refused() -> None:
    with pytest.raises(UsageError, match="1100 samples of class 0 asked for, it has 1000"):
        load("fashion-mnist-12k").subset(11_000, 10)


def test_an_unknown_name_says_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean fashion-mnist"):
        load("fashon-mnist")


def test_an_idx_folder_comes_back_as_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (7, 5, 4)).astype(np.uint8)
    labels = np.arange(7, dtype=np.uint8) % 3
    for stem, values in (("train-images-idx3", images), ("train-labels-idx1", labels),
                         ("t10k-images-idx3", images[:2]), ("t10k-labels-idx1", labels[:2])):  # fmt: skip
        write_idx(tmp_path / f"{stem}-ubyte.gz", values)
    data = load("idx", tmp_path)
    assert (data.train_x[..., 0] == images).all()
    assert data.train_y.tolist() == labels.tolist()
    assert data.classes == ("0", "1", "2")


def test_images_of_an_idx_folder_may_have_channels(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)
    labels = np.arange(6, dtype=np.uint8) % 2
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx4-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels)
    assert (load("idx", tmp_path).train_x == images).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\0", "not an IDX file of unsigned bytes"),
        (b"\0\0\x08\x03\0\0", "header is cut short"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "announces 5 bytes, 3 follow"),
        (b"\0\0\x08\x00", "0 dimensions"),
        (b"\0\0\x08\x41" + 65 * b"\0\0\0\x01" + b"a", "65 dimensions"),
        (b"\0\0\x08\x02\0\0\0\0\0\0\0\x05", "announces no data"),
        (b"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "announces"),
    ],
)
def test_a_broken_idx_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"{re.escape(str(path))}.*{message}"):
        read_idx(path)


def test_a_gzip_file_with_a_flipped_bit_anywhere_is_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.gz"
    write_idx(good, np.random.default_rng(0).integers(0, 256, (40,)).astype(np.uint8))
    content = good.read_bytes()
    path = tmp_path / "broken.gz"
    accepted = 0
    for position in range(8 * len(content)):
        broken = bytearray(content)
        broken[position // 8] ^= 1 << position % 8
        path.write_bytes(broken)
        try:
            values = read_idx(path)
        except UsageError:
            continue
        assert (values == read_idx(good)).all()  # its time stamp, for example
        accepted += 1
    assert accepted <= _GZIP_HEADER_BITS


def test_debians_fashion_mnist_is_found_by_itself() -> None:
    if not _DEBIAN_FASHION.is_dir():
        message = "needs Debian's dataset-fashion-mnist"
        if os.environ.get("FQTBENCH_TOOLS") == "required":
            pytest.fail(message)
        pytest.skip(message)
    data = load("fashion-mnist")
    assert np.bincount(data.train_y).tolist() == [6000] * 10
    assert np.bincount(data.test_y).tolist() == [1000] * 10
    assert data.train_x.shape[1:] == data.test_x.shape[1:] == (28, 28, 1)
    assert (data.scale, data.zero_point) == (1 / 255, 0)


def test_without_the_full_fashion_mnist_the_message_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder .*apt install dataset-fashion-mnist.*--dataset-root"):
        load("fashion-mnist", tmp_path / "nowhere")


def test_a_missing_file_of_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no train-images-idx3-ubyte"):
        load("idx", tmp_path)
