"""Events at points of virtual time, in cycles."""

import heapq
import itertools
from collections.abc import Callable
from typing import Final

NEVER: Final = 1 << 62


class Event:
    """Something that will happen at cycle `at`, unless it is cancelled."""

    def __init__(self, at: int, action: Callable[[], None]) -> None:
        self.at = at
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Make it not happen."""
        self.action = None


class Schedule:
    """Pending events in order of time; those of one cycle in order of their making."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Event]] = []
        self._numbers = itertools.count()
        self.on_earlier: Callable[[int], None] = lambda at: None

    def add(self, at: int, action: Callable[[], None]) -> Event:
        """Let `action` happen at cycle `at`."""
        event = Event(at, action)
        heapq.heappush(self._heap, (at, next(self._numbers), event))
        self.on_earlier(at)
        return event

    @property
    def next_at(self) -> int:
        """Cycle of the next event; NEVER if there is none."""
        while self._heap and self._heap[0][2].action is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else NEVER

    def fire(self, now: int) -> None:
        """Let everything happen that is due at `now`."""
        while self.next_at <= now:
            event = heapq.heappop(self._heap)[2]
            action, event.action = event.action, None
            if action is not None:
                action()

    def clear(self) -> None:
        """Forget all events."""
        self._heap.clear()
