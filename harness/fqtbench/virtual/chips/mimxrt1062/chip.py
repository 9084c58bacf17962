"""Virtual i.MX RT1062 on a MIMXRT1060-EVK: memories, what firmware and debuggers use, and the UART's flow rule.

"RM" is the i.MX RT1060 Processor Reference Manual; register addresses are those of NXP's MIMXRT1062.xml. Virtual time
counts core cycles at their final 600 MHz from power-on. Not modelled: the caches and the time of flash behind them
(they always hit), the MPU, contention on the buses, watchdogs that run out.
"""

from typing import Final

import unicorn
from unicorn import arm_const as arm

from fqtbench.virtual.chip import Core
from fqtbench.virtual.chips.mimxrt1062 import rom
from fqtbench.virtual.chips.mimxrt1062.blocks import (
    Analog,
    Ccm,
    Dcdc,
    GeneralRegisters,
    Gpio,
    ResetController,
    RunningWatchdog,
)
from fqtbench.virtual.chips.mimxrt1062.debug import IDENTITY
from fqtbench.virtual.chips.mimxrt1062.edma import DESCRIPTORS, Edma, EdmaPage, Mux
from fqtbench.virtual.chips.mimxrt1062.lpuart import Lpuart
from fqtbench.virtual.memory import CodeMemory, Kind, Region
from fqtbench.virtual.peripheral import Peripheral, PlainRegisters
from fqtbench.virtual.target import BusFault
from fqtbench.virtual.timing import cortex_m7
from fqtbench.virtual.uart_chip import UartChip
from fqtbench.virtual.uart_line import Line

CLOCK_HZ: Final = 600_000_000
FLASH_BASE: Final = rom.FLASH_BASE
FLASH_BYTES: Final = 8 << 20  # the EVK's IS25WP064A
ITCM_BASE: Final = 0
DTCM_BASE: Final = 0x20000000
ITCM_BYTES: Final = 128 << 10  # of FlexRAM, the most that is modelled: what the firmware makes of it
DTCM_BYTES: Final = 256 << 10
OCRAM_BASE: Final = 0x20200000
OCRAM_BYTES: Final = 512 << 10  # the part that is not FlexRAM's
CPUID: Final = 0x411FC271  # Cortex-M7 r1p1
DIGPROG: Final = 0x6C0000  # RT1060, revision 1.0
UNIQUE_ID: Final = 0x5649525455414C33  # "VIRTUAL3": OCOTP's CFG1 and CFG0 of a chip that nobody made

_CORE: Final = Core(arm.UC_CPU_ARM_CORTEX_M7, CPUID, cortex_m7.TIMING, IDENTITY)
LPUART1_IRQ: Final = 20
_SOURCE_LPUART1_TX: Final = 2  # DMAMUX (NXP's MIMXRT1062.h, kDmaRequestMuxLPUART1Tx)
_SOURCE_LPUART1_RX: Final = 3
_RX_MUX: Final = 0xF0  # IOMUXC, pad GPIO_AD_B0_13
_RX_FUNCTION: Final = 2  # ALT2: LPUART1_RX
_RTS_PIN: Final = 19  # of GPIO1: the board's wiring (boards/mimxrt1062.toml)
_TRIGGER_PIN: Final = 18


