"""Virtual RP2040."""

from fqtbench.virtual.chips.rp2040.chip import Rp2040
from fqtbench.virtual.uart_line import Line


def create(line: Line) -> Rp2040:
    """Return the chip on a Raspberry Pi Pico, UART0 on `line`."""
    return Rp2040(line)
