"""Virtual chips: a package each, named as the chip's firmware, whose `create(line)` returns the chip on its board."""

import importlib
import pkgutil

from fqtbench.virtual.uart_chip import UartChip
from fqtbench.virtual.uart_line import Line


def names() -> list[str]:
    """Return the names of all chips."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def create(name: str, line: Line) -> UartChip:
    """Return the chip called `name`, its UART on `line`."""
    chip: UartChip = importlib.import_module(f"{__name__}.{name}").create(line)
    return chip
