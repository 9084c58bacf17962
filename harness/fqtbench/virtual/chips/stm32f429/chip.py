"""Virtual STM32F429ZI on a NUCLEO-F429ZI: memories, what firmware and debuggers use, and the UART's flow rule.

"RM" is RM0090 rev 19; register addresses are those of STM32F429x.svd, which pyOCD ships. Virtual time counts HCLK at
its final 180 MHz from power-on. Not modelled: flash wait states and the caches before them (ART), contention on the
bus, the 64 KB of CCM, the flash's second appearance at address 0 (the core finds its vectors there after a reset; here
it reads them where they are), read protection, watchdogs.
"""

import struct
from typing import Final

import unicorn
from unicorn import arm_const as arm

from fqtbench.virtual.chip import Core
from fqtbench.virtual.chips.stm32f429.blocks import Exti, Gated, Gpio, Page, Pwr, Rcc
from fqtbench.virtual.chips.stm32f429.debug import IDENTITY
from fqtbench.virtual.chips.stm32f429.dma import Dma, Request
from fqtbench.virtual.chips.stm32f429.flash import FlashController
from fqtbench.virtual.chips.stm32f429.usart import Usart
from fqtbench.virtual.memory import CodeMemory, Kind, Region
from fqtbench.virtual.peripheral import PlainRegisters
from fqtbench.virtual.system_control import BASE as PPB_BASE
from fqtbench.virtual.timing import cortex_m4
from fqtbench.virtual.uart_chip import UartChip
from fqtbench.virtual.uart_line import Line

CLOCK_HZ: Final = 180_000_000
HSE_HZ: Final = 8_000_000  # the ST-LINK's MCO (UM1974)
FLASH_BASE: Final = 0x08000000
FLASH_BYTES: Final = 2 << 20
RAM_BASE: Final = 0x20000000
RAM_BYTES: Final = 192 << 10
CPUID: Final = 0x410FC241  # Cortex-M4 r0p1 (TRM, 4.1)

DBGMCU_IDCODE: Final = 0xE0042000
IDCODE: Final = 0x20036419  # RM 38.6.1: revision 0x2003, device 0x419; bits 12 to 15 as chips report them
SYSTEM_MEMORY: Final = 0x1FFF7000
UNIQUE_ID: Final = 0x1FFF7A10  # RM 39.1
FLASH_SIZE: Final = 0x1FFF7A22  # RM 39.2, in KB

EXTI9_5_IRQ: Final = 23
_RX_PIN: Final = 9  # PD9, PD12: the board's wiring (boards/stm32f429.toml)
_RTS_PIN: Final = 12
_TRIGGER_PIN: Final = 11  # PD11
_PORT_D: Final = 3
_AF_USART3: Final = 7
_USART3_RX: Final = Request(1, 4)  # RM table 42
_USART3_TX: Final = Request(3, 4)
_LINES_9_5: Final = 0x3E0
_EXTICR3: Final = 0x10

_CORE: Final = Core(arm.UC_CPU_ARM_CORTEX_M4, CPUID, cortex_m4.TIMING, IDENTITY)
_MEMORY: Final = CodeMemory(
    (Region(FLASH_BASE, FLASH_BYTES, Kind.FLASH), Region(RAM_BASE, RAM_BYTES, Kind.RAM)), vectors=FLASH_BASE
)


class _RxPin:
    """PD9 between line, USART3 and EXTI line 9."""

    def __init__(self, port: Gpio, routing: PlainRegisters, exti: Exti) -> None:
        self._port, self._routing, self._exti = port, routing, exti

    @property
    def connected(self) -> bool:
        return self._port.function(_RX_PIN) == _AF_USART3

    @property
    def watched(self) -> bool:
        routed = self._routing.read(_EXTICR3) >> 4 * (_RX_PIN % 4) & 0xF
        return routed == _PORT_D and self._exti.watches(_RX_PIN)

    def fall(self) -> None:
        if self.watched:
            self._exti.fall(_RX_PIN)


