"""Small blocks of the i.MX RT1062: clocks, supply, reset controller, general-purpose registers, GPIO.

Register offsets and reset values are those of NXP's MIMXRT1062.xml (pyOCD ships it); "RM" is the i.MX RT1060 Processor
Reference Manual.
"""

from collections.abc import Callable
from typing import Final

from fqtbench.virtual.peripheral import PlainRegisters

_MASK: Final = 0xFFFFFFFF
BANK_BYTES: Final = 32 << 10  # of FlexRAM
_BANKS: Final = 16
_CRYSTAL_HZ: Final = 24_000_000
_PLL3_80M_HZ: Final = 80_000_000


class Ccm(PlainRegisters):
    """CCM: a divider or a multiplexer changes as soon as it is written, so that none is ever busy."""

    _CSCDR1: Final = 0x24

    def __init__(self) -> None:
        gates = {f"x{0x68 + 4 * n:x}": _MASK for n in range(8)}
        super().__init__(x10=1, x14=0xA8300, x18=0x2DAE8324, x24=0x6490B00, x54=0x79, **gates)

    def uart_hz(self) -> int:
        """Return the clock of all UARTs."""
        value = self.read(self._CSCDR1)
        return (_CRYSTAL_HZ if value >> 6 & 1 else _PLL3_80M_HZ) // ((value & 0x3F) + 1)


class Analog(PlainRegisters):
    """CCM_ANALOG with USB_ANALOG: registers with addresses that set, clear and flip bits. A PLL locks at once."""

    DIGPROG: Final = 0x260
    _PLLS: Final = {0x00: 0x13063, 0x10: 0x12000, 0x20: 0x12000, 0x30: 0x13001, 0x70: 0x11006}
    _POWERED_DOWN: Final = 1 << 12  # of the ARM, system and audio PLLs; those of USB have a bit POWER there
    _USB: Final = (0x10, 0x20)
    _LOCKED: Final = 1 << 31

    def __init__(self, part: int) -> None:
        plls = {f"x{offset:x}": value for offset, value in self._PLLS.items()}
        super().__init__(**plls, **{f"x{self.DIGPROG:x}": part})

    def read(self, offset: int) -> int:
        """Return a register, whichever of its four addresses is read."""
        register = offset & ~0xF
        value = super().read(register)
        if register in self._PLLS:
            bit = bool(value & self._POWERED_DOWN)
            if bit is (register in self._USB):
                value |= self._LOCKED
        return value

    def write(self, offset: int, value: int) -> None:
        """Write a register, or set, clear or flip its bits."""
        register = offset & ~0xF
        if register == self.DIGPROG:
            return
        old = self.values.get(register, 0)
        new = {0x0: value, 0x4: old | value, 0x8: old & ~value, 0xC: old ^ value}[offset & 0xC]
        super().write(register, new & ~self._LOCKED)


class Dcdc(PlainRegisters):
    """DCDC: the voltage has settled at once."""

    _SETTLED: Final = 1 << 31

    def __init__(self) -> None:
        super().__init__(x0=0x14030111, x4=0x111BA29C, x8=0x4009, xC=0x10E)

    def read(self, offset: int) -> int:
        """Return a register."""
        return super().read(offset) | (self._SETTLED if offset == 0 else 0)


class ResetController:
    """SRC: why the chip was reset, how it boots, and registers that only power-on clears (RM, SRC)."""

    POWER_ON: Final = 1 << 0  # ipp_reset_b
    LOCKUP_OR_REQUEST: Final = 1 << 1  # lockup_sysresetreq
    _SRSR, _SBMR2, _GPR1, _GPR_END = 0x08, 0x1C, 0x20, 0x48
    _INTERNAL_BOOT: Final = 2 << 24  # BMOD: the EVK's switch SW7 in its position for flash

    def __init__(self) -> None:
        self.power_on()

    def power_on(self) -> None:
        """Only this clears the general-purpose registers."""
        self.flags = self.POWER_ON
        self._kept: dict[int, int] = {}

    def reset(self) -> None:
        """Nothing here is cleared by a reset but a power-on."""

    def read(self, offset: int) -> int:
        """Return a register."""
        return {self._SRSR: self.flags, self._SBMR2: self._INTERNAL_BOOT}.get(
            offset, self._kept.get(offset, 0)
        )

    def write(self, offset: int, value: int) -> None:
        """Write a register; of SRSR ones clear."""
        if offset == self._SRSR:
            self.flags &= ~value
        elif self._GPR1 <= offset < self._GPR_END:
            self._kept[offset] = value


