"""Serves an emulated instrument in a thread, feeding it a current as a virtual board would; reads it by its driver."""

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from fqtbench.power.instrument import Chunk, Instrument
from fqtbench.virtual.instruments.instrument import MAX_BACKLOG_BYTES, EmulatedInstrument

Profile = Callable[[NDArray[np.int64]], tuple[NDArray[np.float64], NDArray[np.uint8]]]
"""From sample numbers, (n,), to currents in A and pins."""


@contextmanager
def served(instrument: EmulatedInstrument, profile: Profile, slice_samples: int = 700) -> Iterator[None]:
    """Serve it until the block ends; virtual time stands still while it has much to send."""
    done = threading.Event()

    def serve() -> None:
        at = 0
        while not done.is_set():
            feeding = instrument.rate_hz is not None and instrument.backlog_bytes < MAX_BACKLOG_BYTES
            select.select(instrument.readers(), instrument.writers(), [], 0.0 if feeding else 0.01)
            if feeding:
                instrument.feed(*profile(np.arange(at, at + slice_samples)))
                at += slice_samples
            instrument.service()
            if instrument.rate_hz is None:
                at = 0

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=10)
        instrument.close()


def record(driver: Instrument, samples: int) -> list[Chunk]:
    """Return at least so many samples, and what comes behind the stop."""
    driver.start()
    chunks: list[Chunk] = []
    while sum(map(len, chunks)) < samples:
        chunks += (got := driver.read(10))
        assert got, "nothing came in 10 s"
    driver.stop()
    while got := driver.read(10):
        chunks += got
    return chunks
