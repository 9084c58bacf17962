"""Cycles of a Cortex-M4, from its Technical Reference Manual (ARM 100166, r0p1), section 3.3.

Covered: the cycles of table 3-1 and of table 7-1 (FPU), pipelined loads and stores, pipeline refill of taken branches.
Not covered: SDIV and UDIV take 2 to 12 cycles by their operands, here always 7; the refill P of 1 to 3 is always 2;
memory answers without wait states, which on the nRF52840 holds for hits of its instruction cache. docs/timing.md.
"""

import hashlib
from typing import Final

import capstone
import unicorn
from capstone import arm

TAKEN_CYCLES: Final = 2  # P, on top of the branch's own cycle: "1 + P", P = 1..3 (3.3.1)

_DIVIDE_CYCLES: Final = 7  # 2 to 12, "terminates when the divide calculation completes"
# Cycles of an instruction, where it isn't 1, by mnemonic without width and condition.
_CYCLES: Final = {
    "sdiv": _DIVIDE_CYCLES,
    "udiv": _DIVIDE_CYCLES,
    "tbb": 2,
    "tbh": 2,
    "mrs": 2,
    "msr": 2,
    "vdiv": 14,
    "vsqrt": 14,
    "vmla": 3,
    "vmls": 3,
    "vnmla": 3,
    "vnmls": 3,
    "vfma": 3,
    "vfms": 3,
}
_MULTIPLE: Final = ("ldm", "stm", "push", "pop", "vldm", "vstm", "vpush", "vpop")  # 1 + N registers
_DOUBLE: Final = ("ldrd", "strd")  # 1 + 2
_FIRST_ACCESS_CYCLES: Final = 2  # a load; back to back each further one takes 1 (3.3.2)

MODEL_ID: Final = (
    "cortex-m4-"
    + hashlib.sha256(
        repr(
            (
                TAKEN_CYCLES,
                sorted(_CYCLES.items()),
                _MULTIPLE,
                _DOUBLE,
                _FIRST_ACCESS_CYCLES,
                unicorn.__version__,
            )
        ).encode()
    ).hexdigest()[:12]
)

_decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_decoder.detail = True

_WIDE_PREFIX: Final = 0xE800  # first halfword of a 32-bit instruction (ARMv7-M ARM A5.1)


def price(code: bytes, address: int) -> tuple[int, int]:
    """Return cycles and instructions of the block `code` at `address`, its last branch not taken."""
    cycles = instructions = position = 0
    pipelined, loaded = False, frozenset[int]()
    while position < len(code):
        decoded = next(_decoder.disasm(code[position : position + 4], address + position, 1), None)
        instructions += 1
        if decoded is None:  # a coprocessor or hint encoding that Capstone does not know
            halfword = int.from_bytes(code[position : position + 2], "little")
            position += 4 if halfword >= _WIDE_PREFIX else 2
            cycles, pipelined = cycles + 1, False
            continue
        position += decoded.size
        taken, pipelined, loaded = _price_instruction(decoded, pipelined, loaded)
        cycles += taken
    return cycles, instructions


def _price_instruction(
    decoded: capstone.CsInsn, pipelined: bool, loaded: frozenset[int]
) -> tuple[int, bool, frozenset[int]]:
    """Return its cycles, whether an access behind it pipelines, and the registers that it loads."""
    name = decoded.mnemonic.split(".")[0]
    if name.startswith(_DOUBLE):
        return 3, False, frozenset()
    if name.startswith(_MULTIPLE):
        n = sum(1 for operand in decoded.operands if operand.type == arm.ARM_OP_REG)
        if name.startswith(("ldm", "stm", "vldm", "vstm")):
            n -= 1  # the first operand is the base
        return 1 + n, False, frozenset()
    if name.startswith(("ldr", "vldr")):
        base = {o.mem.base for o in decoded.operands if o.type == arm.ARM_OP_MEM}
        pipelined = pipelined and not base & loaded
        result = frozenset(o.reg for o in decoded.operands if o.type == arm.ARM_OP_REG)
        return (1 if pipelined else _FIRST_ACCESS_CYCLES), True, result
    if name.startswith(("str", "vstr")):
        return 1, True, frozenset()
    for prefix, cycles in _CYCLES.items():
        if name.startswith(prefix):
            return cycles, False, frozenset()
    return 1, False, frozenset()
