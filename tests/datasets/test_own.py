"""Promise: arrays and tables of the user's come back as written, floats standardized; hostile ones are refused."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fqtbench.datasets import Options, load
from fqtbench.datasets.npz import load_npz
from fqtbench.datasets.table import load_csv
from fqtbench.errors import UsageError


def _arrays(**changed: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "train_x": rng.integers(0, 256, (6, 5, 4)).astype(np.uint8),
        "train_y": np.arange(6) % 3,
        "test_x": rng.integers(0, 256, (3, 5, 4)).astype(np.uint8),
        "test_y": np.arange(3),
    } | changed


def test_uint8_maps_are_images(tmp_path: Path) -> None:
    arrays = _arrays()
    np.savez_compressed(tmp_path / "mine.npz", **arrays)
    data = load("npz", tmp_path)
    assert data.name == "mine"
    assert (data.train_x[..., 0] == arrays["train_x"]).all()
    assert data.train_y.tolist() == [0, 1, 2, 0, 1, 2]
    assert (data.scale, data.zero_point) == (1 / 255, 0)
    assert load("npz", tmp_path / "mine.npz", Options(rotate=90)).train_x.shape == (6, 4, 5, 1)


@pytest.mark.parametrize(
    ("shape", "maps"), [((7,), (1, 1, 7)), ((20, 3), (1, 20, 3)), ((4, 5, 2), (4, 5, 2))], ids=str
)
def test_floats_are_standardized(tmp_path: Path, shape: tuple[int, ...], maps: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    arrays = {"train_x": rng.normal(5, 3, (50, *shape)), "test_x": rng.normal(5, 3, (10, *shape))}
    arrays["train_x"][..., 0] = 7  # a constant channel
    np.savez(tmp_path / "mine.npz", **arrays, train_y=np.arange(50) % 2, test_y=np.arange(10) % 2)
    data = load_npz(tmp_path)
    assert data.train_x.shape[1:] == maps
    values = (data.train_x.astype(float) - data.zero_point) * data.scale
    assert (values[..., 0] == 0).all()
    exact = (arrays["train_x"] - arrays["train_x"].reshape(-1, shape[-1]).mean(0)) / 3
    assert np.abs(values.reshape(exact.shape)[..., 1] - exact[..., 1]).max() < 0.8
    with pytest.raises(UsageError, match="colour does not apply to it: its samples are no images"):
        load("npz", tmp_path, Options(colour=True))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_x": np.zeros((6, 5), np.uint8)}, r"train_x is uint8 \(6, 5\); samples are"),
        ({"train_x": np.zeros((6, 5, 4), np.int32)}, "train_x is int32"),
        ({"train_x": np.zeros((0, 5, 4), np.uint8)}, "train_x is uint8"),
        ({"test_x": np.zeros((3, 4, 5), np.uint8)}, "samples must be of one kind"),
        ({"train_y": np.arange(5)}, "one for each of the 6 samples"),
        ({"train_y": np.arange(6) - 1}, "labels are integers from 0"),
        ({"train_y": np.arange(6) * 1000}, "label 5000; classes are 0 to 999"),
        ({"train_y": np.arange(6) * 0.5}, "train_y is float64"),
        ({"train_x": np.full((6, 4), np.nan), "test_x": np.zeros((3, 4))}, "infinite or no number"),
        ({"train_x": np.full((6, 4), 1e200), "test_x": np.zeros((3, 4))}, "has a value beyond"),
        ({"train_x": np.array([{}] * 6, object)}, "can't be read as .npz: values of type object"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "mine.npz", **_arrays(**changed))
    with pytest.raises(UsageError, match=f"mine.npz: .*{message}"):
        load_npz(tmp_path)


def _npz(path: Path, train_x: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("train_x.npy", train_x)
        for key, array in _arrays().items():
            if key != "train_x":
                stream = io.BytesIO()
                np.save(stream, array)
                opened.writestr(f"{key}.npy", stream.getvalue())


def _npy(header: bytes, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + content


@pytest.mark.parametrize(
    ("train_x", "message"),
    [
        (b"", "can't be read"),
        (
            _npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000, 1000)}"),
            "announces 1000000000000000 bytes, 0 follow",
        ),
        (
            _npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 2)}", b"1234567"),
            "8 bytes, 7 follow",
        ),
        (
            _npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n."),
            "values of type object",
        ),
        (_npy(b"__import__('os').system('false')"), "can't be read"),
    ],
    ids=["empty", "huge", "cut", "pickle", "code"],
)
def test_a_hostile_npz_is_refused(tmp_path: Path, train_x: bytes, message: str) -> None:
    _npz(tmp_path / "mine.npz", train_x)
    with pytest.raises(UsageError, match=f"mine.npz: .*{message}"):
        load_npz(tmp_path)


def test_an_npz_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fqtbench.datasets.npz.LIMIT_BYTES", 1000)
    np.savez_compressed(tmp_path / "mine.npz", **_arrays(train_x=np.zeros((6, 50, 40), np.uint8)))
    with pytest.raises(UsageError, match="unpacks to more than 1000 bytes"):
        load_npz(tmp_path)


def test_which_npz_must_be_clear(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"0 \.npz files"):
        load_npz(tmp_path)
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"a\.npz: can't be read as \.npz"):
        load_npz(tmp_path)
    (tmp_path / "b.npz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"2 \.npz files"):
        load_npz(tmp_path)
    np.savez(tmp_path / "c.npz", train_x=np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(UsageError, match="no array train_y; it needs train_x, train_y, test_x, test_y"):
        load_npz(tmp_path / "c.npz")


# -- tables

_TRAIN = "a,label,b\n1,10,4\n3,9,6\n5,10,8\n"
_TEST = "a,label,b\n3,9,6\n"


def _tables(folder: Path, train: str = _TRAIN, test: str = _TEST) -> Path:
    (folder / "train.csv").write_text(train)
    (folder / "test.csv").write_text(test)
    return folder


def test_a_table_is_standardized_by_column(tmp_path: Path) -> None:
    data = load("csv", _tables(tmp_path))
    assert data.train_x.shape == (3, 1, 1, 2)
    assert data.classes == ("9", "10")
    assert data.train_y.tolist() == [1, 0, 1]
    assert data.test_x.reshape(-1).tolist() == [128, 128]  # the mean
    step = round(np.sqrt(1.5) / data.scale)
    assert data.train_x[:, 0, 0].tolist() == [[128 - step] * 2, [128, 128], [128 + step] * 2]


def test_labels_may_be_text_and_a_byte_order_mark_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    data = load_csv(_tables(tmp_path, "\ufefflabel,a\nyes,1\n\nno,2\n", "label,a\nno,3\n"))
    assert data.classes == ("no", "yes")
    assert data.train_y.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("", _TEST, "train.csv: its first line must name the columns, one of them label"),
        ("a,b\n1,2\n", _TEST, "one of them label"),
        ("a,label,b\n", _TEST, "train.csv: has no line of data"),
        ("a,label,b\n1,0,4\n1,0\n", _TEST, "train.csv:3: 2 fields, not the 3"),
        ("a,label,b\n1,0,four\n", _TEST, "train.csv:2: could not convert string to float: 'four'"),
        ("a,label,b\n1,0,inf\n", _TEST, "train.csv:2: a value is infinite or no number"),
        ('a,label,b\n1,0,"4\n', _TEST, "train.csv: can't be read as CSV"),
        ("a,label,b\n1,9,1e300\n", _TEST, "has a value beyond"),
        (_TRAIN, "b,label,a\n1,9,2\n", "test.csv: its columns are not those of train.csv"),
        (_TRAIN, "a,label,b\n1,8,2\n", "test.csv: label '8' is not in train.csv"),
    ],
)
def test_a_broken_table_is_named_with_its_line(tmp_path: Path, train: str, test: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_csv(_tables(tmp_path, train, test))


def test_a_table_of_other_bytes_is_refused(tmp_path: Path) -> None:
    _tables(tmp_path)
    (tmp_path / "test.csv").write_bytes(b"\xff\xfe\x00label")
    with pytest.raises(UsageError, match=r"test\.csv: can't be read as CSV"):
        load_csv(tmp_path)
