"""Virtual nRF52840: memories, the peripherals that the firmware and a debugger use, and the UART's flow rule.

Addresses and reset values: nRF52840 Product Specification v1.7 (4.2 memory, 4.4 FICR, 4.5 UICR) and Nordic's SVD.
"""

import struct
from typing import Final

import unicorn
from unicorn import arm_const as arm

from fqtbench.virtual.chip import Core
from fqtbench.virtual.chips.nrf52840.debug import IDENTITY
from fqtbench.virtual.chips.nrf52840.gpio import Gpio
from fqtbench.virtual.chips.nrf52840.nvmc import PAGE_BYTES, WRITE, Nvmc
from fqtbench.virtual.chips.nrf52840.uarte import Uarte
from fqtbench.virtual.memory import CodeMemory, Kind, Region
from fqtbench.virtual.peripheral import PlainRegisters
from fqtbench.virtual.timing import cortex_m4
from fqtbench.virtual.uart_chip import UartChip
from fqtbench.virtual.uart_line import Line

CLOCK_HZ: Final = 64_000_000
FLASH_BYTES: Final = 1 << 20
RAM_BASE: Final = 0x20000000
RAM_BYTES: Final = 1 << 18
CPUID: Final = 0x410FC241  # Cortex-M4 r0p1 (TRM, 4.1)

FICR_BASE: Final = 0x10000000
UICR_BASE: Final = 0x10001000
UICR_BYTES: Final = 0x1000
APPROTECT: Final = UICR_BASE + 0x208
APPROTECT_ENABLED: Final = 0x00

RESETREAS_SREQ: Final = 1 << 2
RESETREAS_LOCKUP: Final = 1 << 3

_CORE: Final = Core(arm.UC_CPU_ARM_CORTEX_M4, CPUID, cortex_m4.TIMING, IDENTITY)
_UARTE0_IRQ: Final = 2  # the peripheral id is the interrupt number (PS 4.2.3)
_RTS_PIN: Final = 5  # P0.05, the DK's wiring (boards/nrf52840.toml)
_TRIGGER_PIN: Final = 1  # P1.01
_FICR: Final = {
    0x010: 4096,  # CODEPAGESIZE
    0x014: 256,  # CODESIZE, pages
    0x100: 0x52840,  # INFO.PART
    0x104: 0x41414430,  # INFO.VARIANT "AAD0"
    0x108: 0x2004,  # INFO.PACKAGE: QI
    0x10C: 256,  # INFO.RAM, KB
    0x110: 1024,  # INFO.FLASH, KB
}


class ClockPower(PlainRegisters):
    """CLOCK and POWER share a page (PS 5.3, 5.4); oscillators start at once."""

    _STARTS: Final = {
        0x000: (0x100, 0x40C, 0x10001),
        0x008: (0x104, 0x418, 0x10001),
    }  # task: event, status, value

    def __init__(self) -> None:
        self.reset_reason = 0
        super().__init__()

    def read(self, offset: int) -> int:
        """Return a register."""
        return self.reset_reason if offset == 0x400 else super().read(offset)

    def write(self, offset: int, value: int) -> None:
        """Write a register; RESETREAS is cleared by ones."""
        if offset == 0x400:
            self.reset_reason &= ~value
        elif offset in self._STARTS and value & 1:
            event, status, running = self._STARTS[offset]
            self.values[event], self.values[status] = 1, running
        else:
            super().write(offset, value)


class GpioPage:
    """P0 and P1 share a page, 0x300 apart."""

    _P1: Final = 0x300
    _SPLIT: Final = 0x800

    def __init__(self, p0: Gpio, p1: Gpio) -> None:
        self._p0, self._p1 = p0, p1

    def read(self, offset: int) -> int:
        """Return a register."""
        return self._p0.read(offset) if offset < self._SPLIT else self._p1.read(offset - self._P1)

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        if offset < self._SPLIT:
            self._p0.write(offset, value)
        else:
            self._p1.write(offset - self._P1, value)

    def reset(self) -> None:
        """All pins are inputs."""
        self._p0.reset()
        self._p1.reset()