class Mimxrt1062(UartChip):
    """The chip on a MIMXRT1060-EVK, LPUART1 on `line`."""

    unique_id = UNIQUE_ID
    flash_bytes = FLASH_BYTES

    def __init__(self, line: Line) -> None:
        regions = (
            Region(FLASH_BASE, FLASH_BYTES, Kind.FLASH),
            Region(rom.ROM_BASE, rom.ROM_BYTES, Kind.ROM),
            Region(ITCM_BASE, ITCM_BYTES, Kind.RAM),
            Region(DTCM_BASE, DTCM_BYTES, Kind.RAM),
            Region(OCRAM_BASE, OCRAM_BYTES, Kind.RAM),
        )
        self._tcm = (0, 0)
        memory = CodeMemory(regions, vectors=rom.ROM_BASE, ram_code_changes=False)
        super().__init__(_CORE, memory, line, CLOCK_HZ)
        self._engine.mem_write(rom.ROM_BASE, rom.content())
        self.resets = ResetController()
        self.clocks = Ccm()
        self.general = GeneralRegisters(self._shape_tcm)
        self.pads = PlainRegisters()
        mux = Mux()
        self.dma = Edma(self, mux)
        requests = (_SOURCE_LPUART1_RX, _SOURCE_LPUART1_TX)
        self.uart = Lpuart(lambda: self.now, self.schedule, self.dma, requests, line.send)
        self._connect()
        self._map_blocks(mux)
        self._engine.reg_write(
            arm.UC_ARM_REG_FPEXC, 1 << 30
        )  # Unicorn's switch; the firmware still sets CPACR
        super().reset(halt=False)  # power-on

    def _connect(self) -> None:
        self.uart.flow = self.flow
        self.uart.cycles_per_clock = lambda: CLOCK_HZ / self.clocks.uart_hz()
        self.uart.connected = lambda: self.pads.read(_RX_MUX) & 7 == _RX_FUNCTION
        self.uart.interrupt = lambda level: self.set_pending(LPUART1_IRQ, level)
        self.flow.start = self.uart.receive
        self.dma.before = self.uart.synchronize
        self.dma.started = self.uart.dma_started

    def _map_blocks(self, mux: Mux) -> None:
        fuses = PlainRegisters(x410=UNIQUE_ID & 0xFFFFFFFF, x420=UNIQUE_ID >> 32)
        blocks: dict[int, Peripheral] = {
            0x40080000: Dcdc(),
            0x400AC000: self.general,
            0x400B8000: PlainRegisters(x0=0x30, x8=1),  # WDOG1
            0x400BC000: RunningWatchdog(),
            0x400D0000: PlainRegisters(x0=0x30, x8=1),  # WDOG2
            0x400D8000: Analog(DIGPROG),
            0x400E8000: EdmaPage(self.dma, 0),
            0x400E9000: EdmaPage(self.dma, DESCRIPTORS),
            0x400EC000: mux,
            0x400F8000: self.resets,
            0x400FC000: self.clocks,
            0x40184000: self.uart,
            0x401B8000: Gpio(self._pins_changed),
            0x401F4000: fuses,
            0x401F8000: self.pads,
            0x402A8000: PlainRegisters(),  # FlexSPI: the ROM has set it up
        }
        self.map_peripherals(0x40000000, 0x400000, blocks)

    def _pins_changed(self, high: int, low: int) -> None:
        self.flow.rts(bool(low >> _RTS_PIN & 1), self.now)
        self.drive_trigger(bool(high >> _TRIGGER_PIN & 1))

    def before_wait(self) -> None:
        """The UART catches up."""
        self.uart.synchronize()

    # -- memory ----------------------------------------------------------------------------------------------

    def _shape_tcm(self, itcm: int, dtcm: int) -> None:
        """Let answer what FlexRAM gives to the TCMs."""
        self._tcm = (min(itcm, ITCM_BYTES), min(dtcm, DTCM_BYTES))
        for base, whole, size in self._tcms():
            if size:
                self._engine.mem_protect(base, size, unicorn.UC_PROT_ALL)
            if size < whole:
                self._engine.mem_protect(base + size, whole - size, unicorn.UC_PROT_NONE)

    def _tcms(self) -> tuple[tuple[int, int, int], ...]:
        """Return base, size at most, and size of each."""
        return (ITCM_BASE, ITCM_BYTES, self._tcm[0]), (DTCM_BASE, DTCM_BYTES, self._tcm[1])

    def _in_ram(self, address: int, size: int) -> bool:
        for base, whole, present in self._tcms():
            if base <= address < base + whole:
                return address + size <= base + present
        return super()._in_ram(address, size)

    def _check(self, address: int, size: int) -> None:
        super()._check(address, size)
        if self.memory.is_kind(Kind.RAM, address) and not self._in_ram(address, size):
            raise BusFault(f"FlexRAM gives no TCM at 0x{address:08x}")

    def dma_write(self, address: int, data: bytes) -> None:
        """The eDMA reaches TCM through the core, which may sleep (RM, IOMUXC_GPR, GPR1)."""
        if self._reachable(address):
            super().dma_write(address, data)

    def dma_read(self, address: int, size: int) -> bytes:
        """What can't be reached reads as zeros."""
        return super().dma_read(address, size) if self._reachable(address) else bytes(size)

    def _reachable(self, address: int) -> bool:
        is_tcm = address < ITCM_BYTES or DTCM_BASE <= address < DTCM_BASE + DTCM_BYTES
        return not (is_tcm and self._asleep) or self.general.tcm_while_asleep

    # -- boot ROM and flash ----------------------------------------------------------------------------------

    def supervisor_call(self) -> None:
        """One in the boot ROM is a function of it."""
        call_at = self.cpu.pc - 2
        if rom.ROM_BASE <= call_at < rom.ROM_BASE + rom.ROM_BYTES:
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

    # -- resets ----------------------------------------------------------------------------------------------

    def reset(self, halt: bool) -> None:
        """SYSRESETREQ of code or a debugger: SRSR says so. A pin that resets counts as one too."""
        self.resets.flags |= ResetController.LOCKUP_OR_REQUEST
        super().reset(halt)

    def lose_power(self) -> None:
        """SRSR says power-on, and the registers that only that clears are clear."""
        super().lose_power()
        self.resets.power_on()

    def lock_up(self) -> None:
        """Lock-up resets this chip (RM, SRC, SRSR); not under a debugger."""
        if self.debug_enabled:
            super().lock_up()
        else:
            self.request_reset()
