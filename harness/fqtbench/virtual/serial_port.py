"""What all UARTs share: bytes on the line, in and out, in virtual time.

Received bytes reach the UART lazily: at each register access, at WFI, at the end of a frame, and at the next instant
that code could notice, which a subclass knows. So nothing that the core can see differs from a UART that works byte by
byte, and a frame costs a few events instead of one a byte.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Protocol

from fqtbench.virtual.flow import Flow
from fqtbench.virtual.schedule import Event, Schedule

BITS_PER_BYTE: Final = 10  # start, 8 data, stop


class Pins(Protocol):
    """What a UART needs of a chip's pins."""

    @property
    def connected(self) -> bool:
        """Whether the RX pin leads to the UART."""

    @property
    def watched(self) -> bool:
        """Whether a falling edge of the RX pin would make a difference."""

    def fall(self) -> None:
        """A falling edge on the RX pin."""


class SerialPort(ABC):
    """A UART's two ends of the line. `transmitted` takes the bytes whose last bit has been sent."""

    def __init__(
        self, now: Callable[[], int], schedule: Schedule, transmitted: Callable[[bytes], None]
    ) -> None:
        self._now, self._schedule, self._transmitted = now, schedule, transmitted
        self.flow: Flow | None = None
        self._events: list[Event] = []

    def _reset_line(self) -> None:
        """Lose the frames on the line."""
        for event in self._events:
            event.cancel()
        self._events = []
        self._frame, self._frame_at, self._delivered, self._started = b"", 0, 0, 0
        self._sending_until = 0
        self._arrival: Event | None = None

    def _at(self, at: int, action: Callable[[], None]) -> Event:
        event = self._schedule.add(at, action)
        self._events = [e for e in self._events if e.action is not None] + [event]
        return event

    # -- what a UART says ------------------------------------------------------------------------------------

    @abstractmethod
    def byte_cycles(self) -> int:
        """Return how long a byte takes on the line, in cycles of virtual time."""

    @abstractmethod
    def _begin_byte(self) -> None:
        """See the edge of one or more start bits."""

    @abstractmethod
    def _take(self, data: bytes) -> None:
        """Take bytes that have arrived."""

    @abstractmethod
    def _next_notice(self, left: int) -> int | None:
        """Return the cycle at which code could notice one of the `left` bytes of the frame; None if at none."""

    # -- receiver ------------------------------------------------------------------------------------------

    def receive(self, frame: bytes, at: int) -> None:
        """Let `frame` begin on the RX line at cycle `at`."""
        self._frame, self._frame_at, self._delivered, self._started = frame, at, 0, 0
        if self.flow is not None:
            self.flow.begin_transfer()
        ends = at + self.byte_cycles() * len(frame)
        self._at(ends, lambda: self._frame_ends(ends))
        self.watch_arrivals()

    def _frame_ends(self, at: int) -> None:
        self.synchronize()
        self._frame, self._delivered = b"", 0
        if self.flow is not None:
            self.flow.end_transfer(at)

    def synchronize(self) -> None:
        """Take what has arrived by now."""
        elapsed = self._now() - self._frame_at
        if not self._frame or elapsed < 0:
            return
        started = min(elapsed // self.byte_cycles() + 1, len(self._frame))
        if started > self._started:
            self._started = started
            self._begin_byte()
        arrived = min(elapsed // self.byte_cycles(), len(self._frame))
        if arrived > self._delivered:
            data = self._frame[self._delivered : arrived]
            self._delivered = arrived
            self._take(data)

    def watch_arrivals(self) -> None:
        """Look when the next byte comes that code could notice."""
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None
        left = len(self._frame) - self._delivered
        at = self._next_notice(left) if left else None
        if at is not None:
            self._arrival = self._at(at, self._arrives)

    def _next_start_bit(self) -> int | None:
        """Return the cycle of the next start bit."""
        if self._started >= len(self._frame):
            return None
        return self._frame_at + self._started * self.byte_cycles()

    def _arrival_of(self, n: int) -> int | None:
        """Return the cycle at which `n` more bytes will have arrived; None for none."""
        return self._frame_at + (self._delivered + n) * self.byte_cycles() if n else None

    def _arrives(self) -> None:
        self._arrival = None
        self.synchronize()
        self.watch_arrivals()

    # -- transmitter -----------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> int:
        """Put bytes on the line behind those that are on it; return when the last bit will have passed."""
        if self.flow is not None:
            self.flow.begin_transfer()
        begin = max(self._now(), self._sending_until)
        end = begin + self.byte_cycles() * len(data)
        self._sending_until = end
        self._at(end, lambda: self._sent(data, end))
        return end

    def _sent(self, data: bytes, at: int) -> None:
        self._transmitted(data)
        if self.flow is not None:
            self.flow.end_transfer(at)
