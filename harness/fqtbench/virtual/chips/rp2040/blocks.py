"""Small blocks of the RP2040: resets, clocks, watchdog, timer, GPIO, flash controller ("RP": RP2040 Datasheet).

Register offsets and reset values are those of Raspberry Pi's RP2040.svd (pico-sdk 2.2.0).
"""

from collections.abc import Callable
from typing import Final

from fqtbench.virtual.peripheral import Peripheral, PlainRegisters

_MASK: Final = 0xFFFFFFFF
_PINS: Final = 30


class Atomic:
    """The three addresses, 4 KB apart, at which writes flip, set or clear bits of a peripheral (RP 2.1.2)."""

    XOR, SET, CLEAR = 0x1000, 0x2000, 0x3000

    def __init__(self, peripheral: Peripheral, alias: int) -> None:
        self._peripheral, self._alias = peripheral, alias

    def read(self, offset: int) -> int:
        """Return a register."""
        return self._peripheral.read(offset)

    def write(self, offset: int, value: int) -> None:
        """Change the register's bits."""
        old = self._peripheral.read(offset)
        new = {self.XOR: old ^ value, self.SET: old | value, self.CLEAR: old & ~value}[self._alias]
        self._peripheral.write(offset, new & _MASK)

    def reset(self) -> None:
        """Done at the peripheral's own address."""


def with_aliases(pages: dict[int, Peripheral]) -> dict[int, Peripheral]:
    """Return the pages and those of their aliases."""
    aliases = (Atomic.XOR, Atomic.SET, Atomic.CLEAR)
    more = {base + alias: Atomic(p, alias) for base, p in pages.items() for alias in aliases}
    return {**pages, **more}


