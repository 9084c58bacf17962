"""The private peripheral bus: SCB, NVIC, SysTick, DWT cycle counter (ARMv7-M ARM, B3.2 to B3.4 and C1.8).

Exceptions go by their numbers: 14 PendSV, 15 SysTick, 16 and up the interrupts (B1.5.2).
"""

from collections.abc import Callable
from typing import Final, Protocol

from fqtbench.virtual import systick
from fqtbench.virtual.schedule import Schedule

BASE: Final = 0xE0000000
SIZE: Final = 0x0010_0000

DWT_CTRL: Final = 0x1000
DWT_CYCCNT: Final = 0x1004
ICSR: Final = 0xED04
VTOR: Final = 0xED08
AIRCR: Final = 0xED0C
CPUID: Final = 0xED00
SHPR1: Final = 0xED18
SHCSR: Final = 0xED24
CFSR: Final = 0xED28
HFSR: Final = 0xED2C
BFAR: Final = 0xED38
CPACR: Final = 0xED88
DEMCR: Final = 0xEDFC
NVIC_ISER: Final = 0xE100
NVIC_ICER: Final = 0xE180
NVIC_ISPR: Final = 0xE200
NVIC_ICPR: Final = 0xE280
NVIC_IABR: Final = 0xE300
NVIC_IPR: Final = 0xE400
_NVIC_WORDS: Final = 16  # 8 a register bank, rounded up

