"""Spoken words: Speech Commands (Warden 2018, arXiv 1804.03209), as its archive unpacks.

A folder per word with WAV files (RIFF, PCM, 16 bit, one channel, 16 kHz, at most a second), named
``<speaker>_nohash_<number>.wav``; ``testing_list.txt`` and ``validation_list.txt`` name files, a line each,
``word/file.wav``. Folders that begin with an underscore (``_background_noise_``) hold no words.
"""

import hashlib
import io
import struct
import wave
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.affine import SCALE, ZERO_POINT
from fqtbench.datasets.dataset import Dataset
from fqtbench.datasets.files import read_bounded
from fqtbench.datasets.mfcc import COEFFICIENTS, FRACTION_BITS, RATE_HZ, mfcc, n_frames
from fqtbench.datasets.standardize import standardization
from fqtbench.errors import UsageError

LICENCE: Final = "CC-BY-4.0"
SOURCE: Final = "Speech Commands (Warden 2018, arXiv 1804.03209), MFCCs"
FRAMES: Final = n_frames(RATE_HZ)

_WAV_LIMIT_BYTES: Final = 1 << 20
_LIST_LIMIT_BYTES: Final = 16 << 20
_CHUNK: Final = 256  # recordings at once
_MOST_CLASSES: Final = 1000

Waves = NDArray[np.int16]


def load_speech_commands(root: Path) -> Dataset:
    """Return a second of each recording as a map (49, 10, 1): MFCCs, frame by frame.

    Shorter recordings are followed by silence, longer ones cut. ``testing_list.txt`` is the test set, what is in
    neither list the training set. Each coefficient is standardized by the training set, over all frames. Raises
    UsageError for a file that is no such WAV, and for one that a list names and that isn't there.
    """
    digest = hashlib.sha256()
    listed = []
    for name in ("testing_list.txt", "validation_list.txt"):
        content = read_bounded(root / name, _LIST_LIMIT_BYTES)
        digest.update(content)
        listed.append(
            {line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()}
        )
    testing, validation = listed
    classes, files = _files(root)
    missing = sorted((testing | validation) - files.keys())
    if missing:
        raise UsageError(
            f"{root}: {missing[0]!r:.80} is in a list but not here; is the archive unpacked completely?"
        )
    train = [name for name in files if name not in testing and name not in validation]
    test = [name for name in files if name in testing]
    if not train or not test:
        raise UsageError(f"{root}: {len(train)} training and {len(test)} test recordings; both are needed")
    train_c = _coefficients(root, train, digest)
    test_c = _coefficients(root, test, digest)
    standard = standardization(train_c.reshape(-1, COEFFICIENTS) / 2**FRACTION_BITS)
    train_x, test_x = (standard.quantize(c / 2**FRACTION_BITS)[..., None] for c in (train_c, test_c))
    return Dataset(
        "speech-commands",
        classes,
        train_x,
        np.array([files[name] for name in train], np.uint16),
        test_x,
        np.array([files[name] for name in test], np.uint16),
        LICENCE,
        SOURCE,
        digest.hexdigest(),
        scale=SCALE,
        zero_point=ZERO_POINT,
    )


def _files(root: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the words, and of each recording ``word/file.wav`` the index of its word, in order of their names."""
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] not in "._")
        words = {
            folder.name: sorted(path.name for path in folder.iterdir() if path.suffix == ".wav")
            for folder in folders
        }
    except OSError as error:
        raise UsageError(f"{root}: can't be read: {error.strerror}") from error
    if not 1 <= len(words) <= _MOST_CLASSES:
        raise UsageError(f"{root}: {len(words)} folders of words; 1 to {_MOST_CLASSES} are possible")
    files = {f"{word}/{name}": label for label, (word, names) in enumerate(words.items()) for name in names}
    return tuple(words), files


def _coefficients(root: Path, names: list[str], digest: "hashlib._Hash") -> NDArray[np.int32]:
    """Return (n, 49, 10)."""
    found = np.empty((len(names), FRAMES, COEFFICIENTS), np.int32)
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        found[start : start + len(chunk)] = mfcc(np.stack([_read(root / name, digest) for name in chunk]))
    return found


def _read(path: Path, digest: "hashlib._Hash") -> Waves:
    content = read_bounded(path, _WAV_LIMIT_BYTES)
    digest.update(content)
    try:
        with wave.open(io.BytesIO(content)) as opened:
            form = (opened.getnchannels(), opened.getsampwidth(), opened.getframerate())
            data = opened.readframes(RATE_HZ)
            announced = min(opened.getnframes(), RATE_HZ)
    except (wave.Error, EOFError, OSError, ValueError, RuntimeError, struct.error) as error:
        raise UsageError(f"{path}: can't be read as a WAV file: {str(error) or 'it is cut short'}") from error
    if form != (1, 2, RATE_HZ):
        raise UsageError(
            f"{path}: {form[0]} channels of {8 * form[1]} bits at {form[2]} Hz, not one of 16 bits at {RATE_HZ} Hz"
        )
    if len(data) != 2 * announced:
        raise UsageError(
            f"{path}: cut short: {len(data)} bytes of sound, its header announces {2 * announced}"
        )
    samples = np.zeros(RATE_HZ, np.int16)
    samples[: len(data) // 2] = np.frombuffer(data, "<i2")
    return samples
