"""An instrument in memory: it has sampled already, and gives what it has in pieces of any size."""

import threading
from collections.abc import Sequence

import numpy as np

from fqtbench.power.excerpt import Excerpt
from fqtbench.power.instrument import Chunk


class PlayedInstrument:
    """Plays the samples of `part`; more of them, as from a board that is used later, come with `play`."""

    name = "player 7"
    model_id = "player 7, calibrated never"

    def __init__(self, part: Excerpt, piece: int = 17) -> None:
        self.rate_hz, self.volts = part.rate_hz, part.volts
        self.digital_inputs = 8
        self._piece = piece
        self._lock = threading.Lock()
        self._waiting: list[Chunk] = []
        self._n = 0
        self._stopped = False
        self.closed = False
        self.play(part)

    def play(self, part: Excerpt) -> None:
        """Let these samples come next."""
        with self._lock:
            for begin in range(0, len(part.current_a), self._piece):
                cut = slice(begin, begin + self._piece)
                chunk = Chunk(self._n, part.current_a[cut], part.digital[cut], part.flags[cut])
                self._waiting.append(chunk)
                self._n += len(chunk)

    def calibration_fault(self) -> str | None:
        return None

    def supply(self, on: bool) -> None:
        pass

    def start(self) -> None:
        self._stopped = False

    def read(self, timeout_s: float) -> Sequence[Chunk]:
        with self._lock:
            found, self._waiting = self._waiting, []
        if not found and not self._stopped:
            threading.Event().wait(min(timeout_s, 0.005))
        return found

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        self.closed = True


def quiet(n: int, amperes: float = 1e-3) -> Excerpt:
    """Return samples without a window."""
    levels, flags = np.zeros((2, n), np.uint8)
    return Excerpt(100_000.0, 3.0, np.full(n, amperes, np.float32), levels, flags)
