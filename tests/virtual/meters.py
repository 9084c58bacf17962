"""An instrument without a protocol, for tests of what feeds one."""

import os

import numpy as np
from numpy.typing import NDArray

from fqtbench.virtual.instruments.instrument import MAX_BACKLOG_BYTES

TOO_MUCH = MAX_BACKLOG_BYTES + 1


class MemoryInstrument:
    """Keeps all that it is fed; a test sets what its host would ask for, and its host always wants something."""

    url = "memory:"

    def __init__(self, rate_hz: float | None = None) -> None:
        self.rate_hz = rate_hz
        self.powered = True
        self.backlog_bytes = 0
        self.n_serviced = 0
        self.closed = False
        self._currents: list[NDArray[np.float64]] = []
        self._levels: list[NDArray[np.uint8]] = []
        self._wakes, _writes = os.pipe()
        os.close(_writes)  # its end is always there to be read

    def readers(self) -> list[int]:
        return [self._wakes]

    def writers(self) -> list[int]:
        return []

    def service(self) -> bool:
        self.n_serviced += 1
        return False

    def feed(self, current_a: NDArray[np.float64], digital: NDArray[np.uint8]) -> None:
        assert len(current_a) == len(digital)
        self._currents.append(current_a)
        self._levels.append(digital)

    def close(self) -> None:
        if not self.closed:
            os.close(self._wakes)
        self.closed = True

    @property
    def current_a(self) -> NDArray[np.float64]:
        """All samples, (n,) in A."""
        return np.concatenate([*self._currents, np.empty(0)])

    @property
    def digital(self) -> NDArray[np.uint8]:
        """All levels, (n,)."""
        return np.concatenate([*self._levels, np.empty(0, np.uint8)])
