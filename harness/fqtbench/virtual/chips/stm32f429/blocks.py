"""Small blocks of the STM32F429: clocks, power, GPIO, external interrupts ("RM": RM0090 rev 19).

Register offsets and reset values are those of STM32F429x.svd, which pyOCD ships.
"""

from collections.abc import Callable
from typing import Final

from fqtbench.virtual.peripheral import Peripheral, PlainRegisters

_BLOCK_BYTES: Final = 0x400


class Page:
    """The four blocks of 1 KB that share 4 KB of the address space; `blocks` by their offsets."""

    def __init__(self, blocks: dict[int, Peripheral]) -> None:
        self._blocks = blocks

    def read(self, offset: int) -> int:
        """Return a register; 0 where nothing is."""
        block = self._blocks.get(offset & -_BLOCK_BYTES)
        return block.read(offset % _BLOCK_BYTES) if block else 0

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        block = self._blocks.get(offset & -_BLOCK_BYTES)
        if block:
            block.write(offset % _BLOCK_BYTES, value)

    def reset(self) -> None:
        """Reset all blocks."""
        for block in self._blocks.values():
            block.reset()


class Gated:
    """A block that answers only while `clocked`: without its clock registers read as 0 and keep what they have."""

    def __init__(self, block: Peripheral, clocked: Callable[[], bool]) -> None:
        self._block, self._clocked = block, clocked

    def read(self, offset: int) -> int:
        """Return a register."""
        return self._block.read(offset) if self._clocked() else 0

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        if self._clocked():
            self._block.write(offset, value)

    def reset(self) -> None:
        """Reset the block."""
        self._block.reset()


class Rcc(PlainRegisters):
    """RCC (RM 6.3): an oscillator, the PLL and a switch of the clock are ready at once."""

    CR, PLLCFGR, CFGR, AHB1ENR, APB1ENR, APB2ENR, CSR = 0x00, 0x04, 0x08, 0x30, 0x40, 0x44, 0x74
    PORRSTF, PADRSTF, BORRSTF, SFTRSTF = 1 << 27, 1 << 26, 1 << 25, 1 << 28
    _RMVF: Final = 1 << 24
    _SWITCHES: Final = (
        1 << 0 | 1 << 16 | 1 << 24 | 1 << 26
    )  # HSION, HSEON, PLLON, PLLI2SON: each one's RDY is next
    _HSI, _HSE, _PLL = 0, 1, 2  # CFGR.SW
    _HSI_HZ: Final = 16_000_000

    def __init__(self, hse_hz: int) -> None:
        self._hse_hz = hse_hz
        self.power_on()
        super().__init__(x0=0x83, x4=0x24003010, x30=0x00100000)

    def power_on(self) -> None:
        """Say that the supply has come (RM 6.3.21)."""
        self._reset_flags = self.PORRSTF | self.PADRSTF | self.BORRSTF

    def reset_by(self, flags: int) -> None:
        """Say why the next start comes; flags accumulate."""
        self._reset_flags |= flags | self.PADRSTF

    def read(self, offset: int) -> int:
        """Return a register."""
        value = super().read(offset)
        if offset == self.CR:
            return value & ~(self._SWITCHES << 1) | (value & self._SWITCHES) << 1
        if offset == self.CFGR:
            return value & ~0xC | (value & 3) << 2
        return value | self._reset_flags if offset == self.CSR else value

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        if offset == self.CSR:
            if value & self._RMVF:
                self._reset_flags = 0
            value &= 1  # LSION
        super().write(offset, value)

    def gate(self, register: int, bit: int) -> Callable[[], bool]:
        """Return whether a block has its clock, as a function."""
        return lambda: bool(self.values.get(register, 0) >> bit & 1)

    def core_hz(self) -> int:
        """Return the frequency of SYSCLK and, with HPRE at its reset value, of the core."""
        config = self.values[self.PLLCFGR]
        pll_input = self._hse_hz if config >> 22 & 1 else self._HSI_HZ
        pll = pll_input // max(config & 0x3F, 1) * (config >> 6 & 0x1FF) // (2 * (config >> 16 & 3) + 2)
        return {self._HSI: self._HSI_HZ, self._HSE: self._hse_hz, self._PLL: pll}.get(self._switch() & 3, 0)

    def _switch(self) -> int:
        return self.values.get(self.CFGR, 0)

    def apb1_divisor(self) -> int:
        """Return how many core cycles one of APB1 takes."""
        prescaler = self._switch() >> 10 & 7
        return 1 << prescaler - 3 if prescaler & 4 else 1