class Resets:
    """RESETS (RP 2.14): a bit that is set holds a block in its reset state."""

    _ALL: Final = 0x01FFFFFF

    def __init__(self, blocks: dict[int, Peripheral]) -> None:
        """`blocks`: what a bit resets."""
        self._blocks = blocks
        self.reset()

    def reset(self) -> None:
        """Every block is held."""
        self._held = self._ALL
        self._watchdog = 0

    def read(self, offset: int) -> int:
        """Return RESET, WDSEL or RESET_DONE; a block is ready at once."""
        return {0x0: self._held, 0x4: self._watchdog, 0x8: ~self._held & self._ALL}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write RESET or WDSEL."""
        if offset == 0x0:
            for bit, block in self._blocks.items():
                if value & ~self._held & 1 << bit:
                    block.reset()
            self._held = value & self._ALL
        elif offset == 0x4:
            self._watchdog = value & self._ALL


class Clocks(PlainRegisters):
    """CLOCKS (RP 2.15): a source is selected as soon as it is asked for."""

    REF_CTRL, REF_SELECTED, SYS_CTRL, SYS_SELECTED, PERI_CTRL = 0x30, 0x38, 0x3C, 0x44, 0x48

    def read(self, offset: int) -> int:
        """Return a register; SELECTED has a bit per source."""
        if offset == self.REF_SELECTED:
            return 1 << (super().read(self.REF_CTRL) & 3)
        if offset == self.SYS_SELECTED:
            return 1 << (super().read(self.SYS_CTRL) & 1)
        return super().read(offset)


class Crystal(PlainRegisters):
    """XOSC (RP 2.16): stable as soon as it is enabled."""

    _ENABLE: Final = 0xFAB000

    def read(self, offset: int) -> int:
        """Return a register."""
        if offset == 0x4:  # STATUS: STABLE, ENABLED
            return 1 << 31 | 1 << 12 if super().read(0) & 0xFFF000 == self._ENABLE else 0
        return super().read(offset)


class Pll(PlainRegisters):
    """PLL (RP 2.18): locks as soon as it has power and a divider."""

    _CS, _PWR, _FBDIV = 0x0, 0x4, 0x8
    _POWERED_DOWN: Final = 0x21  # PD, VCOPD

    def __init__(self) -> None:
        super().__init__(x0=1, x4=0x2D, xC=0x77000)

    def read(self, offset: int) -> int:
        """Return a register."""
        value = super().read(offset)
        if (
            offset == self._CS
            and self.values.get(self._FBDIV)
            and not self.values[self._PWR] & self._POWERED_DOWN
        ):
            value |= 1 << 31
        return value


class Watchdog(PlainRegisters):
    """WATCHDOG (RP 4.7): scratch registers that outlive resets, and a reset on demand. It never runs out of time."""

    _CTRL, _LOAD, _REASON, _SCRATCH0, _SCRATCH_END = 0x00, 0x04, 0x08, 0x0C, 0x2C
    _TRIGGER: Final = 1 << 31
    _FORCED: Final = 1 << 1

    def __init__(self, request_reset: Callable[[], None]) -> None:
        self._request_reset = request_reset
        self.power_on()
        super().__init__(x0=0x07000000, x2C=0x200)

    def power_on(self) -> None:
        """Only this clears the scratch registers and REASON."""
        self._kept: dict[int, int] = {}

    def read(self, offset: int) -> int:
        """Return a register."""
        return self._kept.get(offset, 0) if self._is_kept(offset) else super().read(offset)

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        if offset == self._CTRL and value & self._TRIGGER:
            self._kept[self._REASON] = self._FORCED
            self._request_reset()
        elif self._SCRATCH0 <= offset < self._SCRATCH_END:
            self._kept[offset] = value
        elif offset != self._REASON:
            super().write(offset, value & ~self._TRIGGER)

    def _is_kept(self, offset: int) -> bool:
        return offset == self._REASON or self._SCRATCH0 <= offset < self._SCRATCH_END


class Timer:
    """TIMER (RP 4.6): microseconds since its reset. Alarms are not modelled."""

    _HIGH: Final = (0x08, 0x24)  # TIMEHR, TIMERAWH
    _LOW: Final = (0x0C, 0x28)

    def __init__(self, now: Callable[[], int], cycles_per_us: int) -> None:
        self._now, self._cycles_per_us = now, cycles_per_us
        self.reset()

    def reset(self) -> None:
        """Begin at 0."""
        self._since = self._now()

    def read(self, offset: int) -> int:
        """Return a half of the time."""
        us = (self._now() - self._since) // self._cycles_per_us
        if offset in self._HIGH:
            return us >> 32 & _MASK
        return us & _MASK if offset in self._LOW else 0

    def write(self, offset: int, value: int) -> None:
        """Nothing that can be set matters here."""


class Sio:
    """SIO (RP 2.3.1): core number and GPIO outputs; `changed(driven_high, driven_low)` after each write."""

    _OUT: Final = 0x10
    _ENABLE: Final = 0x20

    def __init__(self, changed: Callable[[int, int], None]) -> None:
        self._changed = changed
        self.reset()

    def reset(self) -> None:
        """All pins are inputs."""
        self._registers = {self._OUT: 0, self._ENABLE: 0}
        self._changed(0, 0)

    def read(self, offset: int) -> int:
        """Return GPIO_OUT, GPIO_OE or CPUID, which is 0."""
        return self._registers.get(offset & ~0xC if offset < 0x30 else offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register, or its set, clear and flip addresses behind it."""
        register = offset & ~0xC
        if offset >= 0x30 or register not in self._registers:
            return
        old = self._registers[register]
        new = {0x0: value, 0x4: old | value, 0x8: old & ~value, 0xC: old ^ value}[offset & 0xC]
        self._registers[register] = new & ((1 << _PINS) - 1)
        out, enabled = self._registers[self._OUT], self._registers[self._ENABLE]
        self._changed(out & enabled, ~out & enabled)


