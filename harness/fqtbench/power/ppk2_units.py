"""From the PPK2's codes to amperes: the calibration that it carries, as its metadata tell it, and the formula.

For a sample with the code `adc` in range k, at a supply of V volts, with that range's constants:

    r = (4 · adc − O_k) · 1.8 / 163840 / R_k
    I = UG_k · (r · (GS_k · r + GI_k) + S_k · V + I_k)        in A

Source of formula, constants and defaults: Nordic's pc-nrfconnect-ppk and ppk2-api 0.9.2, which agree.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import MonitorError
from fqtbench.printable import printable

RANGES: Final = 5
CODES: Final = 1 << 14
"""Codes of the converter, so many for each of the eight numbers that a word has room for as its range."""
VOLTS_PER_CODE: Final = 4 * 1.8 / 163840
CONSTANTS: Final = ("R", "GS", "GI", "O", "S", "I", "UG")
_NEUTRAL: Final[dict[str, tuple[float, ...]]] = {
    "R": (1031.64, 101.65, 10.15, 0.94, 0.043),  # ohm
    "GS": (1.0,) * RANGES,
    "GI": (1.0,) * RANGES,
    "O": (0.0,) * RANGES,
    "S": (0.0,) * RANGES,
    "I": (0.0,) * RANGES,
    "UG": (1.0,) * RANGES,
}
"""What both libraries assume of a device that says nothing."""
_MOST_BYTES: Final = 8192  # published metadata have some 600
_LINE: Final = re.compile(r"\s*([A-Za-z]{1,16})([0-4]?)\s*:\s*(\S{1,32})\s*")


@dataclass(frozen=True)
class Metadata:
    """What a PPK2 says of itself.

    `constants`: (7, 5), rows in the order of `CONSTANTS`, a column for each range, all finite, R > 0. `replaced`: the
    names of those that it did not give, or not as a number that can be; they have the value that Nordic's application
    takes then. `others`: the further lines, such as HW, VDD in mV and mode.
    """

    constants: NDArray[np.float64]
    replaced: tuple[str, ...]
    others: dict[str, str]

    @property
    def digest(self) -> str:
        """Eight digits for all constants: figures of another calibration are other figures."""
        return hashlib.sha256(self.constants.astype("<f8").tobytes()).hexdigest()[:8]

    def fault(self) -> str | None:
        """Return what is wrong with the calibration and, behind a semicolon, what to do; None if nothing is.

        The line "Calibrated: 0" alone is nothing: devices with constants of their own are published with it (the
        example in the crate ppk2's documentation). Constants that are all the libraries' defaults are.
        """
        if self.replaced:
            return (
                f"it gives no usable value of {', '.join(self.replaced)}; "
                "have it calibrated anew by Nordic, or take another"
            )
        if np.array_equal(self.constants, _neutral()):
            return "it has only default values, so it was never calibrated; take one that was"
        return None


def parse_metadata(text: bytes) -> Metadata:
    """Read what a PPK2 answers to the command for its metadata: lines "KEY: value", the last of them END.

    Whatever the bytes are: either Metadata or MonitorError. A resistance of 0 means, there and here, the default.
    """
    if len(text) > _MOST_BYTES:
        raise MonitorError(f"its metadata are longer than {_MOST_BYTES} bytes; is it a PPK2?")
    given: dict[str, str] = {}
    for line in text.decode("ascii", "replace").partition("END")[0].splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        key = match[1] + match[2]
        if given.setdefault(key, printable(match[3])) != printable(match[3]):
            raise MonitorError(f"its metadata give {key} twice, differently; unplug it and plug it in again")
    if not any(f"{name}{k}" in given for name in CONSTANTS for k in range(RANGES)):
        raise MonitorError("its metadata have no calibration; is it a PPK2?")
    constants, replaced = _neutral(), []
    for row, name in enumerate(CONSTANTS):
        for k in range(RANGES):
            value = _number(given.pop(f"{name}{k}", ""))
            if value is None or (name == "R" and value <= 0):
                replaced.append(f"{name}{k}")
            else:
                constants[row, k] = value
    return Metadata(constants, tuple(replaced), given)


def current_table_a(constants: NDArray[np.float64], volts: float) -> NDArray[np.float32]:
    """Return (2¹⁷,), the current in A of each range and code: index = the low 17 bits of a word.

    NaN for ranges 5 to 7, which don't exist.
    """
    table = np.full((8, CODES), np.nan)
    codes = np.arange(CODES, dtype=np.float64)
    for k in range(RANGES):
        resistance, gs, gi, offset, s, i, ug = constants[:, k]
        r = (codes - offset / 4) * (VOLTS_PER_CODE / resistance)
        table[k] = ug * (r * (gs * r + gi) + (s * volts + i))
    return table.reshape(-1).astype(np.float32)


def _neutral() -> NDArray[np.float64]:
    return np.array([_NEUTRAL[name] for name in CONSTANTS])


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) and abs(value) < 1e9 else None
