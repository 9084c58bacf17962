"""An emulated instrument and who looks after it: what the virtual board's server does, with a profile for a board."""

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from fqtbench.virtual.instruments.instrument import MAX_BACKLOG_BYTES, EmulatedInstrument

_BLOCK = 1000


class Profile:
    """A board that draws `current_a`, (n,) in A, with `digital`, (n,), from the moment on when it is measured."""

    def __init__(self, current_a: NDArray[np.float64], digital: NDArray[np.uint8] | None = None) -> None:
        self.current_a = current_a
        self.digital = np.zeros(len(current_a), np.uint8) if digital is None else digital
        self.fed = 0

    def feed(self, instrument: EmulatedInstrument) -> None:
        """Bring the next thousand samples, if there are any left."""
        block = slice(self.fed, self.fed + _BLOCK)
        if self.fed < len(self.current_a):
            instrument.feed(self.current_a[block], self.digital[block])
            self.fed += _BLOCK


@contextmanager
def served(instrument: EmulatedInstrument, profile: Profile | None = None) -> Iterator[threading.Event]:
    """Serve an instrument from a thread until the end of the block; setting the event ends the service earlier."""
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            select.select(instrument.readers(), instrument.writers(), [], 0.01)
            if profile is not None and instrument.rate_hz and instrument.backlog_bytes < MAX_BACKLOG_BYTES:
                profile.feed(instrument)
            instrument.service()
        instrument.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        ended.set()
        thread.join(30)
        assert not thread.is_alive()
