"""The nRF52840's debug port as a probe finds it.

"TRM" is the Cortex-M4 Technical Reference Manual (ARM DDI 0439), "PS" the nRF52840 Product Specification v1.7.
"""

from typing import Final

from fqtbench.virtual.debug_identity import BREAKPOINT_UNIT, DWT, SCS, Component, DebugIdentity

# TRM 8.1 gives order and addresses of the components. The ids of SCS, DWT and FPB are those
# that Cortex-M4 silicon reports (pyOCD pull request 279 prints a K22's: 4000bb00c, 4003bb002, 4002bb003).
IDENTITY: Final = DebugIdentity(
    dpidr=0x2BA0_1477,  # SW-DP of a Cortex-M4, architecture 1; probe-rs issue 581 shows an nRF52840's trace
    ap_idr=0x2477_0011,  # TRM 8.2
    components=(
        Component(SCS, True, 0x04_000B_B00C),
        Component(DWT, True, 0x04_003B_B002),
        Component(BREAKPOINT_UNIT, True, 0x04_002B_B003),
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
