"""What a virtual board wants from an emulated power monitor, and how one may be made to fail."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Faults:
    """What goes wrong in an emulated instrument; by default nothing, and no noise. All drawn from `seed`.

    `noise_a`: standard deviation of a sample, in A. `lose`, `double`, `tear`: share of the sample words that are lost,
    sent twice, or cut by a byte. `miscalibrated`: it says that it was never calibrated.
    """

    noise_a: float = 0.0
    lose: float = 0.0
    double: float = 0.0
    tear: float = 0.0
    miscalibrated: bool = False
    seed: int = 0


MAX_BACKLOG_BYTES: Final = 1 << 18
"""A board whose instrument has more than this to send stands still in virtual time until its host has read."""


class EmulatedInstrument(Protocol):
    """One instrument. It never blocks; the virtual board's server calls it between two slices of CPU time."""

    url: str
    """What a launched board says of it: ``ppk2:/path/to/its/port``."""

    @property
    def rate_hz(self) -> float | None:
        """Samples a second of virtual time that it wants now; None while it does not measure."""
        ...

    @property
    def powered(self) -> bool:
        """Whether it feeds the board."""
        ...

    @property
    def backlog_bytes(self) -> int:
        """What waits to be sent."""
        ...

    def readers(self) -> list[int]:
        """Return the file descriptors to wait on."""
        ...

    def writers(self) -> list[int]:
        """Return those to wait on until they take what waits to be sent."""
        ...

    def service(self) -> bool:
        """Take commands that have arrived, send what waits; return whether it needs another call at once.

        A command to stop is obeyed behind the samples that `feed` has brought: whoever calls it has fed all up to now.
        """
        ...

    def feed(self, current_a: NDArray[np.float64], digital: NDArray[np.uint8]) -> None:
        """Take the board's mean current in A over each sample period, (n,), and its pins, bit 0 = trigger, (n,)."""
        ...

    def close(self) -> None:
        """Let go of its port, and remove what was published."""
        ...