class IoBank(PlainRegisters):
    """IO_BANK0 (RP 2.19): functions of the pins, and falling edges of input pins, which may interrupt core 0."""

    _CTRL0: Final = 0x04  # of pin 0; each pin has STATUS and CTRL
    _INTR0: Final = 0xF0
    _INTE0: Final = 0x100
    _INTS0: Final = 0x120
    _WORDS: Final = 4
    _EDGE_LOW: Final = 4  # of four bits per pin
    _NO_FUNCTION: Final = 0x1F

    def __init__(self, interrupt: Callable[[bool], None]) -> None:
        self._interrupt = interrupt
        self.before_read: Callable[[], None] = lambda: None
        self.after_write: Callable[[], None] = lambda: None
        super().__init__()

    def reset(self) -> None:
        """No pin has a function, nothing interrupts."""
        super().reset()
        self._edges = [0] * self._WORDS
        self._interrupt(False)

    def function(self, pin: int) -> int:
        """Return FUNCSEL of a pin."""
        return self.values.get(self._CTRL0 + 8 * pin, self._NO_FUNCTION) & 0x1F

    def watches(self, pin: int) -> bool:
        """Whether a falling edge of the pin interrupts."""
        return bool(self.values.get(self._INTE0 + pin // 8 * 4, 0) & self._EDGE_LOW << pin % 8 * 4)

    def fall(self, pin: int) -> None:
        """A falling edge on a pin."""
        self._edges[pin // 8] |= self._EDGE_LOW << pin % 8 * 4
        self._update()

    def read(self, offset: int) -> int:
        """Return a register."""
        self.before_read()
        if self._INTR0 <= offset < self._INTE0:
            return self._edges[(offset - self._INTR0) // 4]
        if self._INTS0 <= offset < self._INTS0 + 4 * self._WORDS:
            word = (offset - self._INTS0) // 4
            return self._edges[word] & self.values.get(self._INTE0 + 4 * word, 0)
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        """Write a register; edges are cleared by ones."""
        self.before_read()
        if self._INTR0 <= offset < self._INTE0:
            self._edges[(offset - self._INTR0) // 4] &= ~value
        else:
            super().write(offset, value)
        self._update()
        self.after_write()

    def _update(self) -> None:
        pending = (self._edges[n] & self.values.get(self._INTE0 + 4 * n, 0) for n in range(self._WORDS))
        self._interrupt(any(pending))


class FlashController(PlainRegisters):
    """SSI (RP 4.10) with a serial flash behind it that knows its status registers; each transfer ends at once.

    Reading through the XIP window always works: nothing here checks that the second stage has set it up.
    """

    _CTRLR0, _ENABLE, _STATUS, _DATA = 0x00, 0x08, 0x28, 0x60
    _TFE_TFNF: Final = 1 << 2 | 1 << 1
    _RFNE: Final = 1 << 3
    _READ_STATUS: Final = {0x05: 1, 0x35: 2}  # W25Q16JV: status registers 1 and 2
    _WRITE_STATUS_2: Final = 0x31
    _WRITE_ENABLE: Final = 0x06
    _TX_AND_RX: Final = 0

    def __init__(self) -> None:
        self.flash_status = {1: 0, 2: 0}  # outlives resets, as the flash does
        super().__init__()

    def reset(self) -> None:
        """The FIFOs are empty."""
        super().reset()
        self._received: list[int] = []
        self._command: int | None = None

    def read(self, offset: int) -> int:
        """Return a register; DR0 takes from the receive FIFO."""
        if offset == self._STATUS:
            self._command = None  # the master looks: the transfer is over, the chip is deselected
            return self._TFE_TFNF | (self._RFNE if self._received else 0)
        if offset == self._DATA:
            return self._received.pop(0) if self._received else 0
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        """Write a register; DR0 sends a byte to the flash."""
        if offset == self._DATA:
            self._send(value & 0xFF)
            return
        if offset == self._ENABLE and not value & 1:
            self._received.clear()
            self._command = None
        super().write(offset, value)

    def _send(self, byte: int) -> None:
        if (
            not self.values.get(self._ENABLE, 0) & 1
            or self.values.get(self._CTRLR0, 0) >> 8 & 3 != self._TX_AND_RX
        ):
            return
        answer = 0
        if self._command is None:
            self._command = byte
        elif self._command in self._READ_STATUS:
            answer = self.flash_status[self._READ_STATUS[self._command]]
        elif self._command == self._WRITE_STATUS_2:
            self.flash_status[2] = byte
        self._received.append(answer)
