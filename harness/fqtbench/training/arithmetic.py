"""The scalar arithmetic of a training step: roundings, saturations, requantization, exp and log.

Everything here is exact integer arithmetic or single IEEE float32 operations in a stated order, so that a
Cortex-M0+ with software floats, an M4, an M7 and a PC give the same bits. `firmware/engine/arithmetic.h` is the
C twin. `ARITH_ID` changes whenever any result changes.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

ARITH_ID: Final = 4

F32 = np.float32
I64 = NDArray[np.int64]
Float32Array = NDArray[np.float32]

ERROR_ZERO_POINT: Final = 128
RESIDUAL_BITS: Final = 4
RESIDUAL_ONE: Final = 1 << RESIDUAL_BITS
GRADIENT_LIMIT: Final = 2047  # of 12 bits; −2048 as well
ROUND_LIMIT: Final = F32(4194303.0)  # 2^22 − 1: up to there the magic number rounds exactly
_ROUND_MAGIC: Final = F32(12582912.0)  # 1.5 · 2^23

REQUANTIZE_MIN_SHIFT: Final = 17
REQUANTIZE_MAX_SHIFT: Final = 32
UPDATE_MIN_SHIFT: Final = 1
UPDATE_MAX_SHIFT: Final = 28
SUM_MIN_SHIFT: Final = 1
SUM_MAX_SHIFT: Final = 30
WIDE_MIN_SHIFT: Final = 1
WIDE_MAX_SHIFT: Final = 46


class Multiplier(NamedTuple):
    """A positive real number as m · 2^−shift, m of 15 bits."""

    m: int
    shift: int


def multiplier(value: np.float32, min_shift: int, max_shift: int) -> Multiplier:
    """Split `value` > 0 into m · 2^−shift with 2^14 ≤ m < 2^15, by integer operations on its bits.

    Too large a value saturates at (2^15 − 1) · 2^−min_shift; below 2^(14 − max_shift) m loses bits, down to 0.
    """
    bits = int(np.asarray(value, dtype=np.float32).view(np.uint32))
    exponent = bits >> 23
    mantissa = (bits & 0x7FFFFF) | 0x800000
    m = (mantissa + 256) >> 9
    if m == 1 << 15:
        m, exponent = 1 << 14, exponent + 1
    shift = 141 - exponent
    if shift < min_shift:
        return Multiplier((1 << 15) - 1, min_shift)
    if shift > max_shift:
        excess = shift - max_shift
        m = 0 if excess > 15 else (m + (1 << (excess - 1))) >> excess
        shift = max_shift
    return Multiplier(m, shift)


def requantize_multiplier(value: np.float32) -> Multiplier:
    """Return the multiplier of a requantization; the shift lies in 17..32 (SMMLAR, or two MULS on an M0+)."""
    return multiplier(value, REQUANTIZE_MIN_SHIFT, REQUANTIZE_MAX_SHIFT)


class CommonMultipliers(NamedTuple):
    """Two positive real numbers as m · 2^−shift with one shift."""

    first: int
    second: int
    shift: int


def common_multipliers(first: np.float32, second: np.float32) -> CommonMultipliers:
    """Split two numbers with one shift in 1..30, that of the larger; the smaller loses bits."""
    a = multiplier(first, SUM_MIN_SHIFT, SUM_MAX_SHIFT)
    b = multiplier(second, SUM_MIN_SHIFT, SUM_MAX_SHIFT)
    shift = min(a.shift, b.shift)
    return CommonMultipliers(_lowered(a, shift), _lowered(b, shift), shift)


def _lowered(by: Multiplier, shift: int) -> int:
    excess = by.shift - shift
    if excess == 0:
        return by.m
    return 0 if excess > 15 else (by.m + (1 << (excess - 1))) >> excess


def scale_rounded(acc: I64, by: Multiplier) -> I64:
    """Return (acc · m + 2^(shift−1)) >> shift; |acc| < 2^31."""
    return (acc * by.m + (1 << (by.shift - 1))) >> by.shift


def round_to_int(value: Float32Array) -> I64:
    """Clamp to ±(2^22 − 1), then round half to even."""
    clamped = np.minimum(np.maximum(value, -ROUND_LIMIT), ROUND_LIMIT)
    return ((clamped + _ROUND_MAGIC) - _ROUND_MAGIC).astype(np.int64)


def power_of_two(exponent: int) -> np.float32:
    """Return 2^exponent for −126 ≤ exponent ≤ 127, exactly."""
    return np.uint32((exponent + 127) << 23).view(np.float32)


def random_rows(seed: int, step: int, layer: int, n_rows: int, n_columns: int) -> NDArray[np.uint32]:
    """Return random words (n_rows, n_columns): a row's xorshift32 (Marsaglia 2003), seeded by a hash, a word a column.

    The hash is MurmurHash3's finalizer over seed, step, layer and row. What one row draws never depends on another.
    """
    with np.errstate(over="ignore"):
        common = _finalize(np.uint32(seed) ^ (np.uint32(step & 0xFFFFFFFF) * np.uint32(0x9E3779B9)))
        common = _finalize(common ^ (np.uint32(layer) * np.uint32(0x85EBCA6B)))
        state = _finalize(common ^ (np.arange(n_rows, dtype=np.uint32) * np.uint32(0xC2B2AE35)))
        state[state == 0] = 1
        words = np.empty((n_rows, n_columns), np.uint32)
        for column in range(n_columns):
            state = state ^ (state << np.uint32(13))
            state = state ^ (state >> np.uint32(17))
            state = state ^ (state << np.uint32(5))
            words[:, column] = state
    return words


def _finalize(h: Any) -> Any:
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


_LOG2_E: Final = F32(1.44269504)
_LN2_HIGH: Final = F32(0.693359375)  # 9 bits, so that n · high is exact for |n| < 2^14
_LN2_LOW: Final = F32(-2.12194440e-4)
_EXP_TERMS: Final = tuple(F32(1.0 / k) for k in (720, 120, 24, 6, 2, 1, 1))
_EXP_LOWEST: Final = F32(-87.0)


def exp_nonpositive(x: Float32Array) -> Float32Array:
    """e^x for x ≤ 0, elementwise; 0 below −87. Relative error < 1e-6.

    Range reduction x = n·ln 2 + r, |r| ≤ ln 2 / 2, then the Taylor polynomial of degree 6 by Horner's rule.
    """
    clipped = np.maximum(x, _EXP_LOWEST)
    n = (clipped * _LOG2_E + _ROUND_MAGIC) - _ROUND_MAGIC
    r = clipped - n * _LN2_HIGH
    r = r - n * _LN2_LOW
    p = np.full_like(r, _EXP_TERMS[0])
    for term in _EXP_TERMS[1:]:
        p = p * r + term
    power = ((n.astype(np.int32) + 127) << 23).view(np.float32)
    return np.where(x < _EXP_LOWEST, F32(0), p * power).astype(np.float32)


_SQRT_2: Final = F32(1.41421356)
_LOG_TERMS: Final = tuple(F32(2.0 / k) for k in (9, 7, 5, 3, 1))
_LN2: Final = F32(0.69314718)


def log_of(x: np.float32) -> np.float32:
    """Natural logarithm of a normal x ≥ 1. Absolute error < 1e-6.

    x = m·2^e with m in [√½, √2]; log m = 2·artanh(t), t = (m−1)/(m+1), its series up to t^9.
    """
    bits = int(np.asarray(x, dtype=np.float32).view(np.uint32))
    exponent = (bits >> 23) - 127
    m = np.uint32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
    if m > _SQRT_2:
        m, exponent = m * F32(0.5), exponent + 1
    t = (m - F32(1)) / (m + F32(1))
    square = t * t
    p = _LOG_TERMS[0]
    for term in _LOG_TERMS[1:]:
        p = p * square + term
    return F32(F32(exponent) * _LN2 + p * t)


def sum_in_order(values: Float32Array) -> Float32Array:
    """Float32 sum along the first axis in index order, one rounding per addition."""
    total = np.zeros(values.shape[1:], np.float32)
    for value in values:
        total = total + value
    return total
