"""What differs between the debug ports of chips: ids, breakpoint comparators, access ports.

"ADI" is the ARM Debug Interface Architecture Specification (ARM IHI 0031E).
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

SCS: Final = 0xE000_E000
DWT: Final = 0xE000_1000
BREAKPOINT_UNIT: Final = 0xE000_2000


class Component(NamedTuple):
    """An entry of the ROM table."""

    base: int
    present: bool
    pidr: int  # 64 bits: PIDR4 in bits 32-39, PIDR3..0 below


@dataclass(frozen=True)
class DebugIdentity:
    """One chip's debug port as a probe finds it.

    `dpidr`, `target_id`, `dlpidr`: debug port (ADI B2.2); a `target_id` of 0 is a port that is alone on its wire and
    has no such register. `ap_idr`: the AHB-AP's. `components`: in the order of the core's ROM table. `control_ap`:
    Nordic's CTRL-AP is port 1. `breakpoint_version`: of the unit with the comparators (ARMv7-M ARM C1.11.3, REV).
    """

    dpidr: int
    ap_idr: int
    components: tuple[Component, ...]
    rom_table_pidr: int
    code_comparators: int
    literal_comparators: int
    control_ap: bool = False
    target_id: int = 0
    dlpidr: int = 0
    breakpoint_version: int = 1
