"""The system timer (ARMv7-M Architecture Reference Manual, B3.3), clocked by the core clock."""

from collections.abc import Callable
from typing import Final

from fqtbench.virtual.schedule import Event, Schedule

CSR: Final = 0xE010
RVR: Final = 0xE014
CVR: Final = 0xE018
CALIB: Final = 0xE01C

ENABLE: Final = 1 << 0
TICKINT: Final = 1 << 1
CLKSOURCE: Final = 1 << 2
COUNTFLAG: Final = 1 << 16
_MASK: Final = 0xFFFFFF


class SysTick:
    """Counts down from the reload value; `pend` is called at each 1 → 0 while TICKINT is set."""

    def __init__(self, schedule: Schedule, now: Callable[[], int], pend: Callable[[], None]) -> None:
        self._schedule, self._now, self._pend = schedule, now, pend
        self._event: Event | None = None
        self.reset()

    def reset(self) -> None:
        """Stopped, all registers 0."""
        self._control = self._reload = self._stopped_at = 0
        self._flag = False
        self._zero_at = 0  # when the counter is 0 next
        self._cancel()

    def _cancel(self) -> None:
        if self._event is not None:
            self._event.cancel()
        self._event = None

    def _value(self) -> int:
        return (self._zero_at - self._now()) & _MASK if self._event is not None else self._stopped_at

    def read(self, offset: int) -> int:
        """Return a register; reading CSR clears COUNTFLAG."""
        if offset == CSR:
            flag, self._flag = self._flag, False
            return self._control | CLKSOURCE | (COUNTFLAG if flag else 0)
        return {RVR: self._reload, CVR: self._value()}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register; any write to CVR makes the counter 0."""
        if offset == CSR:
            left = self._value()
            self._control = value & (ENABLE | TICKINT)
            self._start(left)
        elif offset == RVR:
            self._reload = value & _MASK
        elif offset == CVR:
            self._flag = False
            self._start(0)

    def _start(self, left: int) -> None:
        """Count on with `left` cycles to go; from 0 the counter takes up the reload value in the next cycle."""
        self._cancel()
        self._stopped_at = left
        if self._control & ENABLE and (left or self._reload):
            self._zero_at = self._now() + (left or self._reload + 1)
            self._event = self._schedule.add(self._zero_at, self._reach_zero)

    def _reach_zero(self) -> None:
        self._event = None
        self._stopped_at = 0
        self._flag = True
        if self._control & TICKINT:
            self._pend()
        if self._reload:
            self._zero_at += self._reload + 1
            self._event = self._schedule.add(self._zero_at, self._reach_zero)
