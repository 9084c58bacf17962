"""Promise: images in published formats come back as written; a broken or hostile file is a sentence."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fqtbench.datasets import Options, cifar, load
from fqtbench.datasets.cifar import load_cifar10, load_cifar100
from fqtbench.datasets.image_folder import load_image_folder
from fqtbench.errors import UsageError

_RECORDS = 4


def _records(
    rng: np.random.Generator, n: int, label_bytes: int, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n, label_bytes) and images (n, 32, 32, 3), all uint8."""
    labels = rng.integers(0, n_classes, (n, label_bytes)).astype(np.uint8)
    return labels, rng.integers(0, 256, (n, 32, 32, 3)).astype(np.uint8)


def _written(labels: np.ndarray, images: np.ndarray) -> bytes:
    """As cs.toronto.edu/~kriz/cifar.html has it: the label bytes, then the red, the green and the blue plane."""
    return b"".join(
        label.tobytes() + b"".join(image[:, :, channel].tobytes() for channel in range(3))
        for label, image in zip(labels, images, strict=True)
    )


@pytest.fixture
def cifar10(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder in CIFAR-10's format, all labels and all images in the order of the files."""
    rng = np.random.default_rng(0)
    parts = [_records(rng, _RECORDS, 1, 10) for _ in range(6)]
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for name, (labels, images) in zip(names, parts, strict=True):
        (tmp_path / name).write_bytes(_written(labels, images))
    return tmp_path, np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def test_cifar10_comes_back_as_written(cifar10: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, labels, images = cifar10
    data = load_cifar10(folder, _RECORDS)
    assert (np.concatenate([data.train_x, data.test_x]) == images).all()
    assert np.concatenate([data.train_y, data.test_y]).tolist() == labels[:, 0].tolist()
    assert len(data.train_x) == 5 * _RECORDS
    assert (data.scale, data.zero_point) == (1 / 255, 0)
    assert data.classes[0] == "airplane"
    assert data.classes[9] == "truck"


def test_the_folder_above_is_understood_too(
    cifar10: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "cifar-10-batches-bin").symlink_to(cifar10[0])
    assert len(load_cifar10(tmp_path / "outer", _RECORDS).test_x) == _RECORDS


def test_cifar100_has_the_fine_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, n in (("train.bin", 6), ("test.bin", 3)):
        labels, images = _records(rng, n, 2, 20)
        labels[:, 1] += 79  # the fine label is the second byte, up to 98
        (tmp_path / name).write_bytes(_written(labels, images))
    data = load_cifar100(tmp_path, 6, 3)
    assert (data.test_x == images).all()
    assert data.test_y.tolist() == labels[:, 1].tolist()
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"fine{number}" for number in range(100)))
    assert load_cifar100(tmp_path, 6, 3).classes[99] == "fine99"
    (tmp_path / "fine_label_names.txt").write_text("one two")
    with pytest.raises(UsageError, match="2 names, not 100"):
        load_cifar100(tmp_path, 6, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-1], "12291 bytes, not the 12292 of 4 records of 3073"),
        (lambda content: content[:-3073], "9219 bytes, not the 12292"),
        (lambda content: b"", "0 bytes"),
        (
            lambda content: content[:3073] + b"\x0a" + content[3074:],
            "record 1 has label 10; labels are 0 to 9",
        ),
    ],
    ids=["cut", "a record less", "empty", "label"],
)
def test_a_broken_cifar_file_is_refused(
    cifar10: tuple[Path, np.ndarray, np.ndarray], change: object, message: str
) -> None:
    path = cifar10[0] / "data_batch_3.bin"
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(UsageError, match=f"data_batch_3.bin: {message}"):
        load_cifar10(cifar10[0], _RECORDS)


def test_a_missing_cifar_file_and_a_cifar_100_in_its_place_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data_batch_1\.bin: can't be read: No such file"):
        load("cifar10", tmp_path)
    with pytest.raises(UsageError, match=r"dataset cifar10: give its folder \(data_batch_1.bin"):
        load("cifar10")
    assert len(cifar.CLASSES_10) == 10


