"""What the bench wants from a measuring instrument: samples of current on the instrument's own clock.

A driver knows its instrument's commands and numbers, and nothing of windows or energies; `MeasuredMonitor`
(measured.py) makes these of its samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Flag(IntFlag):
    """What is wrong with a sample, or special about it."""

    LOST = 1  # it never arrived; its current is NaN
    OVERCURRENT = 2  # the instrument says that it was beyond what it can carry or measure
    SATURATED = 4  # its converter was at its end
    RANGE_SWITCH = (
        8  # the instrument has just changed its range: the value may be off by the switch's transient
    )
    WRONG_VOLTAGE = 16  # the supply was not what was asked for


UNUSABLE = Flag.LOST | Flag.OVERCURRENT | Flag.SATURATED | Flag.WRONG_VOLTAGE
"""A window with such a sample has no energy. RANGE_SWITCH is reported and used."""


@dataclass(frozen=True)
class Chunk:
    """Samples in a row. Lost ones are in it, flagged, so that a sample's number tells its time.

    `first`: number of the first one since the instrument's `start`. `current_a`: (n,) in A, NaN where lost.
    `digital`: (n,), bit i is the level of digital input i. `flags`: (n,) of `Flag`. `volts`: (n,) in V where the
    instrument measures it along; None where it only sets it.
    """

    first: int
    current_a: NDArray[np.float32]
    digital: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    volts: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Return the number of samples, n."""
        return len(self.current_a)


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Return chunks in a row as one; ValueError if they are in none."""
    expected = chunks[0].first
    for chunk in chunks:
        if chunk.first != expected:
            raise ValueError(f"samples from {chunk.first} on, after {expected}")
        expected += len(chunk)
    volts = [chunk.volts for chunk in chunks if chunk.volts is not None]
    return Chunk(
        chunks[0].first,
        np.concatenate([chunk.current_a for chunk in chunks]),
        np.concatenate([chunk.digital for chunk in chunks]),
        np.concatenate([chunk.flags for chunk in chunks]),
        np.concatenate(volts) if len(volts) == len(chunks) else None,
    )


class Instrument(Protocol):
    """One instrument, opened by its constructor, until `close`.

    Not safe for several threads, but `stop` may be called while another thread is in `read`.

    Raises (every method): MonitorError, which names the instrument, says what happened and what to do.
    """

    @property
    def name(self) -> str:
        """What messages call it: kind, serial number or address."""
        ...

    @property
    def model_id(self) -> str:
        """What its figures depend on: kind, serial number, firmware, calibration (its hash or date)."""
        ...

    @property
    def rate_hz(self) -> float:
        """Samples a second, nominal by its own clock."""
        ...

    @property
    def volts(self) -> float:
        """The supply in V: as set, or as measured in the middle if it can't set it."""
        ...

    @property
    def digital_inputs(self) -> int:
        """How many digital inputs it has; one without any can't see the board's trigger, so gives no windows."""
        ...

    def calibration_fault(self) -> str | None:
        """Return what is wrong with its calibration and, behind a semicolon, what to do; None if nothing is."""
        ...

    def supply(self, on: bool) -> None:
        """Switch the board's supply, where it goes through the instrument."""
        ...

    def start(self) -> None:
        """Begin to sample, at number 0."""
        ...

    def read(self, timeout_s: float) -> Sequence[Chunk]:
        """Return what has arrived, in order and without gaps, waiting up to `timeout_s` for the first; may be empty."""
        ...

    def stop(self) -> None:
        """End sampling. What is on its way is still to be read; `read` returns nothing once that is done."""
        ...

    def close(self) -> None:
        """Let go of the instrument; the supply stays as it is. Closing twice is fine."""
        ...


def trigger_fault(instrument: Instrument, trigger: int) -> str | None:
    """Return why `instrument` can't see a pin on its digital input `trigger`, and what to do; None if it can."""
    n = instrument.digital_inputs
    if trigger < n:
        return None
    if n == 0:
        lacks, remedy = "no digital inputs", "put the board on a PPK2, an Otii or a Joulescope"
    else:
        inputs = "only input 0" if n == 1 else f"only inputs 0 to {n - 1}"
        lacks, remedy = (
            f"{inputs}, not {trigger}",
            "wire the pin to one of them, and say which by `?trigger=N`",
        )
    return (
        f"{instrument.name} has {lacks}, so it can't see the board's trigger pin and gives no energies of phases; "
        f"{remedy}. `fqtbench power BOARD --no-wiring` shows what the board draws"
    )
