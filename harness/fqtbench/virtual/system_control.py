"""The private peripheral bus: SCB, NVIC, DWT cycle counter (ARMv7-M Architecture Reference Manual, B3.2 and C1.8)."""

from collections.abc import Callable
from typing import Final, Protocol

BASE: Final = 0xE0000000
SIZE: Final = 0x0010_0000

DWT_CTRL: Final = 0x1000
DWT_CYCCNT: Final = 0x1004
ICSR: Final = 0xED04
VTOR: Final = 0xED08
AIRCR: Final = 0xED0C
CPUID: Final = 0xED00
CFSR: Final = 0xED28
HFSR: Final = 0xED2C
CPACR: Final = 0xED88
DEMCR: Final = 0xEDFC
NVIC_ISER: Final = 0xE100
NVIC_ICER: Final = 0xE180
NVIC_ISPR: Final = 0xE200
NVIC_ICPR: Final = 0xE280
_NVIC_WORDS: Final = 16  # 8 a register bank, rounded up

AIRCR_KEY: Final = 0x05FA
AIRCR_READ_KEY: Final = 0xFA05
SYSRESETREQ: Final = 1 << 2
TRCENA: Final = 1 << 24
CYCCNTENA: Final = 1
_MASK: Final = 0xFFFFFFFF


class Core(Protocol):
    """What these registers need of the core."""

    @property
    def now(self) -> int:
        """Cycles since power-on."""

    def request_reset(self) -> None:
        """Reset the chip when the instruction that asks for it has ended."""

    def interrupts_changed(self) -> None:
        """Look at pending interrupts again soon."""


class SystemControl:
    """SCB, NVIC and DWT of one core."""

    def __init__(self, core: Core, cpuid: int) -> None:
        self._core = core
        self._cpuid = cpuid
        self._counter_offset = 0
        self.reset()

    def reset(self) -> None:
        """Go to the reset state."""
        self._plain: dict[int, int] = {CPUID: self._cpuid, DWT_CTRL: 4 << 28}
        self.enabled = 0  # bit per interrupt
        self.pending = 0
        self._lines = 0
        self._frozen_count = 0

    # -- interrupts ----------------------------------------------------------------------------------------

    def set_line(self, interrupt: int, level: bool) -> None:
        """Set the level of an interrupt line; a rising or high level makes it pending."""
        bit = 1 << interrupt
        if level:
            self._lines |= bit
            if not self.pending & bit:
                self.pending |= bit
                self._core.interrupts_changed()
        else:
            self._lines &= ~bit

    @property
    def wakes(self) -> bool:
        """Whether an enabled interrupt is pending: that wakes WFI whatever PRIMASK says (ARMv7-M ARM B1.5.19)."""
        return bool(self.enabled & self.pending)

    def next_interrupt(self) -> int | None:
        """Return the lowest enabled pending interrupt."""
        ready = self.enabled & self.pending
        return (ready & -ready).bit_length() - 1 if ready else None

    def acknowledge(self, interrupt: int) -> None:
        """The core has entered the handler; a line that stays high makes it pending again on return."""
        self.pending &= ~(1 << interrupt)

    # -- registers -----------------------------------------------------------------------------------------

    @property
    def vector_table(self) -> int:
        """Address of the vector table."""
        return self._plain.get(VTOR, 0)

    def read(self, offset: int) -> int:
        """Return a register."""
        bank = self._bank(offset)
        if bank is not None:
            base, shift = bank
            return (self.enabled if base in (NVIC_ISER, NVIC_ICER) else self.pending) >> shift & _MASK
        match offset:
            case 0x1004:
                return self._counter()
            case 0xED0C:
                return AIRCR_READ_KEY << 16 | self._plain.get(AIRCR, 0)
            case _:
                return self._plain.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        bank = self._bank(offset)
        if bank is not None:
            self._write_bank(*bank, value)
            return
        match offset:
            case 0x1004:
                self._set_counter(value)
            case 0x1000 | 0xEDFC:
                count = self._counter()
                self._plain[offset] = value | (4 << 28 if offset == DWT_CTRL else 0)
                self._set_counter(count)
            case 0xED0C:
                if value >> 16 == AIRCR_KEY:
                    self._plain[AIRCR] = value & 0x700  # PRIGROUP
                    if value & SYSRESETREQ:
                        self._core.request_reset()
            case 0xED28 | 0xED2C:
                self._plain[offset] = self._plain.get(offset, 0) & ~value  # write one to clear
            case 0xED00:
                pass
            case _:
                self._plain[offset] = value

    def record_fault(self, hfsr: int) -> None:
        """Keep why a HardFault came."""
        self._plain[HFSR] = self._plain.get(HFSR, 0) | hfsr

    @staticmethod
    def _bank(offset: int) -> tuple[int, int] | None:
        for base in (NVIC_ISER, NVIC_ICER, NVIC_ISPR, NVIC_ICPR):
            if base <= offset < base + 4 * _NVIC_WORDS:
                return base, 8 * (offset - base)
        return None

    def _write_bank(self, base: int, shift: int, value: int) -> None:
        bits = value << shift
        changes: dict[int, Callable[[], None]] = {
            NVIC_ISER: lambda: setattr(self, "enabled", self.enabled | bits),
            NVIC_ICER: lambda: setattr(self, "enabled", self.enabled & ~bits),
            NVIC_ISPR: lambda: setattr(self, "pending", self.pending | bits),
            NVIC_ICPR: lambda: setattr(self, "pending", (self.pending & ~bits) | self._lines),
        }
        changes[base]()
        self._core.interrupts_changed()

    # -- cycle counter -------------------------------------------------------------------------------------

    @property
    def _counting(self) -> bool:
        return bool(self._plain.get(DEMCR, 0) & TRCENA and self._plain.get(DWT_CTRL, 0) & CYCCNTENA)

    def _counter(self) -> int:
        return (self._core.now - self._counter_offset if self._counting else self._frozen_count) & _MASK

    def _set_counter(self, value: int) -> None:
        self._frozen_count = value
        self._counter_offset = self._core.now - value