# -- folders of pictures


def _picture(path: Path, value: int | tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(value, int) else "RGB", size, value).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for split, n in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cats", "dogs")):
            for number in range(n):
                _picture(tmp_path / split / name / f"{number}.png", 100 * label + number)
    (tmp_path / "train" / "cats" / ".DS_Store").write_bytes(b"x")
    return tmp_path


def test_grey_pictures_become_one_channel(pictures: Path) -> None:
    data = load("image-folder", pictures, Options(size=4))
    assert data.train_x.shape == (6, 4, 4, 1)
    assert data.train_x[:, 0, 0, 0].tolist() == [0, 1, 2, 100, 101, 102]
    assert data.train_y.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test_y.tolist() == [0, 0, 1, 1]
    assert data.classes == ("cats", "dogs")
    assert load("image-folder", pictures).train_x.shape[1:] == (32, 32, 1)


def test_one_coloured_picture_makes_three_channels(pictures: Path) -> None:
    _picture(pictures / "test" / "dogs" / "9.jpg", (250, 10, 10))
    data = load_image_folder(pictures, 8)
    assert data.test_x.shape == (5, 8, 8, 3)
    assert (np.abs(data.test_x[-1].astype(int) - (250, 10, 10)) <= 3).all()  # JPEG


def test_the_middle_square_is_kept(pictures: Path) -> None:
    wide = np.zeros((4, 12), np.uint8)
    wide[:, 4:8] = np.arange(16).reshape(4, 4) * 10
    Image.fromarray(wide).save(pictures / "test" / "dogs" / "9.png")
    assert (load_image_folder(pictures, 4).test_x[-1, ..., 0] == wide[:, 4:8]).all()


def _chunk(kind: bytes, content: bytes) -> bytes:
    import zlib

    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def _bomb(side: int) -> bytes:
    """A PNG whose header announces side × side pixels."""
    header = side.to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"x") + _chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a picture"),
        (b"no picture at all", "not a picture; PNG, JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),  # no Ghostscript is started
        (_bomb(12_000), "decompression bomb"),
        (_bomb(60_000), "decompression bomb"),
        (_bomb(8), "can't be read as a picture"),
    ],
    ids=["empty", "text", "eps", "bomb", "large bomb", "no pixels"],
)
def test_a_hostile_picture_is_refused(pictures: Path, content: bytes, message: str) -> None:
    (pictures / "train" / "dogs" / "x.png").write_bytes(content)
    with warnings.catch_warnings(), pytest.raises(UsageError, match=f"x.png: .*{message}"):
        warnings.simplefilter("ignore")  # of the caller: ours must come first
        load_image_folder(pictures, 8)


def test_a_picture_cut_short_is_refused(pictures: Path) -> None:
    path = pictures / "train" / "dogs" / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UsageError, match=r"x\.png: can't be read as a picture"):
        load_image_folder(pictures, 8)


def test_a_picture_of_16_bits_is_refused_rather_than_clipped(pictures: Path) -> None:
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(pictures / "train" / "dogs" / "x.png")
    with pytest.raises(UsageError, match=r"x\.png: has more than 8 bits"):
        load_image_folder(pictures, 8)


def test_folders_that_do_not_fit_are_named(pictures: Path, tmp_path: Path) -> None:
    (pictures / "test" / "birds").mkdir()
    with pytest.raises(UsageError, match="birds: no such class in"):
        load_image_folder(pictures)
    with pytest.raises(
        UsageError, match="train: can't be read: No such file or directory; pictures lie in ROOT/train"
    ):
        load_image_folder(tmp_path / "nowhere")
    (tmp_path / "empty" / "train" / "a").mkdir(parents=True)
    (tmp_path / "empty" / "test").mkdir()
    with pytest.raises(UsageError, match="train: no pictures in its folders a"):
        load_image_folder(tmp_path / "empty")
