"""Functions that every host computes to the same bit: rational arithmetic in the place of libm."""

from fractions import Fraction
from typing import Final

_PI: Final = Fraction(3141592653589793238462643383279502884197, 10**39)
_GUARD_BITS: Final = 100
_TERMS: Final = 60  # 2π^60/60! < 2^-100


def cos_sin(degrees: float | Fraction, bits: int) -> tuple[int, int]:
    """Return cosine and sine of an angle, each times 2^bits and rounded to nearest; bits at most 64."""
    angle = _rounded(Fraction(degrees) % 360 * _PI / 180)
    sums, term = [Fraction(0)] * 4, Fraction(1)
    for power in range(_TERMS):  # the power series of both, whose signs alternate
        sums[power % 4] += term
        term = _rounded(term * angle / (power + 1))
    return round((sums[0] - sums[2]) * 2**bits), round((sums[1] - sums[3]) * 2**bits)


def _rounded(value: Fraction) -> Fraction:
    return Fraction(round(value * 2**_GUARD_BITS), 2**_GUARD_BITS)