class Nrf52840(UartChip):
    """The chip on a Nordic nRF52840-DK, its UART on `line`."""

    def __init__(self, line: Line, device_id: int) -> None:
        memory = CodeMemory((Region(0, FLASH_BYTES, Kind.FLASH), Region(RAM_BASE, RAM_BYTES, Kind.RAM)))
        super().__init__(_CORE, memory, line, CLOCK_HZ)
        self.unique_id = device_id
        self._before_stores: dict[int, bytes] = {}  # content of flash and UICR when stores were allowed
        self.constants(FICR_BASE, 0x2000)
        for offset, value in {**_FICR, 0x60: device_id & 0xFFFFFFFF, 0x64: device_id >> 32}.items():
            self._engine.mem_write(FICR_BASE + offset, struct.pack("<I", value))
        self._power = ClockPower()
        self._nvmc = Nvmc(FLASH_BYTES, (UICR_BASE, UICR_BYTES), self.fill, self._open_flash)
        self.uarte = Uarte(self, self.schedule, CLOCK_HZ, _UARTE0_IRQ, line.send)
        self.flow.start = self.uarte.receive
        self.uarte.flow = self.flow
        gpio = GpioPage(Gpio(self._pins_changed), Gpio(self._port1_changed))
        self.map_peripherals(
            0x40000000,
            0x40000,
            {0x40000000: self._power, 0x40002000: self.uarte, 0x4001E000: self._nvmc},
        )
        self.map_peripherals(0x50000000, 0x1000, {0x50000000: gpio})
        self._engine.reg_write(
            arm.UC_ARM_REG_FPEXC, 1 << 30
        )  # Unicorn's switch; the firmware still sets CPACR
        self.reset(halt=False)

    # -- UART ------------------------------------------------------------------------------------------------

    def _pins_changed(self, high: int, low: int) -> None:
        self.flow.rts(bool(low >> _RTS_PIN & 1), self.now)

    def _port1_changed(self, high: int, low: int) -> None:
        self.drive_trigger(bool(high >> _TRIGGER_PIN & 1))

    def before_wait(self) -> None:
        """The UART's DMA catches up."""
        self.uarte.synchronize()

    # -- flash -----------------------------------------------------------------------------------------------

    def _open_flash(self, writable: bool) -> None:
        memories = ((0, FLASH_BYTES, unicorn.UC_PROT_EXEC), (UICR_BASE, UICR_BYTES, unicorn.UC_PROT_NONE))
        for base, size, execute in memories:
            write = unicorn.UC_PROT_WRITE if writable else unicorn.UC_PROT_NONE
            self._engine.mem_protect(base, size, unicorn.UC_PROT_READ | execute | write)
            content = bytes(self._engine.mem_read(base, size))
            if writable:
                self._before_stores[base] = content
            elif content != self._before_stores[base]:
                self._clear_bits(base, self._before_stores[base], content)

    def _clear_bits(self, base: int, before: bytes, stored: bytes) -> None:
        """Program what stores have written to each page."""
        for page in range(0, len(before), PAGE_BYTES):
            old, new = before[page : page + PAGE_BYTES], stored[page : page + PAGE_BYTES]
            if old != new:
                self._engine.mem_write(base + page, old)
                self.program(base + page, new)

    def write_flash(self, address: int, data: bytes) -> None:
        """A debugger's write: programs bits while the controller allows it."""
        if self._nvmc.config == WRITE and (address < FLASH_BYTES or address >= UICR_BASE):
            self.program(address, data)

    def erase_all(self) -> None:
        """CTRL-AP ERASEALL: flash, UICR and RAM; unlocks with the next reset (PS 4.8.4)."""
        super().erase_all()
        self.fill(UICR_BASE, UICR_BYTES)
        self.protected = False

    # -- reset -----------------------------------------------------------------------------------------------

    def reset_peripherals(self) -> None:
        """UART lines go idle; access protection takes effect."""
        super().reset_peripherals()
        approtect = self._engine.mem_read(APPROTECT, 4)[0]
        self.protected = approtect == APPROTECT_ENABLED

    def software_reset(self) -> None:
        """SYSRESETREQ from code: RESETREAS says so."""
        self.reset(halt=False)
        self._power.reset_reason |= RESETREAS_SREQ

    def lose_power(self) -> None:
        """RESETREAS is clear after power-on (PS 5.3.7)."""
        super().lose_power()
        self._power.reset_reason = 0

    def lock_up(self) -> None:
        """Lock-up resets this chip (PS 5.3.6); not under a debugger, nor without a program: that would never end."""
        _, entry = self._vectors()
        if self._can_start(entry) and not self.debug_enabled:
            self._power.reset_reason |= RESETREAS_LOCKUP
            self._reset_requested = True
        else:
            super().lock_up()
