"""One record of an instrument, made in the background while the bench talks to the board.

One thread reads, so that nothing piles up in the instrument; another takes what was read, whatever that costs. Between
them is a queue with an end: if the second is too slow for long, the first waits, and the instrument tells what it lost.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from fqtbench.errors import MonitorError
from fqtbench.power.instrument import Chunk, Instrument, joined

_READ_S: Final = 0.1  # for which a read waits: how late the end of a record is noticed
_QUIET_S: Final = 0.3  # without a sample behind a stop: nothing more is on its way
_STOP_DEADLINE_S: Final = 30.0  # an emulated instrument's computer may be busy
_CHUNKS: Final = 256
_BATCH_S: Final = 0.1  # of samples that are taken at once: each time costs as much as thousands of samples


class Recorder:
    """A record from `start` to `stop`; `take` gets its samples in order, in a thread of its own.

    What either thread fails with ends the record and is kept: as `failure`, and `stop` raises it.
    """

    def __init__(
        self, instrument: Instrument, take: Callable[[Chunk], None], deadline_s: float = _STOP_DEADLINE_S
    ) -> None:
        self.failure: Exception | None = None
        self._instrument, self._take, self._deadline_s = instrument, take, deadline_s
        self._queue: queue.Queue[Chunk | None] = queue.Queue(_CHUNKS)
        self._stopping, self._abandoned = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._read, self._work)]

    def start(self) -> None:
        """Begin to sample."""
        self._instrument.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the record and wait until all of it is taken; raise what went wrong, or MonitorError if that is late."""
        try:
            self._instrument.stop()
        except Exception as error:
            self._fail(error)
        self._stopping.set()
        late_at_s = time.monotonic() + self._deadline_s
        for thread in self._threads:
            thread.join(max(late_at_s - time.monotonic(), 0))
        if any(thread.is_alive() for thread in self._threads):
            self._fail(
                MonitorError(
                    f"{self._instrument.name}: the record has not ended {self._deadline_s:g} s after the "
                    "instrument was told to stop; plug it out and in again"
                )
            )
        if self.failure is not None:
            raise self.failure

    def _fail(self, error: Exception) -> None:
        """Keep the first failure, which the others follow from."""
        if self.failure is None:
            self.failure = error
        self._abandoned.set()

    def _read(self) -> None:
        try:
            while not self._abandoned.is_set():
                last = self._stopping.is_set()
                chunks = self._instrument.read(_QUIET_S if last else _READ_S)
                for chunk in chunks:
                    self._put(chunk)
                if last and not chunks:
                    break
        except Exception as error:
            self._fail(error)
        self._put(None)

    def _put(self, chunk: Chunk | None) -> None:
        while not self._abandoned.is_set():
            try:
                self._queue.put(chunk, timeout=_READ_S)
            except queue.Full:
                continue
            return

    def _work(self) -> None:
        enough = self._instrument.rate_hz * _BATCH_S
        waiting: list[Chunk] = []
        try:
            while not self._abandoned.is_set():
                try:
                    chunk = self._queue.get(timeout=_READ_S)
                except queue.Empty:
                    continue
                if chunk is not None:
                    waiting.append(chunk)
                if waiting and (chunk is None or sum(map(len, waiting)) >= enough):
                    self._take(joined(waiting))
                    waiting = []
                if chunk is None:
                    return
        except Exception as error:
            self._fail(error)
