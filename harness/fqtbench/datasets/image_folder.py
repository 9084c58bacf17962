"""Your own pictures: ``ROOT/train/CLASS/*`` and ``ROOT/test/CLASS/*``.

Each picture is cut to its middle square and brought to `size` × `size` pixels (bilinear, over the area that a pixel
covers). If all are grey the maps have one channel, else three: red, green, blue. What begins with a dot is left out.
"""

import hashlib
import io
import warnings
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from fqtbench.datasets.dataset import Dataset, Labels, Samples
from fqtbench.datasets.files import read_bounded
from fqtbench.errors import UsageError

DEFAULT_SIZE: Final = 32
_FORMATS: Final = (
    "PNG",
    "JPEG",
    "BMP",
    "PPM",
    "GIF",
)  # pictures alone: Pillow also starts programs for some others
_PICTURE_LIMIT_BYTES: Final = 64 << 20
_DATASET_LIMIT_BYTES: Final = 2 << 30
_GREY_MODES: Final = {"1", "L", "LA"}
_MOST_CLASSES: Final = 1000


def load_image_folder(root: Path, size: int = DEFAULT_SIZE) -> Dataset:
    """Return the pictures as maps (size, size, 1 or 3); the classes are the folders of ``train``, in order.

    Raises UsageError for a missing folder, for a class of ``test`` that ``train`` lacks, and for a file that is no
    picture, or so large that it may be a decompression bomb (Pillow's limit, 89 million pixels).
    """
    classes = tuple(path.name for path in _inside(root / "train") if path.is_dir())
    if not 1 <= len(classes) <= _MOST_CLASSES:
        raise UsageError(
            f"{root / 'train'}: {len(classes)} folders of classes; 1 to {_MOST_CLASSES} are possible"
        )
    for path in _inside(root / "test"):
        if path.is_dir() and path.name not in classes:
            raise UsageError(f"{path}: no such class in {root / 'train'}")
    listed = [_pictures(root / split, classes) for split in ("train", "test")]
    if sum(map(len, listed)) * size * size * 3 > _DATASET_LIMIT_BYTES:
        raise UsageError(
            f"{root}: so many pictures of {size}×{size} take more than {_DATASET_LIMIT_BYTES} bytes"
        )
    digest = hashlib.sha256()
    (train_x, train_y), (test_x, test_y) = (_read(pictures, size, digest) for pictures in listed)
    if _grey(train_x) and _grey(test_x):
        train_x, test_x = train_x[..., :1].copy(), test_x[..., :1].copy()
    return Dataset(
        root.name, classes, train_x, train_y, test_x, test_y, "not stated", str(root), digest.hexdigest()
    )


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UsageError(
            f"{folder}: can't be read: {error.strerror}; pictures lie in ROOT/train/CLASS and ROOT/test/CLASS"
        ) from error


def _pictures(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    found = [
        (path, label)
        for label, name in enumerate(classes)
        if (folder / name).is_dir()
        for path in _inside(folder / name)
    ]
    if not found:
        raise UsageError(f"{folder}: no pictures in its folders {', '.join(classes)}")
    return found


def _read(pictures: list[tuple[Path, int]], size: int, digest: "hashlib._Hash") -> tuple[Samples, Labels]:
    images = np.empty((len(pictures), size, size, 3), np.uint8)
    for index, (path, label) in enumerate(pictures):
        content = read_bounded(path, _PICTURE_LIMIT_BYTES)
        digest.update(f"{label} {len(content)} ".encode() + content)
        images[index] = _decode(path, content, size)
    return images, np.array([label for _, label in pictures], np.uint16)


def _decode(path: Path, content: bytes, size: int) -> Samples:
    """Return (size, size, 3); a grey picture has three equal channels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
                if opened.mode.startswith(("I", "F")):
                    raise UsageError(f"{path}: has more than 8 bits per pixel and channel; convert it to 8")
                side = min(opened.size)
                left, top = (opened.width - side) // 2, (opened.height - side) // 2
                picture = opened.convert("L" if opened.mode in _GREY_MODES else "RGB").convert("RGB")
    except UnidentifiedImageError as error:
        raise UsageError(f"{path}: not a picture; {', '.join(_FORMATS)} are known") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UsageError(f"{path}: too many pixels, it may be a decompression bomb: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise UsageError(f"{path}: can't be read as a picture: {error}") from error
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box), np.uint8)


def _grey(images: Samples) -> bool:
    return bool((images[..., 0] == images[..., 1]).all() and (images[..., 0] == images[..., 2]).all())
