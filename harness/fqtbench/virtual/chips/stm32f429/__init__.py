"""Virtual STM32F429."""

from typing import Final

from fqtbench.virtual.chips.stm32f429.chip import Stm32f429
from fqtbench.virtual.uart_line import Line

_DEVICE_ID: Final = 0x5649525455414C31  # "VIRTUAL1": the unique id of a chip that nobody made


def create(line: Line) -> Stm32f429:
    """Return the chip on a NUCLEO-F429ZI, USART3 on `line`."""
    return Stm32f429(line, _DEVICE_ID)
