"""Mel-frequency cepstral coefficients in integers: 16-bit samples in, the same coefficients on every host.

One second at 16 kHz gives 49 frames of 10 coefficients, the input that keyword spotting on microcontrollers commonly
has (MLPerf Tiny): frames of 30 ms every 20 ms, a Hann window, 512-point spectrum, 40 triangular mel filters from 20 to
4000 Hz, logarithm, DCT-II. Every table is rounded from rational or decimal arithmetic, so that no libm decides a bit:

1. spectrum: samples times w[n]·cos and w[n]·sin, tables of 2^-20; |sum| ≤ 2^15 · 240·2^20 < 2^43. It is computed by a
   float64 matrix product whose terms and sums are all integers below 2^53: exact, in whatever order BLAS adds.
2. rounded to quarters of a sample's unit, squared, added up by the mel filters' weights of 2^-12: by Parseval's theorem
   at most 512 · Σ(w·2^15·4)² · 2^12 < 2^63.
3. log2(energy + 1) to 12 fractional bits, rounded down.
4. DCT-II, orthonormal, weights of 2^-15; the result has 12 fractional bits again, in units of log2.
"""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.datasets.integers import cos_sin

RATE_HZ: Final = 16_000
FRAME: Final = 480
HOP: Final = 320
MELS: Final = 40
COEFFICIENTS: Final = 10
FRACTION_BITS: Final = 12  # of a coefficient

_N: Final = 512
_BINS: Final = _N // 2 + 1
_LOW_HZ: Final = 20
_HIGH_HZ: Final = 4000
_TABLE_BITS: Final = 20
_SPECTRUM_SHIFT: Final = 18  # from 2^-20 to quarters
_MEL_BITS: Final = 12
_DCT_BITS: Final = 15
_MANTISSA_BITS: Final = 30
_CHUNK: Final = 8192  # frames at once

Numbers = NDArray[np.int64]


def n_frames(n_samples: int) -> int:
    """Return how many frames `n_samples` ≥ 480 have; what is left at the end is dropped."""
    return (n_samples - FRAME) // HOP + 1


def mfcc(signals: NDArray[np.int16]) -> NDArray[np.int32]:
    """Return the coefficients of `signals` (n, samples), as (n, frames, 10), with 12 fractional bits."""
    frames = np.lib.stride_tricks.sliding_window_view(signals, FRAME, axis=1)[:, ::HOP]
    flat = frames.reshape(-1, FRAME)
    found = np.empty((len(flat), COEFFICIENTS), np.int32)
    for start in range(0, len(flat), _CHUNK):
        energies = _power(flat[start : start + _CHUNK]) @ _mel_table()
        found[start : start + _CHUNK] = _rounded(_log2(energies + 1) @ _dct_table(), _DCT_BITS)
    return found.reshape(len(signals), n_frames(signals.shape[1]), COEFFICIENTS)


def _power(frames: NDArray[np.int16]) -> Numbers:
    """Return the spectrum's squares, (frames, 257), in 1/16 of a squared sample's unit."""
    exact = (frames.astype(np.float64) @ _spectrum_table()).astype(np.int64)
    parts = _rounded(exact, _SPECTRUM_SHIFT)
    squares: Numbers = parts[:, :_BINS] ** 2 + parts[:, _BINS:] ** 2
    return squares


def _log2(values: Numbers) -> Numbers:
    """Return log2 of `values` ≥ 1 with FRACTION_BITS, rounded down: square the mantissa, take the carry, bit by bit."""
    exponent = np.zeros_like(values)
    rest = values.copy()
    for shift in (32, 16, 8, 4, 2, 1):
        large = rest >= 1 << shift
        exponent += np.where(large, shift, 0)
        rest = np.where(large, rest >> shift, rest)
    down = np.maximum(exponent - _MANTISSA_BITS, 0)
    mantissa = (values >> down) << np.maximum(_MANTISSA_BITS - exponent, 0)  # 1 to 2, times 2^30
    result = exponent
    for _ in range(FRACTION_BITS):
        mantissa = mantissa * mantissa >> _MANTISSA_BITS
        carry = mantissa >> (_MANTISSA_BITS + 1)
        mantissa = mantissa >> carry
        result = result * 2 + carry
    return result


def _rounded(values: Numbers, bits: int) -> Numbers:
    return (values + (1 << (bits - 1))) >> bits


@lru_cache(maxsize=1)
def _spectrum_table() -> NDArray[np.float64]:
    """Return the window times cosines and then sines, (480, 2 · 257), integers."""
    turns = np.array([cos_sin(Fraction(360 * k, _N), _MANTISSA_BITS) for k in range(_N)], np.int64)
    window = [(1 << _TABLE_BITS) - cos_sin(Fraction(360 * n, FRAME), _TABLE_BITS)[0] for n in range(FRAME)]
    at = np.arange(FRAME)[:, None] * np.arange(_BINS) % _N
    waves = np.concatenate([turns[at, 0], turns[at, 1]], axis=1)
    table = _rounded(
        np.array(window, np.int64)[:, None] * waves, _MANTISSA_BITS + 1
    )  # a window is half of 1 − cos
    return table.astype(np.float64)


@lru_cache(maxsize=1)
def _mel_table() -> Numbers:
    """Return the filters' weights, (257, 40): triangles on the scale 1127·ln(1 + f/700), whose corners are even."""
    with localcontext(prec=40):
        low, high = _mel(_LOW_HZ), _mel(_HIGH_HZ)
        corners = [low + (high - low) * number / (MELS + 1) for number in range(MELS + 2)]
        table = np.zeros((_BINS, MELS), np.int64)
        for k in range(1, _BINS):
            mel = _mel(Decimal(k * RATE_HZ) / _N)
            for number in range(MELS):
                left, middle, right = corners[number : number + 3]
                weight = min((mel - left) / (middle - left), (right - mel) / (right - middle))
                table[k, number] = round(max(weight, Decimal(0)) * 2**_MEL_BITS)
    return table


def _mel(frequency_hz: int | Decimal) -> Decimal:
    return 1127 * (1 + Decimal(frequency_hz) / 700).ln()


@lru_cache(maxsize=1)
def _dct_table() -> Numbers:
    """Return the DCT-II's weights, (40, 10)."""
    bits = 60
    table = np.empty((MELS, COEFFICIENTS), np.int64)
    for i in range(COEFFICIENTS):
        norm = Fraction(math.isqrt(((2 if i else 1) << (2 * bits)) // MELS), 1 << bits)
        for j in range(MELS):
            cosine = cos_sin(Fraction(180 * i * (2 * j + 1), 2 * MELS), bits)[0]
            table[j, i] = round(norm * Fraction(cosine, 1 << bits) * 2**_DCT_BITS)
    return table
