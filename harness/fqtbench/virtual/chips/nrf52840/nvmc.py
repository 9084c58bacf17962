"""NVMC: the flash controller (nRF52840 Product Specification v1.7, 4.3; offsets from Nordic's SVD).

Flash is NOR: programming clears bits, only an erase sets them. While CONFIG allows writing, the flash is writable
memory for the CPU; when it no longer does, each bit that a store set is cleared again.
"""

from collections.abc import Callable
from typing import Final

READY: Final = 0x400
READYNEXT: Final = 0x408
CONFIG: Final = 0x504
ERASEPAGE: Final = 0x508
ERASEALL: Final = 0x50C
ERASEPAGEPARTIAL: Final = 0x518
ERASEUICR: Final = 0x514
ICACHECNF: Final = 0x540

READ_ONLY: Final = 0
WRITE: Final = 1
ERASE: Final = 2
PAGE_BYTES: Final = 4096


class Nvmc:
    """`erase(address, size)` fills with 0xFF; `open_flash(bool)` allows and ends CPU stores."""

    def __init__(
        self,
        flash_bytes: int,
        uicr: tuple[int, int],
        erase: Callable[[int, int], None],
        open_flash: Callable[[bool], None],
    ) -> None:
        self._flash_bytes, self._uicr = flash_bytes, uicr
        self._erase, self._open_flash = erase, open_flash
        self.config = READ_ONLY
        self._cache = 0

    def reset(self) -> None:
        """Go to the reset state."""
        self._configure(READ_ONLY)
        self._cache = 0

    def read(self, offset: int) -> int:
        """Return a register; the controller is always ready: programming takes no virtual time."""
        if offset in (READY, READYNEXT):
            return 1
        return {CONFIG: self.config, ICACHECNF: self._cache}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        if offset == CONFIG:
            self._configure(value & 3)
        elif offset == ICACHECNF:
            self._cache = value
        elif self.config == ERASE:
            self._start_erase(offset, value)

    def _configure(self, config: int) -> None:
        if (config == WRITE) != (self.config == WRITE):
            self._open_flash(config == WRITE)
        self.config = config

    def _start_erase(self, offset: int, value: int) -> None:
        if offset in (ERASEPAGE, ERASEPAGEPARTIAL) and value < self._flash_bytes:
            self._erase(value // PAGE_BYTES * PAGE_BYTES, PAGE_BYTES)
        elif offset == ERASEALL and value & 1:
            self._erase(0, self._flash_bytes)
            self._erase(*self._uicr)
        elif offset == ERASEUICR and value & 1:
            self._erase(*self._uicr)
