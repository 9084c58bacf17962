"""Chips without a process around them, for tests that look inside."""

import random

from fqtbench.virtual.chips.nrf52840.chip import Nrf52840
from tests.virtual.programs import Program

FAR = 1 << 40


class DeafLine:
    """A line that nobody holds."""

    url = ""

    def __init__(self) -> None:
        self.sent = b""

    def readers(self) -> list[int]:
        return []

    def writers(self) -> list[int]:
        return []

    def poll(self) -> bytes:
        return b""

    def send(self, data: bytes) -> None:
        self.sent += data

    def unpublish(self) -> None:
        pass

    def close(self) -> None:
        pass


def chip_with(program: Program, handlers: dict[int, int] | None = None) -> Nrf52840:
    """Return a chip with the program in flash, after reset."""
    chip = Nrf52840(DeafLine(), device_id=1)
    chip.program(0, program.flash(handlers))
    chip.reset(halt=False)
    return chip


def run_to_sleep(chip: Nrf52840, slices: random.Random | None = None) -> tuple[int, int, int]:
    """Run until the chip waits for ever or is halted; return instructions, cycles and r4."""
    while chip.runnable:
        chip.run(FAR if slices is None else slices.randint(1, 5000))
    return chip.cpu.instructions, chip.now, chip.read_register(4)
