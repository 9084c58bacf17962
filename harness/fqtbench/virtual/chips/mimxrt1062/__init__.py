"""Virtual i.MX RT1062."""

from fqtbench.virtual.chips.mimxrt1062.chip import Mimxrt1062
from fqtbench.virtual.uart_line import Line


def create(line: Line) -> Mimxrt1062:
    """Return the chip on a MIMXRT1060-EVK, LPUART1 on `line`."""
    return Mimxrt1062(line)
