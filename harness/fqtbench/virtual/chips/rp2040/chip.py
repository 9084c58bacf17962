"""Virtual RP2040 on a Raspberry Pi Pico: core 0, memories, what firmware and debuggers use, and the UART's flow rule.

"RP" is the RP2040 Datasheet; register addresses are those of Raspberry Pi's RP2040.svd (pico-sdk 2.2.0). Virtual time
counts clk_sys at its final 133 MHz from power-on. Not modelled: core 1, the cache in front of the flash (it always
hits), contention on the bus. A debug probe's reset reaches the core alone on the chip; here it resets the peripherals
too.
"""

from typing import Final

from unicorn import arm_const as arm

from fqtbench.virtual.chip import Core
from fqtbench.virtual.chips.rp2040 import rom
from fqtbench.virtual.chips.rp2040.blocks import (
    Clocks,
    Crystal,
    FlashController,
    IoBank,
    Pll,
    Resets,
    Sio,
    Timer,
    Watchdog,
    with_aliases,
)
from fqtbench.virtual.chips.rp2040.debug import IDENTITY
from fqtbench.virtual.chips.rp2040.dma import Dma
from fqtbench.virtual.chips.rp2040.pl011 import Pl011
from fqtbench.virtual.memory import CodeMemory, Kind, Region
from fqtbench.virtual.peripheral import Peripheral, PlainRegisters
from fqtbench.virtual.target import BusFault
from fqtbench.virtual.timing import cortex_m0plus
from fqtbench.virtual.uart_chip import UartChip
from fqtbench.virtual.uart_line import Line

CLOCK_HZ: Final = 133_000_000
CRYSTAL_HZ: Final = 12_000_000
FLASH_BASE: Final = 0x10000000
FLASH_BYTES: Final = 2 << 20  # the Pico's W25Q16JV
RAM_BASE: Final = 0x20000000
RAM_BYTES: Final = 264 << 10
CPUID: Final = 0x410CC601  # Cortex-M0+ r0p1 (RP 2.4.8, CPUID)
CHIP_ID: Final = 0x20002927  # revision B2, part 2, manufacturer 0x927 (RP 2.20.1)

_CORE: Final = Core(arm.UC_CPU_ARM_CORTEX_M0, CPUID, cortex_m0plus.TIMING, IDENTITY)
IO_BANK0_IRQ: Final = 13  # RP 2.3.2
_RX_PIN: Final = 1  # the board's wiring (boards/rp2040.toml)
_RTS_PIN: Final = 3
_TRIGGER_PIN: Final = 2
_UART_FUNCTION: Final = 2  # FUNCSEL (RP 2.19.2)
_DREQ_UART0_RX: Final = 21  # RP 2.5.3.1
_DREQ_UART0_TX: Final = 20
_HAD_POWER_ON: Final = 1 << 8  # CHIP_RESET.HAD_POR
_PSM_ALL: Final = 0x1FFFF
_RESET_DMA, _RESET_IO_BANK0, _RESET_PADS, _RESET_PLL, _RESET_TIMER, _RESET_UART0 = 2, 5, 8, 12, 21, 22


class _RxPin:
    """GPIO1 between line, UART and IO_BANK0."""

    def __init__(self, bank: IoBank) -> None:
        self._bank = bank

    @property
    def connected(self) -> bool:
        return self._bank.function(_RX_PIN) == _UART_FUNCTION

    @property
    def watched(self) -> bool:
        return self._bank.watches(_RX_PIN)

    def fall(self) -> None:
        self._bank.fall(_RX_PIN)


