"""The flash controller (RM0090 rev 19, "RM": 3.6 to 3.9; offsets from STM32F429x.svd). Operations take no virtual time.

The CPU programs by storing into flash while CR says PG; such a store clears bits, and one that the controller doesn't
expect sets an error flag and is lost.
"""

from collections.abc import Callable
from typing import Final

from fqtbench.virtual.peripheral import PlainRegisters

ACR: Final = 0x00
KEYR: Final = 0x04
SR: Final = 0x0C
CR: Final = 0x10
OPTCR: Final = 0x14

PG: Final = 1 << 0
SER: Final = 1 << 1
MER: Final = 1 << 2  # bank 1
MER1: Final = 1 << 15  # bank 2
STRT: Final = 1 << 16
LOCK: Final = 1 << 31
PGPERR: Final = 1 << 6
PGSERR: Final = 1 << 7
_ERRORS: Final = 0xF2  # PGSERR, PGPERR, PGAERR, WRPERR, OPERR: cleared by ones
_EOP: Final = 1 << 0
_KEYS: Final = (0x45670123, 0xCDEF89AB)  # RM 3.6.1
_OPTCR_RESET: Final = 0x0FFFAAED  # RDP level 0, watchdog by software

BANK_BYTES: Final = 1 << 20
_BANK_SECTORS: Final = (*[16 << 10] * 4, 64 << 10, *[128 << 10] * 7)  # bytes; RM table 6
_SECOND_BANK: Final = 1 << 4  # of SNB


def sector(number: int) -> tuple[int, int] | None:
    """Return offset in flash and bytes of the sector that CR.SNB calls `number`; None if there is none."""
    index = number % _SECOND_BANK
    if index >= len(_BANK_SECTORS):
        return None
    bank = BANK_BYTES if number & _SECOND_BANK else 0
    return bank + sum(_BANK_SECTORS[:index]), _BANK_SECTORS[index]


class FlashController(PlainRegisters):
    """`erase(offset, size)` fills with 0xFF, `program(address, data)` clears bits."""

    def __init__(self, erase: Callable[[int, int], None], program: Callable[[int, bytes], None]) -> None:
        self._erase, self._program = erase, program
        super().__init__(x10=LOCK, x14=_OPTCR_RESET)

    def reset(self) -> None:
        """Locked."""
        super().reset()
        self._keys_given = 0
        self._broken = False  # a wrong key locks until the next reset

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        match offset:
            case 0x04:
                self._unlock(value)
            case 0x0C:
                self.values[SR] = self.read(SR) & ~(value & (_ERRORS | _EOP))
            case 0x10:
                self._control(value)
            case 0x00:
                super().write(offset, value)
            case _:
                pass  # option bytes stay as they are

    def _unlock(self, key: int) -> None:
        if self._broken or key != _KEYS[self._keys_given]:
            self._broken = True
            return
        self._keys_given = (self._keys_given + 1) % len(_KEYS)
        if not self._keys_given:
            self.values[CR] &= ~LOCK

    def _control(self, value: int) -> None:
        if self.values[CR] & LOCK:
            return
        self.values[CR] = value & ~STRT
        if value & STRT:
            self._start(value)

    def _start(self, control: int) -> None:
        if control & (PG | SER | MER | MER1) == SER:
            found = sector(control >> 3 & 0x1F)
            if found is not None:
                self._erase(*found)
        elif control & SER == 0:
            if control & MER:
                self._erase(0, BANK_BYTES)
            if control & MER1:
                self._erase(BANK_BYTES, BANK_BYTES)

    def store(self, address: int, data: bytes) -> None:
        """A store into flash, from code or a debugger."""
        control = self.values[CR]
        if control & LOCK or not control & PG or control & (SER | MER | MER1):
            self.values[SR] = self.read(SR) | PGSERR
        elif len(data) != 1 << (control >> 8 & 3):
            self.values[SR] = self.read(SR) | PGPERR
        else:
            self._program(address, data)