class Pwr(PlainRegisters):
    """PWR (RM 5.5): the regulator follows at once."""

    _CR, _CSR = 0x0, 0x4
    _VOSRDY: Final = 1 << 14
    _OVER_DRIVE: Final = 3 << 16  # ODEN, ODSWEN; ODRDY, ODSWRDY

    def __init__(self) -> None:
        super().__init__(x0=0xC000)

    def read(self, offset: int) -> int:
        """Return a register."""
        if offset == self._CSR:
            return self.values[self._CR] & self._OVER_DRIVE | self._VOSRDY
        return super().read(offset)


class Gpio(PlainRegisters):
    """One port (RM 8.4); `changed(driven_high, driven_low)` after each write."""

    _MODER, _IDR, _ODR, _BSRR, _AFRL = 0x00, 0x10, 0x14, 0x18, 0x20
    _OUTPUT, _ALTERNATE = 1, 2
    _PINS: Final = 16

    def __init__(self, changed: Callable[[int, int], None]) -> None:
        self._changed = changed
        super().__init__()

    def reset(self) -> None:
        """All pins are inputs."""
        super().reset()
        self._changed(0, 0)

    def _mode(self, pin: int) -> int:
        return self.values.get(self._MODER, 0) >> 2 * pin & 3

    def function(self, pin: int) -> int | None:
        """Return the number of the alternate function that a pin has; None if it has none."""
        if self._mode(pin) != self._ALTERNATE:
            return None
        return self.values.get(self._AFRL + 4 * (pin // 8), 0) >> 4 * (pin % 8) & 0xF

    def write(self, offset: int, value: int) -> None:
        """Write a register; BSRR sets and clears bits of ODR, setting wins."""
        if offset == self._BSRR:
            offset, value = self._ODR, self.values.get(self._ODR, 0) & ~(value >> 16) | value & 0xFFFF
        super().write(offset, value)
        outputs = sum(1 << pin for pin in range(self._PINS) if self._mode(pin) == self._OUTPUT)
        out = self.values.get(self._ODR, 0)
        self._changed(out & outputs, ~out & outputs)


class Exti(PlainRegisters):
    """EXTI (RM 12.3): falling edges that are kept in PR, and interrupt if IMR lets them.

    Only what code can notice matters: an edge of a line that is masked, or pending already, is not worth a look.
    """

    _IMR, _FTSR, _PR = 0x00, 0x0C, 0x14

    def __init__(self, changed: Callable[[int], None]) -> None:
        """`changed(lines)`: the lines that ask for their interrupts."""
        self._changed = changed
        self.before: Callable[[], None] = lambda: None
        self.after_write: Callable[[], None] = lambda: None
        super().__init__()

    def reset(self) -> None:
        """Nothing is pending."""
        super().reset()
        self._changed(0)

    def watches(self, line: int) -> bool:
        """Whether a falling edge would make a difference."""
        enabled = self.values.get(self._IMR, 0) & self.values.get(self._FTSR, 0)
        return bool(enabled & ~self.values.get(self._PR, 0) & 1 << line)

    def fall(self, line: int) -> None:
        """A falling edge."""
        if self.watches(line):
            super().write(self._PR, self.values.get(self._PR, 0) | 1 << line)
            self._update()

    def read(self, offset: int) -> int:
        """Return a register."""
        self.before()
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        """Write a register; pending bits are cleared by ones."""
        self.before()
        super().write(offset, self.values.get(self._PR, 0) & ~value if offset == self._PR else value)
        self._update()
        self.after_write()

    def _update(self) -> None:
        self._changed(self.values.get(self._PR, 0) & self.values.get(self._IMR, 0))