class Rp2040(UartChip):
    """The chip on a Raspberry Pi Pico, UART0 on `line`."""

    def __init__(self, line: Line) -> None:
        regions = (
            Region(0, rom.ROM_BYTES, Kind.ROM),
            Region(FLASH_BASE, FLASH_BYTES, Kind.FLASH),
            Region(RAM_BASE, RAM_BYTES, Kind.RAM),
        )
        memory = CodeMemory(regions, ram_code_changes=False)
        super().__init__(_CORE, memory, line, CLOCK_HZ)
        self._engine.mem_write(0, rom.content())
        self.watchdog = Watchdog(self.request_reset)
        self.pll = Pll()
        self.dma = Dma(self)
        self.io = IoBank(lambda level: self.set_pending(IO_BANK0_IRQ, level))
        self.uart = Pl011(
            lambda: self.now, self.schedule, self.dma, (_DREQ_UART0_RX, _DREQ_UART0_TX), line.send
        )
        self._connect()
        self._map_blocks()
        self.reset(halt=False)

    def _connect(self) -> None:
        self.uart.pins, self.uart.flow = _RxPin(self.io), self.flow
        self.flow.start = self.uart.receive
        self.dma.before = self.io.before_read = self.uart.synchronize
        self.dma.started = self.uart.dma_started
        self.io.after_write = self.uart.watch_arrivals

    def _map_blocks(self) -> None:
        timer = Timer(lambda: self.now, CLOCK_HZ // 1_000_000)
        pads = PlainRegisters(x8=0x56)
        resets = Resets(
            {
                _RESET_DMA: self.dma,
                _RESET_IO_BANK0: self.io,
                _RESET_PADS: pads,
                _RESET_PLL: self.pll,
                _RESET_TIMER: timer,
                _RESET_UART0: self.uart,
            }
        )
        blocks: dict[int, Peripheral] = {
            0x40000000: PlainRegisters(x0=CHIP_ID),  # SYSINFO
            0x40008000: Clocks(),
            0x4000C000: resets,
            0x40010000: PlainRegisters(xC=_PSM_ALL),  # PSM, all of it done
            0x40014000: self.io,
            0x4001C000: pads,
            0x40020000: PlainRegisters(x4=0x56, x8=0x52),  # PADS_QSPI
            0x40024000: Crystal(),
            0x40028000: self.pll,
            0x40034000: self.uart,
            0x40054000: timer,
            0x40058000: self.watchdog,
            0x40064000: PlainRegisters(x8=_HAD_POWER_ON),  # VREG_AND_CHIP_RESET
        }
        self.map_peripherals(0x40000000, 0x70000, with_aliases(blocks))
        self.map_peripherals(0x50000000, 0x4000, with_aliases({0x50000000: self.dma}))
        self.map_peripherals(0x18000000, 0x1000, {0x18000000: FlashController()})
        self.map_peripherals(0xD0000000, 0x1000, {0xD0000000: Sio(self._pins_changed)})

    def _pins_changed(self, high: int, low: int) -> None:
        self.flow.rts(bool(low >> _RTS_PIN & 1), self.now)
        self.drive_trigger(bool(high >> _TRIGGER_PIN & 1))

    def before_wait(self) -> None:
        """The UART catches up."""
        self.uart.synchronize()

    # -- boot ROM and flash ----------------------------------------------------------------------------------

    def lose_power(self) -> None:
        """The scratch registers are clear after power-on (RP 4.7)."""
        super().lose_power()
        self.watchdog.power_on()

    def supervisor_call(self) -> None:
        """One in the boot ROM is a function of it."""
        call_at = self.cpu.pc - 2
        if call_at < rom.ROM_BYTES:
            try:
                rom.call(self, self._engine.mem_read(call_at, 1)[0])
            except BusFault:  # the real function would fault
                self.lock_up()
        else:
            super().supervisor_call()

    def erase_flash(self, offset: int, size: int) -> None:
        """Erase what lies within flash."""
        if 0 <= offset < FLASH_BYTES:
            self.fill(FLASH_BASE + offset, min(size, FLASH_BYTES - offset))

    def program_flash(self, offset: int, data: bytes) -> None:
        """Program what lies within flash."""
        if 0 <= offset < FLASH_BYTES:
            self.program(FLASH_BASE + offset, data[: FLASH_BYTES - offset])
