"""GPIO ports P0 and P1 (nRF52840 Product Specification v1.7, 6.9; offsets from Nordic's SVD)."""

from collections.abc import Callable
from typing import Final

OUT: Final = 0x504
OUTSET: Final = 0x508
OUTCLR: Final = 0x50C
IN: Final = 0x510
DIR: Final = 0x514
DIRSET: Final = 0x518
DIRCLR: Final = 0x51C
PIN_CNF: Final = 0x700
_PINS: Final = 32


class Gpio:
    """One port; `changed(driven_high, driven_low)` is called with bit masks whenever the outputs may have changed."""

    def __init__(self, changed: Callable[[int, int], None]) -> None:
        self._changed = changed
        self.reset()

    def reset(self) -> None:
        """All pins are inputs."""
        self._out = self._direction = 0
        self._plain: dict[int, int] = {}
        self._tell()

    def _tell(self) -> None:
        self._changed(self._out & self._direction, ~self._out & self._direction)

    def read(self, offset: int) -> int:
        """Return a register."""
        if offset in (OUT, OUTSET, OUTCLR):
            return self._out
        if offset in (DIR, DIRSET, DIRCLR):
            return self._direction
        if offset == IN:
            return self._out & self._direction
        return self._plain.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        match offset:
            case 0x504:
                self._out = value
            case 0x508:
                self._out |= value
            case 0x50C:
                self._out &= ~value
            case 0x514:
                self._direction = value
            case 0x518:
                self._direction |= value
            case 0x51C:
                self._direction &= ~value
            case _:
                self._plain[offset] = value
                pin = (offset - PIN_CNF) // 4
                if 0 <= pin < _PINS:
                    self._direction = self._direction & ~(1 << pin) | (value & 1) << pin
        self._tell()
