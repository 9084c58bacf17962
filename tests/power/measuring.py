"""A monitor that measures, without an instrument: its powers are told, and what it does not know is stated."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fqtbench.power import Account, Excerpt, Windows
from fqtbench.power.monitor import State

RATE_HZ = 100_000.0
VOLTS = 3.0
ACTIVE_W, IDLE_W = 0.012, 0.003
UNCERTAINTY_J = 2e-9


class FakeMeasuring:
    """Gives each window `ACTIVE_W` × its duration and a little more with each, and keeps an excerpt of three steps."""

    origin = "measured"
    model_id = "fake 1, calibrated never"

    def __init__(self) -> None:
        self.n_windows = 0
        self.recordings = 0

    def start(self) -> None:
        self.recordings += 1

    def stop(self) -> None:
        pass

    def window_energies_j(self, durations_s: NDArray[np.float64], state: State) -> NDArray[np.float64]:
        return self.windows(durations_s).energies_j

    def windows(self, durations_s: NDArray[np.float64]) -> Windows:
        n = durations_s.size
        more = 1e-12 * (self.n_windows + np.arange(n)).reshape(durations_s.shape)
        self.n_windows += n
        return Windows(durations_s * ACTIVE_W + more, np.full(durations_s.shape, UNCERTAINTY_J), IDLE_W)

    def account(self) -> Account:
        return Account(self.n_windows, 123_456, 0, 7, 0.004, 12.5, 3e-6, IDLE_W)

    def excerpt(self) -> Excerpt:
        return excerpt_of([30, 60, 30, 60, 20], [6e-3, 5e-3, 6e-3, 5e-3, 8e-3])


def excerpt_of(lengths: Iterable[int], currents_a: Iterable[float], gap: int = 5) -> Excerpt:
    """Return windows of so many samples and currents, `gap` idle samples around each."""
    current, digital = [np.full(gap, 1e-3)], [np.zeros(gap)]
    for length, amperes in zip(lengths, currents_a, strict=True):
        current += [np.full(length, amperes), np.full(gap, 1e-3)]
        digital += [np.ones(length), np.zeros(gap)]
    level = np.concatenate(digital).astype(np.uint8)
    amps = np.concatenate(current).astype(np.float32)
    return Excerpt(RATE_HZ, VOLTS, amps, level, np.zeros(len(amps), np.uint8))
