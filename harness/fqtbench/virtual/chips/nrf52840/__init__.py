"""Virtual nRF52840."""

from typing import Final

from fqtbench.virtual.chips.nrf52840.chip import Nrf52840
from fqtbench.virtual.uart_line import Line

_DEVICE_ID: Final = 0x5649525455414C31  # "VIRTUAL1": FICR.DEVICEID of a chip that nobody made


def create(line: Line) -> Nrf52840:
    """Return the chip of a board that nobody made, its UART on `line`."""
    return Nrf52840(line, _DEVICE_ID)
