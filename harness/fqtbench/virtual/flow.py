"""The rule that makes a virtual UART deterministic (docs/wire.md, "RTS").

Each assertion of RTS admits one host frame. It begins a fixed time after the latest of: that assertion, the last TX
bit, the end of the frame before. The CPU does not pass that instant until the frame is complete in hand.
"""

from collections import deque
from collections.abc import Callable

from fqtbench.virtual.schedule import Event, Schedule
from fqtbench.virtual.uart_line import FrameBuffer


class Flow:
    """Decides when host frames begin; `start(frame, at)` is called with each."""

    def __init__(self, schedule: Schedule, gap_cycles: int, start: Callable[[bytes, int], None]) -> None:
        self._schedule = schedule
        self._gap_cycles = gap_cycles
        self.start = start
        self.frames = FrameBuffer()
        self._event: Event | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the chip's side; host bytes in hand stay."""
        if self._event is not None:
            self._event.cancel()
        self.frozen = False  # the instant has come, the frame has not
        self._rts = False
        self._admitted: deque[int] = deque()  # when RTS was asserted, for each frame that has not begun
        self._quiet_since = 0
        self._busy = 0  # transfers in progress, of either direction
        self._event = None
        self._due_at = 0

    def abandon(self) -> None:
        """Forget which frames RTS has admitted; transfers in progress go on."""
        self._rts = False
        self._admitted.clear()
        self._arm()

    def rts(self, asserted: bool, now: int) -> None:
        """Tell the state of the RTS pin."""
        if asserted and not self._rts:
            self._admitted.append(now)
        self._rts = asserted
        self._arm()

    def begin_transfer(self) -> None:
        """A frame begins on TX or RX."""
        self._busy += 1
        self._arm()

    def end_transfer(self, now: int) -> None:
        """The last bit of a frame on TX or RX has passed."""
        self._busy -= 1
        self._quiet_since = max(self._quiet_since, now)
        self._arm()

    def _arm(self) -> None:
        if self._event is not None:
            self._event.cancel()
            self._event = None
        self.frozen = False
        if not self._admitted or self._busy:
            return
        self._due_at = max(self._admitted[0], self._quiet_since) + self._gap_cycles
        self._event = self._schedule.add(self._due_at, self._due)

    def _due(self) -> None:
        self._event = None
        self.frozen = True
        self.try_start()

    def try_start(self) -> None:
        """Let the frame begin if its instant has come and it is in hand; call it when host bytes arrive."""
        if not self.frozen:
            return
        frame = self.frames.take()
        if frame is not None:
            self.frozen = False
            self._admitted.popleft()
            self.start(frame, self._due_at)
