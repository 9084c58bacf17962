"""The STM32F429's debug port as a probe finds it. "TRM" is the Cortex-M4 Technical Reference Manual (ARM DDI 0439)."""

from typing import Final

from fqtbench.virtual.debug_identity import BREAKPOINT_UNIT, DWT, SCS, Component, DebugIdentity

IDENTITY: Final = DebugIdentity(
    dpidr=0x2BA0_1477,  # SW-DP of a Cortex-M4 (RM0090 rev 19, 38.8.3)
    ap_idr=0x2477_0011,  # TRM 8.2
    components=(  # TRM 8.1: order, addresses and ids, as every Cortex-M4 r0p1 has them
        Component(SCS, True, 0x04_000B_B00C),
        Component(DWT, True, 0x04_003B_B002),
        Component(BREAKPOINT_UNIT, True, 0x04_002B_B003),
        Component(0xE000_0000, False, 0),  # ITM
        Component(0xE004_0000, False, 0),  # TPIU
        Component(0xE004_1000, False, 0),  # ETM
    ),
    # Designer 0x20 (ST: JEP106 bank 0, code 0x20), part as DBGMCU_IDCODE's DEV_ID.
    rom_table_pidr=0x00_000A_0419,
    code_comparators=6,  # TRM 8.3: six instruction and two literal comparators
    literal_comparators=2,
)
