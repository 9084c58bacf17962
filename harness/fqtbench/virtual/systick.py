"""The system timer (ARMv7-M Architecture Reference Manual, B3.3), clocked by the core clock."""

from collections.abc import Callable
from typing import Final

from fqtbench.virtual.schedule import NEVER, Event, Schedule

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
    """Counts down from the reload value; `pend` is called at each 1 → 0 while TICKINT is set.

    Without TICKINT nothing happens by itself: a timer that only counts keeps no sleeping core from waiting for ever.
    """

    def __init__(self, schedule: Schedule, now: Callable[[], int], pend: Callable[[], None]) -> None:
        self._schedule, self._now, self._pend = schedule, now, pend
        self._event: Event | None = None
        self.reset()

    def reset(self) -> None:
        """Stopped, all registers 0."""
        self._control = self._reload = 0
        self._set_flag(False)
        self._set_value(0)

    def _set_value(self, value: int) -> None:
        """Let the counter be `value` now; from 0 it takes up the reload value in the next cycle."""
        self._stopped_at = value
        self._zero_at = (
            self._now() + value
        )  # while it counts: when it is 0, and again each `_reload + 1` cycles
        self._schedule_next()

    @property
    def _counts(self) -> bool:
        return bool(self._control & ENABLE)

    def _value(self) -> int:
        if not self._counts:
            return self._stopped_at
        ahead = self._zero_at - self._now()
        if ahead >= 0:
            return ahead
        return ahead % (self._reload + 1) if self._reload else 0

    def _set_flag(self, flag: bool) -> None:
        self._flag_before, self._flag_since = flag, self._now()

    def _flag(self) -> bool:
        """Whether the counter has become 0 since the flag was set or cleared, or was set then."""
        return self._flag_before or (self._counts and self._next_zero(self._flag_since) <= self._now())

    def _next_zero(self, behind: int) -> int:
        """Return when the counter becomes 0 next after cycle `behind`; NEVER if it stays there."""
        if self._zero_at > behind:
            return self._zero_at
        return behind + 1 + (self._zero_at - behind - 1) % (self._reload + 1) if self._reload else NEVER

    def read(self, offset: int) -> int:
        """Return a register; reading CSR clears COUNTFLAG."""
        if offset == CSR:
            flag = self._flag()
            self._set_flag(False)
            return self._control | CLKSOURCE | (COUNTFLAG if flag else 0)
        return {RVR: self._reload, CVR: self._value()}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register; any write to CVR makes the counter 0."""
        counter = self._value()
        self._set_flag(self._flag() and offset != CVR)
        if offset == CSR:
            self._control = value & (ENABLE | TICKINT)
        elif offset == RVR:
            self._reload = value & _MASK
        self._set_value(0 if offset == CVR else counter)

    def _schedule_next(self) -> None:
        if self._event is not None:
            self._event.cancel()
        self._event = None
        if self._control & TICKINT and self._counts:
            at = self._next_zero(self._now())
            self._event = self._schedule.add(at, self._reach_zero) if at < NEVER else None

    def _reach_zero(self) -> None:
        self._event = None
        self._pend()
        self._schedule_next()
