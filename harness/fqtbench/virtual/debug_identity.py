"""What differs between the debug ports of the virtual chips: ids, breakpoint comparators, access ports.

Sources: "ADI" is the ARM Debug Interface Architecture Specification (ARM IHI 0031E), "TRM" the core's Technical
Reference Manual, "PS" the nRF52840 Product Specification v1.7, "RP" the RP2040 Datasheet.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

_SCS: Final = 0xE000_E000
_DWT: Final = 0xE000_1000
_BREAKPOINT_UNIT: Final = 0xE000_2000


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
    Nordic's CTRL-AP is port 1.
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


# Cortex-M4 TRM (ARM DDI 0439) 8.1 gives order and addresses of the components. The ids of SCS, DWT and FPB are those
# that Cortex-M4 silicon reports (pyOCD pull request 279 prints a K22's: 4000bb00c, 4003bb002, 4002bb003).
NRF52840: Final = DebugIdentity(
    dpidr=0x2BA0_1477,  # SW-DP of a Cortex-M4, architecture 1; probe-rs issue 581 shows an nRF52840's trace
    ap_idr=0x2477_0011,  # TRM 8.2
    components=(
        Component(_SCS, True, 0x04_000B_B00C),
        Component(_DWT, True, 0x04_003B_B002),
        Component(_BREAKPOINT_UNIT, True, 0x04_002B_B003),
        Component(0xE000_0000, False, 0),  # ITM
        Component(0xE004_0000, False, 0),  # TPIU
        Component(0xE004_1000, False, 0),  # ETM
    ),
    # JEP106 designer 0x244 (Nordic: bank 2, code 0x44), part 0x008: what an nRF52840 reports (PS 4.8).
    rom_table_pidr=0x02_000C_4008,
    code_comparators=6,  # TRM 8.3: six instruction and two literal comparators
    literal_comparators=2,
    control_ap=True,
)

# Core 0; the port of core 1 and the rescue port don't answer. Cortex-M0+ TRM (ARM DDI 0484C), table 7-1: component ids.
RP2040: Final = DebugIdentity(
    dpidr=0x0BC1_2477,  # RP 2.3.4.2, architecture 2: several ports on one wire
    ap_idr=0x0477_0031,  # TRM 7.1
    components=(
        Component(_SCS, True, 0x04_000B_B008),
        Component(_DWT, True, 0x04_000B_B00A),
        Component(_BREAKPOINT_UNIT, True, 0x04_000B_B00B),
    ),
    rom_table_pidr=0x04_000B_B4C0,  # TRM, table 7-1
    code_comparators=4,  # RP 2.4.1: four breakpoints
    literal_comparators=0,
    target_id=0x0100_2927,  # RP 2.3.4.2: core 0
    dlpidr=0x0000_0001,  # protocol version 1 (ADI B2.2.5), instance 0
)
