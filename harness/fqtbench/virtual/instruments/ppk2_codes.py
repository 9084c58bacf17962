"""What an emulated PPK2 makes of a current: a range, a code of its converter, a word; and what befalls words.

The inverse of the formula by which a host turns codes into amperes (Nordic's pc-nrfconnect-ppk; it is stated in
fqtbench.power.ppk2_units). Ranges end where the voltage across their resistor is some 50 mV, so at 50 µA, 500 µA, 5 mA,
60 mA and 1 A (Nordic's PPK2 user guide, "Measurement resolution"); one is left downwards only at 80 % of the next lower
one's end. The range changes before the sample that needs it: the emulated one shows no transient.

A code stands for 43 nA, 0.44 µA, 4.3 µA, 46 µA or 0.9 mA, by the range. What rounding leaves is carried on to the next
sample of the same range, as the noise of a real converter does on average: a sample is off by one code at most, and a
sum of samples as well.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.virtual.instruments.instrument import Faults

CONSTANTS: Final[dict[str, tuple[float, ...]]] = {
    "R": (1021.334, 100.892, 10.2114, 0.9512, 0.0492),
    "GS": (0.0, 95.1, 14.2, 1.93, 0.0655),
    "GI": (1.0, 0.981, 0.973, 0.966, 0.971),
    "O": (108.2, 79.3, 61.8, 55.1, 83.6),
    "S": (0.000000041, 0.00000053, 0.0000051, 0.000057, 0.0022),
    "I": (-0.00000011, -0.0000013, 0.000029, -0.00031, -0.0077),
    "UG": (1.0, 1.0, 1.001, 0.999, 1.0),
}
"""Plausible ones, of no real device; in the order of the metadata's lines."""
NEUTRAL: Final[dict[str, tuple[float, ...]]] = {
    "R": (1031.64, 101.65, 10.15, 0.94, 0.043),
    **dict.fromkeys(("GS", "GI", "UG"), (1.0,) * 5),
    **dict.fromkeys(("O", "S", "I"), (0.0,) * 5),
}
"""What a device says that was never calibrated: what the libraries assume anyway."""
_ENDS_A: Final = (50e-6, 500e-6, 5e-3, 60e-3, np.inf)
_BACK_BELOW_A: Final = (-np.inf, *(0.8 * end for end in _ENDS_A[:-1]))
_VOLTS_PER_CODE: Final = 4 * 1.8 / 163840
_LAST_CODE: Final = (1 << 14) - 1
_BLOCK: Final = 1024  # samples searched for the next switch at once


class Converter:
    """Current in, words out."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._rng = np.random.default_rng(faults.seed)
        self._counter = 0
        self._range = 0
        self._left = 0.0  # of a code, from the last sample

    def words(
        self, current_a: NDArray[np.float64], digital: NDArray[np.uint8], volts: float
    ) -> NDArray[np.uint32]:
        """Return the (n,) words for (n,) mean currents in A and (n,) digital inputs, at a supply of `volts`."""
        if self._faults.noise_a:
            current_a = current_a + self._rng.normal(0.0, self._faults.noise_a, len(current_a))
        ranges = self._ranges(current_a)
        codes = self._codes(current_a, ranges, volts)
        counters = (np.arange(len(codes)) + self._counter) % 64
        self._counter = (self._counter + len(codes)) % 64
        return (codes | ranges << 14 | counters << 18 | digital.astype(np.int64) << 24).astype("<u4")

    def bytes_of(self, words: NDArray[np.uint32]) -> bytes:
        """Return the words as they get to the host: some lost, sent twice or short of a byte."""
        faults, n = self._faults, len(words)
        if not (faults.lose or faults.double or faults.tear):
            return words.tobytes()
        chance = self._rng.random(n)
        times = np.ones(n, np.int64)
        times[chance < faults.lose] = 0
        times[(chance >= faults.lose) & (chance < faults.lose + faults.double)] = 2
        sent = np.repeat(words, times)
        torn = np.flatnonzero(self._rng.random(len(sent)) < faults.tear)
        gone = 4 * torn + self._rng.integers(0, 4, len(torn))
        return np.delete(sent.view(np.uint8), gone).tobytes()

    def _ranges(self, current_a: NDArray[np.float64]) -> NDArray[np.int64]:
        ranges = np.empty(len(current_a), np.int64)
        at = 0
        while at < len(current_a):
            block = current_a[at : at + _BLOCK]
            leaves = (block > _ENDS_A[self._range]) | (block < _BACK_BELOW_A[self._range])
            stays = int(leaves.argmax()) if leaves.any() else len(block)
            ranges[at : at + stays] = self._range
            at += stays
            if stays < len(block):
                self._range = int(np.searchsorted(_ENDS_A, current_a[at]))
        return ranges

    def _codes(
        self, current_a: NDArray[np.float64], ranges: NDArray[np.int64], volts: float
    ) -> NDArray[np.int64]:
        codes = np.empty(len(current_a), np.int64)
        borders = np.flatnonzero(np.diff(ranges)) + 1
        for part in np.split(np.arange(len(codes)), borders):
            if not len(part):
                continue
            ideal = np.clip(ideal_codes(current_a[part], int(ranges[part[0]]), volts), 0, _LAST_CODE)
            total = np.cumsum(ideal) + self._left
            rounded = np.rint(total)
            codes[part] = np.diff(rounded, prepend=0.0).astype(np.int64)
            self._left = float(total[-1] - rounded[-1])
            if part[-1] + 1 < len(codes):
                self._left = 0.0
        return np.clip(codes, 0, _LAST_CODE)


def ideal_codes(current_a: NDArray[np.float64], k: int, volts: float) -> NDArray[np.float64]:
    """Return the codes, not yet rounded, for (n,) currents in range `k`: r of GS·r² + GI·r = I / UG − S·V − I_k."""
    resistance, gs, gi, offset, s, i, ug = (CONSTANTS[name][k] for name in CONSTANTS)
    right = current_a / ug - s * volts - i
    root = np.sqrt(np.maximum(gi * gi + 4 * gs * right, 0.0))
    r = 2 * right / (gi + root)
    return r * resistance / _VOLTS_PER_CODE + offset / 4
