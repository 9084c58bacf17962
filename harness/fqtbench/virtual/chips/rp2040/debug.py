"""The debug port of the RP2040's core 0 as a probe finds it.

"TRM" is the Cortex-M0+ Technical Reference Manual (ARM DDI 0484C), "RP" the RP2040 Datasheet, "ADI" the ARM Debug
Interface Architecture Specification (ARM IHI 0031E).
"""

from typing import Final

from fqtbench.virtual.debug_identity import BREAKPOINT_UNIT, DWT, SCS, Component, DebugIdentity

# Core 0; the port of core 1 and the rescue port don't answer. TRM, table 7-1: component ids.
IDENTITY: Final = DebugIdentity(
    dpidr=0x0BC1_2477,  # RP 2.3.4.2, architecture 2: several ports on one wire
    ap_idr=0x0477_0031,  # TRM 7.1
    components=(
        Component(SCS, True, 0x04_000B_B008),
        Component(DWT, True, 0x04_000B_B00A),
        Component(BREAKPOINT_UNIT, True, 0x04_000B_B00B),
    ),
    rom_table_pidr=0x04_000B_B4C0,  # TRM, table 7-1
    code_comparators=4,  # RP 2.4.1: four breakpoints
    literal_comparators=0,
    target_id=0x0100_2927,  # RP 2.3.4.2: core 0
    dlpidr=0x0000_0001,  # protocol version 1 (ADI B2.2.5), instance 0
)
