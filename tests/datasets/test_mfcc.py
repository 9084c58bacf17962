"""Promise: the fixed-point MFCCs are those of floats to a few hundredths, and the same bits on every host."""

import hashlib

import numpy as np
import pytest

from fqtbench.datasets.mfcc import (
    COEFFICIENTS,
    FRACTION_BITS,
    FRAME,
    HOP,
    MELS,
    RATE_HZ,
    _log2,
    mfcc,
    n_frames,
)

_UNIT = 2.0**FRACTION_BITS


def _reference(signals: np.ndarray) -> np.ndarray:
    """The same definition in float64 with NumPy's FFT, (n, frames, 10)."""
    frames = np.lib.stride_tricks.sliding_window_view(signals.astype(float), FRAME, axis=1)[:, ::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    power = np.abs(np.fft.rfft(frames * window, 512)) ** 2

    def mel(frequency: np.ndarray | float) -> np.ndarray:
        return 1127 * np.log(1 + np.asarray(frequency) / 700)

    corners = np.linspace(mel(20), mel(4000), MELS + 2)
    at = mel(np.arange(257) * RATE_HZ / 512)[:, None]
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    filters = np.maximum(np.minimum((at - left) / (middle - left), (right - at) / (right - middle)), 0)
    logarithms = np.log2(power @ filters * 2**16 + 1)  # 1/16 of a squared unit, weights of 2^-12
    j, i = np.arange(MELS)[:, None], np.arange(COEFFICIENTS)
    dct = np.cos(np.pi * i * (2 * j + 1) / (2 * MELS)) * np.sqrt(np.where(i, 2, 1) / MELS)
    return logarithms @ dct


def _signals() -> np.ndarray:
    """Chirps with noise of amplitudes 3 to 30 000, full-scale noise, the lowest value throughout, a click."""
    rng = np.random.default_rng(0)
    t = np.arange(RATE_HZ) / RATE_HZ
    chirp = np.sin(2 * np.pi * (200 + 300 * t) * t) * np.hanning(RATE_HZ) + 0.3 * np.sin(3000 * np.pi * t)
    rows = [a * chirp + rng.normal(0, a / 30 + 1, RATE_HZ) for a in (3, 30, 300, 3000, 30_000)]
    click = np.zeros(RATE_HZ)
    click[700] = 32_767
    rows += [rng.integers(-32_768, 32_768, RATE_HZ).astype(float), np.full(RATE_HZ, -32_768.0), click]
    return np.array(rows).clip(-32_768, 32_767).astype(np.int16)


def test_a_second_has_49_frames_of_10_coefficients() -> None:
    assert n_frames(RATE_HZ) == 49
    assert mfcc(_signals()).shape == (8, 49, 10)
    assert mfcc(_signals()).dtype == np.int32


def test_they_are_those_of_floats() -> None:
    """Beyond the quietest: energies of a few units are rounded more coarsely."""
    signals = _signals()
    error = np.abs(mfcc(signals) / _UNIT - _reference(signals))[:-1].max(axis=(1, 2))
    assert error[0] < 0.1  # amplitude 3
    assert error[1] < 0.03
    assert error[2:6].max() < 0.01
    found, expected = mfcc(signals[:6]) / _UNIT, _reference(signals[:6])
    for number in range(COEFFICIENTS):
        assert np.corrcoef(found[..., number].ravel(), expected[..., number].ravel())[0, 1] > 0.9999


def test_nothing_overflows_at_full_scale() -> None:
    square = np.where(np.arange(RATE_HZ) // 8 % 2, 32_767, -32_768).astype(np.int16)[None]
    assert np.abs(mfcc(square) / _UNIT - _reference(square)).max() < 0.2


def test_every_host_gets_the_same_bytes() -> None:
    x = (np.arange(RATE_HZ, dtype=np.int64) ** 2 * 7919 % 65_536 - 32_768).astype(np.int16)
    digest = hashlib.sha256(mfcc(np.stack([x, x // 64, x * 0])).tobytes()).hexdigest()
    assert digest == "5be259ec1a68f9665b48a1179bc5edd2fad9f2efcb4b3182098c231b23fa6ab6"


@pytest.mark.parametrize(
    "value", [1, 2, 3, 5, 1000, 2**30 - 1, 2**30, 2**31, 2**40 + 12345, 2**62, 2**63 - 1]
)
def test_the_logarithm_is_rounded_down(value: int) -> None:
    (found,) = _log2(np.array([value], np.int64))
    exact = np.log2(np.longdouble(value)) * 4096
    assert exact - 1.01 < found <= exact + 1e-6
