"""What a memory-mapped peripheral is to the chip."""

from typing import Protocol, runtime_checkable


class Peripheral(Protocol):
    """Registers in a page of the address space; offsets are in bytes, values 32-bit words."""

    def read(self, offset: int) -> int:
        """Return a register."""

    def write(self, offset: int, value: int) -> None:
        """Write a register."""

    def reset(self) -> None:
        """Go to the reset state."""


@runtime_checkable
class NarrowWrites(Protocol):
    """A peripheral with registers of one or two bytes, which a store of that size changes alone."""

    def write_part(self, offset: int, size: int, value: int) -> None:
        """Write 1, 2 or 4 bytes."""


class PlainRegisters:
    """Registers that keep what is written and do nothing."""

    def __init__(self, **presets: int) -> None:
        self._presets = {int(name[1:], 16): value for name, value in presets.items()}
        self.values: dict[int, int] = {}
        self.reset()

    def reset(self) -> None:
        """Go to the presets."""
        self.values = dict(self._presets)

    def read(self, offset: int) -> int:
        """Return what was written; 0 if nothing was."""
        return self.values.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Keep the value."""
        self.values[offset] = value
