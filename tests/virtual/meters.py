"""An instrument without a protocol, for tests of what feeds one."""

import numpy as np
from numpy.typing import NDArray

from fqtbench.virtual.instruments.instrument import MAX_BACKLOG_BYTES


class MemoryInstrument:
    """Keeps all that it is fed; a test sets what its host would ask for."""

    url = "memory:"

    def __init__(self, rate_hz: float | None = None) -> None:
        self.rate_hz = rate_hz
        self.powered = True
        self.backlog_bytes = 0
        self.currents: list[NDArray[np.float64]] = []
        self.levels: list[NDArray[np.uint8]] = []
        self.closed = False

    def readers(self) -> list[int]:
        return []

    def writers(self) -> list[int]:
        return []

    def service(self) -> bool:
        return False

    def feed(self, current_a: NDArray[np.float64], digital: NDArray[np.uint8]) -> None:
        assert len(current_a) == len(digital)
        self.currents.append(current_a)
        self.levels.append(digital)

    def close(self) -> None:
        self.closed = True

    @property
    def current_a(self) -> NDArray[np.float64]:
        """All samples, (n,) in A."""
        return np.concatenate([*self.currents, np.empty(0)])

    @property
    def digital(self) -> NDArray[np.uint8]:
        """All levels, (n,)."""
        return np.concatenate([*self.levels, np.empty(0, np.uint8)])


TOO_MUCH = MAX_BACKLOG_BYTES + 1
