"""The debug port of the i.MX RT1062 as a probe finds it.

"EVKB" is what NXP's LinkServer says of a MIMXRT1060-EVKB (intercreate/smpclient, pull request 37): port, component ids.
"""

from typing import Final

from fqtbench.virtual.debug_identity import BREAKPOINT_UNIT, DWT, SCS, Component, DebugIdentity

# Left out are the two ROM tables above the core's, at 0xE00FE000 and 0xE00FD000, with ETM, CTI, TPIU and time stamps.
IDENTITY: Final = DebugIdentity(
    dpidr=0x0BD1_1477,  # EVKB
    ap_idr=0x0477_0041,  # of another Cortex-M7 behind the same port, in a log of SEGGER's J-Link
    components=(
        Component(SCS, True, 0x04_000B_B00C),
        Component(DWT, True, 0x04_000B_B002),
        Component(BREAKPOINT_UNIT, True, 0x04_000B_B00E),
        Component(0xE000_0000, False, 0),  # ITM
    ),
    rom_table_pidr=0x04_000B_B4C7,
    code_comparators=8,
    literal_comparators=0,
    breakpoint_version=2,
)