class Stm32f429(UartChip):
    """The chip on a NUCLEO-F429ZI, USART3 on `line`."""

    def __init__(self, line: Line, device_id: int) -> None:
        super().__init__(_CORE, _MEMORY, line, CLOCK_HZ)
        self.unique_id = device_id
        self.constants(SYSTEM_MEMORY, 0x1000)
        words = struct.pack("<3I", device_id & 0xFFFFFFFF, device_id >> 32, 0)
        self._engine.mem_write(UNIQUE_ID, words)
        self._engine.mem_write(FLASH_SIZE, struct.pack("<H", FLASH_BYTES >> 10))
        self.system.constants[DBGMCU_IDCODE - PPB_BASE] = IDCODE
        self.rcc = Rcc(HSE_HZ)
        self.flash = FlashController(lambda offset, size: self.fill(FLASH_BASE + offset, size), self.program)
        self._engine.hook_add(
            unicorn.UC_HOOK_MEM_WRITE_PROT,
            self._on_store_to_flash,
            begin=FLASH_BASE,
            end=FLASH_BASE + FLASH_BYTES - 1,
        )
        self.dma = Dma(self)
        self.exti = Exti(lambda lines: self.system.set_line(EXTI9_5_IRQ, bool(lines & _LINES_9_5)))
        self.port_d = Gpio(self._pins_changed)
        self.syscfg = PlainRegisters()
        self.usart = Usart(
            (lambda: self.now, self.rcc.apb1_divisor),
            self.schedule,
            self.dma,
            (_USART3_RX, _USART3_TX),
            line.send,
        )
        self._connect()
        self._map_blocks()
        self._engine.reg_write(
            arm.UC_ARM_REG_FPEXC, 1 << 30
        )  # Unicorn's switch; the firmware still sets CPACR
        self.reset(halt=False)

    def _connect(self) -> None:
        self.usart.pins, self.usart.flow = _RxPin(self.port_d, self.syscfg, self.exti), self.flow
        self.flow.start = self.usart.receive
        self.dma.before = self.exti.before = self.usart.synchronize
        self.dma.started = self.usart.dma_started
        self.exti.after_write = self.usart.watch_arrivals

    def _map_blocks(self) -> None:
        rcc = self.rcc
        usart = Gated(self.usart, rcc.gate(Rcc.APB1ENR, 18))
        power = Gated(Pwr(), rcc.gate(Rcc.APB1ENR, 28))
        port_d = Gated(self.port_d, rcc.gate(Rcc.AHB1ENR, 3))
        dma = Gated(self.dma, rcc.gate(Rcc.AHB1ENR, 21))
        syscfg = Gated(self.syscfg, rcc.gate(Rcc.APB2ENR, 14))
        self.map_peripherals(
            0x40000000,
            0x30000,
            {
                0x40004000: Page({0x800: usart}),
                0x40007000: Page({0x000: power}),
                0x40013000: Page({0x800: syscfg, 0xC00: self.exti}),
                0x40020000: Page({0xC00: port_d}),
                0x40023000: Page({0x800: rcc, 0xC00: self.flash}),
                0x40026000: Page({0x000: dma}),
            },
        )

    def _pins_changed(self, high: int, low: int) -> None:
        self.flow.rts(bool(low >> _RTS_PIN & 1), self.now)
        self.drive_trigger(bool(high >> _TRIGGER_PIN & 1))

    def before_wait(self) -> None:
        """The USART catches up."""
        self.usart.synchronize()

    # -- flash -----------------------------------------------------------------------------------------------

    def _on_store_to_flash(
        self, _: unicorn.Uc, __: int, address: int, size: int, value: int, ___: object
    ) -> bool:
        """Hand a store to the flash controller."""
        self.flash.store(address, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))
        return True

    def write_flash(self, address: int, data: bytes) -> None:
        """A debugger's write, by words as far as it goes."""
        for offset in range(0, len(data), 4):
            if self.memory.is_kind(Kind.FLASH, address + offset):
                self.flash.store(address + offset, data[offset : offset + 4])

    # -- reset -----------------------------------------------------------------------------------------------

    def lose_power(self) -> None:
        """RCC_CSR says power-on."""
        super().lose_power()
        self.rcc.power_on()

    def software_reset(self) -> None:
        """SYSRESETREQ from code: RCC_CSR says so."""
        self.rcc.reset_by(Rcc.SFTRSTF)
        self.reset(halt=False)
