"""Promise: whatever bytes stand in a file from outside, a loader returns a dataset or says what is wrong with it."""

import gzip
import io
import tarfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fqtbench.datasets import Options, load
from fqtbench.datasets.archive import take_members
from fqtbench.errors import UsageError

_CASES: Final = 150  # mutants of each file

Make = Callable[[Path], tuple[Path, Callable[[], object]]]


def _npz(folder: Path) -> tuple[Path, Callable[[], object]]:
    rng = np.random.default_rng(0)
    path = folder / "mine.npz"
    train, test = rng.normal(size=(6, 4)), rng.normal(size=(2, 4))
    np.savez(path, train_x=train, train_y=np.arange(6) % 2, test_x=test, test_y=np.arange(2))
    return path, lambda: load("npz", path)


def _csv(folder: Path) -> tuple[Path, Callable[[], object]]:
    for name in ("train.csv", "test.csv"):
        (folder / name).write_text("a,label,b\n1,x,4\n3,y,-6e3\n5,x,.8\n")
    return folder / "train.csv", lambda: load("csv", folder)


def _picture(name: str) -> Make:
    def make(folder: Path) -> tuple[Path, Callable[[], object]]:
        pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8)
        for split in ("train", "test"):
            (folder / split / "a").mkdir(parents=True)
            Image.fromarray(pixels).save(folder / split / "a" / f"x.{name}")
        return folder / "train" / "a" / f"x.{name}", lambda: load("image-folder", folder, Options(size=4))

    return make


def _wav(folder: Path) -> tuple[Path, Callable[[], object]]:
    (folder / "no").mkdir()
    for name in ("a.wav", "b.wav"):
        with wave.open(str(folder / "no" / name), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(bytes(range(200)))
    (folder / "testing_list.txt").write_text("no/a.wav")
    (folder / "validation_list.txt").write_text("")
    return folder / "no" / "b.wav", lambda: load("speech-commands", folder)


def _mat(folder: Path) -> tuple[Path, Callable[[], object]]:
    path = folder / "B007.mat"
    savemat(
        path,
        {"X1_DE_time": np.random.default_rng(0).normal(size=(64, 1)), "X1RPM": 1797.0},
        do_compression=True,
    )
    return path, lambda: load("cwru", folder, Options(window=8))


def _daliac(folder: Path) -> tuple[Path, Callable[[], object]]:
    rows = np.random.default_rng(0).normal(size=(20, 24)).round(3)
    text = "\n".join(",".join([*map(str, row), "3"]) for row in rows.tolist())
    for subject in (1, 2):
        (folder / f"dataset_{subject}.txt").write_text(text)
    return folder / "dataset_2.txt", lambda: load("daliac", folder, Options(window=4))


def _wheel(folder: Path) -> tuple[Path, Callable[[], object]]:
    path = folder / "p.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a", b"abc" * 30)
        opened.writestr("b", b"def" * 30)
    return path, lambda: take_members(path, {"b": 90})


def _tarball(folder: Path) -> tuple[Path, Callable[[], object]]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as opened:
        for name in ("a", "b"):
            info = tarfile.TarInfo(name)
            info.size = 90
            opened.addfile(info, io.BytesIO(b"abc" * 30))
    path = folder / "p.tar"
    path.write_bytes(stream.getvalue())
    return path, lambda: take_members(path, {"b": 90})


def _gzipped(folder: Path) -> tuple[Path, Callable[[], object]]:
    plain, _ = _tarball(folder)
    path = folder / "p.tgz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    return path, lambda: take_members(path, {"b": 90})


_MAKERS: Final[dict[str, Make]] = {
    "npz": _npz,
    "csv": _csv,
    "wav": _wav,
    "mat": _mat,
    "daliac": _daliac,
    "wheel": _wheel,
    "tar": _tarball,
    "tgz": _gzipped,
} | {name: _picture(name) for name in ("png", "jpg", "bmp", "ppm", "gif")}


@pytest.mark.parametrize("make", _MAKERS.values(), ids=_MAKERS.keys())
@pytest.mark.filterwarnings("ignore")
def test_a_changed_file_is_a_dataset_or_a_sentence(tmp_path: Path, make: Make) -> None:
    path, loaded = make(tmp_path)
    loaded()
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(_CASES):
        mutant = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            position = int(
                rng.integers(min(len(good), 400)) if rng.random() < 0.7 else rng.integers(len(good))
            )
            match rng.integers(4):
                case 0:
                    mutant[position : position + 1] = bytes([int(rng.integers(256))])
                case 1:
                    del mutant[position : position + int(rng.integers(1, 9))]
                case 2:
                    mutant[position:position] = rng.bytes(int(rng.integers(1, 9)))
                case _:
                    mutant[position : position + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(mutant)
        try:
            loaded()
        except UsageError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > _CASES // 10
