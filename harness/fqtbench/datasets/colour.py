"""Grey images over coloured procedural textures, in the manner of MNIST-M.

MNIST-M (Ganin et al. 2016, "Domain-adversarial training of neural networks") blends each MNIST digit with a patch of a
colour photograph of BSDS500: |patch − digit| per channel. No package registry carries those photographs, so textures
stand in for them: two colours mixed by noise of three octaves, and noise of its own for each channel. Integer
arithmetic only, so that every host gets the same bytes.
"""

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.dataset import Samples
from fqtbench.errors import UsageError

SIDE: Final = 32
_CHUNK: Final = 1024  # images at once
_CELLS: Final = ((16, 4), (8, 2), (4, 2))  # pixels per cell of noise, and its weight of 8
_MIX, _TINT, _COLOURS = 0, 1, 4  # what random numbers are for; tints take one per channel

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]


def colour(images: Samples, seed: int) -> Samples:
    """Return grey `images` (n, h, w, 1), h and w at most 32, as (n, 32, 32, 3).

    Smaller images are centred on 0. An image's texture depends on `seed` and on its own bytes, not on its place: the
    same image gets the same texture in every part of a dataset.
    """
    if images.shape[3] != 1 or max(images.shape[1:3]) > SIDE:
        raise UsageError(f"colour: needs grey images of at most {SIDE}×{SIDE}, not of {images.shape[1:]}")
    grey = _centred(images)
    chunks = [grey[start : start + _CHUNK] for start in range(0, len(grey), _CHUNK)]
    blended = [
        np.maximum(ground, chunk) - np.minimum(ground, chunk)
        for ground, chunk in ((textures(_keys(chunk, seed)), chunk) for chunk in chunks)
    ]
    return np.concatenate(blended) if blended else np.zeros((0, SIDE, SIDE, 3), np.uint8)


def textures(keys: Words) -> Samples:
    """Return a texture (n, 32, 32, 3) for each of the random numbers `keys` (n,)."""
    ends = np.stack([_random(keys, _COLOURS, number) for number in range(6)], axis=1).astype(np.int64) & 255
    one, other = ends[:, None, None, :3], ends[:, None, None, 3:]  # (n, 1, 1, 3)
    mixed = ((_noise(keys, _MIX) - 128) * 3 + 128).clip(0, 255)[..., None]  # steep: patches with edges
    base: Numbers = (one * (255 - mixed) + other * mixed + 127) // 255
    tint: Numbers = np.stack([_noise(keys, _TINT + channel) for channel in range(3)], axis=-1)
    ground: Samples = (base + (tint - 128) // 2).clip(0, 255).astype(np.uint8)
    return ground


def _centred(images: Samples) -> Samples:
    height, width = images.shape[1:3]
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    margins = ((0, 0), (top, SIDE - height - top), (left, SIDE - width - left), (0, 0))
    return np.pad(images, margins)


def _keys(images: Samples, seed: int) -> Words:
    own = np.array([zlib.crc32(image.tobytes()) for image in images], np.uint64)
    return _scrambled(own | np.uint64(seed) << np.uint64(32))


def _noise(keys: Words, purpose: int) -> Numbers:
    """Return value noise 0..255, (n, 32, 32): random values at the corners of cells, interpolated between them."""
    total: Numbers = np.zeros((len(keys), SIDE, SIDE), np.int64)
    for octave, (cell, weight) in enumerate(_CELLS):
        n = SIDE // cell + 1
        numbers = np.arange(n * n, dtype=np.uint64) + np.uint64(1000 * (octave + 1))
        corners = (_random(keys[:, None], purpose, numbers).astype(np.int64) & 255).reshape(-1, n, n)
        at = np.arange(SIDE)
        index, part = at // cell, at % cell
        rows: Numbers = corners[:, index] * (cell - part)[:, None] + corners[:, index + 1] * part[:, None]
        values = rows[:, :, index] * (cell - part) + rows[:, :, index + 1] * part
        total = total + weight * values // (cell * cell)
    return total // 8


def _random(keys: Words, purpose: int, number: int | Words) -> Words:
    offset = np.atleast_1d(np.asarray(number, np.uint64)) + np.uint64(purpose << 20)  # of scalars numpy warns
    return _scrambled(keys + offset * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)


def _scrambled(words: Words) -> Words:
    """SplitMix64's output function (Steele, Lea, Flood 2014), modulo 2^64."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