AIRCR_KEY: Final = 0x05FA
AIRCR_READ_KEY: Final = 0xFA05
SYSRESETREQ: Final = 1 << 2
TRCENA: Final = 1 << 24
CYCCNTENA: Final = 1
FIRST_INTERRUPT: Final = 16
PENDSV: Final = 14
SYSTICK: Final = 15
_PENDSVSET, _PENDSVCLR, _PENDSTSET, _PENDSTCLR = 1 << 28, 1 << 27, 1 << 26, 1 << 25  # ICSR
_FIXED_PRIORITIES: Final = {1: -3, 2: -2, 3: -1}  # reset, NMI, HardFault (B1.5.4)
_PRIORITY_MASK: Final = 0xE0  # three bits of priority (nRF52840 SVD, nvicPrioBits)
THREAD_PRIORITY: Final = 256  # lower than any exception's
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
    """SCB, NVIC, SysTick and DWT of one core."""

    def __init__(self, core: Core, schedule: Schedule, cpuid: int) -> None:
        self._core = core
        self._cpuid = cpuid
        self.constants: dict[int, int] = {}  # by offset: what a chip's maker has put on this bus
        self._counter_offset = 0
        self._systick = systick.SysTick(schedule, lambda: core.now, lambda: self._pend(SYSTICK))
        self.reset()

    def reset(self) -> None:
        """Go to the reset state."""
        self._plain: dict[int, int] = {CPUID: self._cpuid, DWT_CTRL: 4 << 28, **self.constants}
        self.enabled = 0  # bit per interrupt
        self.pending = 0
        self._lines = 0
        self._system_pending: set[int] = set()  # PendSV, SysTick
        self._active: list[int] = []
        self._frozen_count = 0
        self._systick.reset()

    # -- exceptions ----------------------------------------------------------------------------------------

    def set_line(self, interrupt: int, level: bool) -> None:
        """Set the level of an interrupt line; its rise makes it pending."""
        bit = 1 << interrupt
        if level and not self._lines & bit and not self.pending & bit:
            self.pending |= bit
            self._core.interrupts_changed()
        self._lines = self._lines | bit if level else self._lines & ~bit

    def _pend(self, number: int) -> None:
        self._system_pending.add(number)
        self._core.interrupts_changed()

    def next_pending(self) -> int | None:
        """Return the most urgent exception that is pending and enabled; of equals the lowest number."""
        ready = self.enabled & self.pending
        if not ready and not self._system_pending:
            return None
        numbers = [FIRST_INTERRUPT + n for n in range(ready.bit_length()) if ready >> n & 1]
        return min([*self._system_pending, *numbers], key=lambda number: (self.priority(number), number))

    def acknowledge(self, number: int) -> None:
        """The core enters the handler: no longer pending."""
        self._system_pending.discard(number)
        if number >= FIRST_INTERRUPT:
            self.pending &= ~(1 << number - FIRST_INTERRUPT)

    def activate(self, number: int) -> None:
        """The core handles this exception."""
        self._active.append(number)

    def deactivate(self, number: int) -> None:
        """The handler has returned; a line that is still high makes its interrupt pending again (B3.4.1)."""
        if number in self._active:
            self._active.remove(number)
        if number >= FIRST_INTERRUPT:
            self.pending |= self._lines & 1 << number - FIRST_INTERRUPT

    def priority(self, number: int) -> int:
        """Return the group priority of an exception; less is more urgent."""
        if number in _FIXED_PRIORITIES:
            return _FIXED_PRIORITIES[number]
        offset = NVIC_IPR + number - FIRST_INTERRUPT if number >= FIRST_INTERRUPT else SHPR1 + number - 4
        return self.group(self._plain.get(offset & ~3, 0) >> 8 * (offset & 3) & 0xFF)

    def group(self, priority: int) -> int:
        """Return what AIRCR.PRIGROUP leaves of a priority for pre-emption (B1.5.4)."""
        prigroup = self._plain.get(AIRCR, 0) >> 8 & 7
        return priority & _PRIORITY_MASK & ~((2 << prigroup) - 1)

    def active_priority(self) -> int:
        """Return the priority of the most urgent exception being handled."""
        return min((self.priority(number) for number in self._active), default=THREAD_PRIORITY)

    @property
    def fault_enables(self) -> int:
        """SHCSR: which faults have handlers of their own."""
        return self._plain.get(SHCSR, 0)

    def record_fault(self, cfsr: int, bfar: int | None = None) -> None:
        """Keep why a fault came, and at which address."""
        self._plain[CFSR] = self._plain.get(CFSR, 0) | cfsr
        if bfar is not None:
            self._plain[BFAR] = bfar

    def record_hard_fault(self, hfsr: int) -> None:
        """Keep why a HardFault came."""
        self._plain[HFSR] = self._plain.get(HFSR, 0) | hfsr

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
            return self._bits(base) >> shift & _MASK
        match offset:
            case 0x1004:
                return self._counter()
            case systick.CSR | systick.RVR | systick.CVR | systick.CALIB:
                return self._systick.read(offset)
            case 0xED04:
                return self._interrupt_state()
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
            case systick.CSR | systick.RVR | systick.CVR:
                self._systick.write(offset, value)
            case 0xED04:
                self._write_interrupt_state(value)
            case 0xED28 | 0xED2C:
                self._plain[offset] = self._plain.get(offset, 0) & ~value  # write one to clear
            case 0xED00:
                pass
            case _ if NVIC_IPR <= offset < NVIC_IPR + 240:
                self._plain[offset] = value & _PRIORITY_MASK * 0x01010101
                self._core.interrupts_changed()
            case _:
                self._plain[offset] = value

    def _interrupt_state(self) -> int:
        """ICSR (B3.2.4)."""
        active = self._active[-1] if self._active else 0
        pending = self.next_pending() or 0
        value = active | pending << 12 | (1 << 22 if self.enabled & self.pending else 0)
        value |= _PENDSVSET if PENDSV in self._system_pending else 0
        return value | (_PENDSTSET if SYSTICK in self._system_pending else 0)

    def _write_interrupt_state(self, value: int) -> None:
        for number, set_bit, clear_bit in (
            (PENDSV, _PENDSVSET, _PENDSVCLR),
            (SYSTICK, _PENDSTSET, _PENDSTCLR),
        ):
            if value & set_bit:
                self._pend(number)
            elif value & clear_bit:
                self._system_pending.discard(number)

    @staticmethod
    def _bank(offset: int) -> tuple[int, int] | None:
        for base in (NVIC_ISER, NVIC_ICER, NVIC_ISPR, NVIC_ICPR, NVIC_IABR):
            if base <= offset < base + 4 * _NVIC_WORDS:
                return base, 8 * (offset - base)
        return None

    def _bits(self, base: int) -> int:
        if base == NVIC_IABR:
            return sum(1 << n - FIRST_INTERRUPT for n in self._active if n >= FIRST_INTERRUPT)
        return self.enabled if base in (NVIC_ISER, NVIC_ICER) else self.pending

    def _write_bank(self, base: int, shift: int, value: int) -> None:
        bits = value << shift
        changes: dict[int, Callable[[], None]] = {
            NVIC_ISER: lambda: setattr(self, "enabled", self.enabled | bits),
            NVIC_ICER: lambda: setattr(self, "enabled", self.enabled & ~bits),
            NVIC_ISPR: lambda: setattr(self, "pending", self.pending | bits),
            NVIC_ICPR: lambda: setattr(self, "pending", (self.pending & ~bits) | self._lines),
        }
        if base in changes:
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