class GeneralRegisters(PlainRegisters):
    """IOMUXC_GPR: the shape of FlexRAM, and whether the DMA reaches TCM while the core sleeps.

    `shaped(itcm_bytes, dtcm_bytes)` is called whenever the shape may have changed. A TCM is as large as its banks, or
    as large as GPR14 says if that is less.
    """

    _GPR1, _GPR14, _GPR16, _GPR17 = 0x04, 0x38, 0x40, 0x44
    _ITCM, _DTCM = 3, 2  # codes of a bank
    _SELECT: Final = 1 << 2
    _FORCE_HCLK: Final = 1 << 31
    # Of fuses that nobody has blown: 128 KB ITCM, 128 KB DTCM, 256 KB OCRAM (RM, FlexRAM).
    FUSES: Final = (128 << 10, 128 << 10)

    def __init__(self, shaped: Callable[[int, int], None]) -> None:
        self._shaped = shaped
        super().__init__(x40=0x200003)

    def reset(self) -> None:
        """FlexRAM gets the shape of the fuses."""
        super().reset()
        self._shaped(*self.FUSES)

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        super().write(offset, value)
        if offset in (self._GPR14, self._GPR16, self._GPR17):
            self._shaped(*self._shape())

    def _shape(self) -> tuple[int, int]:
        if not self.read(self._GPR16) & self._SELECT:
            return self.FUSES
        codes = [self.read(self._GPR17) >> 2 * n & 3 for n in range(_BANKS)]
        sizes = self.read(self._GPR14)
        shape = []
        for code, field, enabled in ((self._ITCM, 16, 0), (self._DTCM, 20, 1)):
            size = sizes >> field & 0xF
            banks = BANK_BYTES * codes.count(code)
            limit = 512 << size if size else banks  # 3: 4 KB, … 10: 512 KB
            shape.append(min(banks, limit) if self.read(self._GPR16) >> enabled & 1 else 0)
        return shape[0], shape[1]

    @property
    def tcm_while_asleep(self) -> bool:
        """GPR1.CM7_FORCE_HCLK_EN."""
        return bool(self.read(self._GPR1) & self._FORCE_HCLK)


class Gpio:
    """A GPIO port; `changed(driven_high, driven_low)` is called after each write."""

    _DR, _GDIR, _PSR = 0x00, 0x04, 0x08
    _SET, _CLEAR, _TOGGLE = 0x84, 0x88, 0x8C

    def __init__(self, changed: Callable[[int, int], None]) -> None:
        self._changed = changed
        self.reset()

    def reset(self) -> None:
        """All pins are inputs."""
        self._data = self._direction = 0
        self._changed(0, 0)

    def read(self, offset: int) -> int:
        """Return a register; PSR as if nothing drove the inputs."""
        pins = self._data & self._direction
        return {self._DR: self._data, self._GDIR: self._direction, self._PSR: pins}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        if offset == self._GDIR:
            self._direction = value
        else:
            old = self._data
            changed = {
                self._DR: value,
                self._SET: old | value,
                self._CLEAR: old & ~value,
                self._TOGGLE: old ^ value,
            }
            self._data = changed.get(offset, old)
        self._changed(self._data & self._direction, ~self._data & self._direction)


class RunningWatchdog(PlainRegisters):
    """RTWDOG: takes CS and TOVAL only behind its unlock word, and only until CS is written (RM, RTWDOG).

    It never runs out of time.
    """

    _CS, _CNT = 0x0, 0x4
    _UNLOCK: Final = 0xD928C520
    _ENABLED: Final = 1 << 7
    _UNLOCKED: Final = 1 << 11

    def __init__(self) -> None:
        super().__init__(x0=0x2980, x8=0x400)

    def reset(self) -> None:
        """It runs, and is locked."""
        super().reset()
        self._unlocked = False

    def read(self, offset: int) -> int:
        """Return a register."""
        value = super().read(offset)
        return value | self._UNLOCKED if offset == self._CS and self._unlocked else value

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        if offset == self._CNT:
            self._unlocked = self._unlocked or value == self._UNLOCK
        elif self._unlocked:
            super().write(offset, value & ~self._UNLOCKED)
            self._unlocked = offset != self._CS

    @property
    def running(self) -> bool:
        """Whether it would reset the chip some day."""
        return bool(super().read(self._CS) & self._ENABLED)
