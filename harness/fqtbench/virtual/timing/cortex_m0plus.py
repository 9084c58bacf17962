"""Cycles of a Cortex-M0+, from its Technical Reference Manual (ARM DDI 0484C), table 3-1, with the fast multiplier.

The table's footnotes b to e: loads and stores take 2 cycles from memory, 1 from the single-cycle I/O port, which on
the RP2040 is SIO only; LDM and STM 1 + N, PUSH 1 + N, POP 1 + N or, with PC, 3 + N. The core has two stages and no
overlap between instructions, so that a block's cycles are the sum of its instructions' (docs/timing.md).
"""

import hashlib
from typing import Final

import capstone
import unicorn
from capstone import arm

from fqtbench.virtual.timing.model import Timing

TAKEN_CYCLES: Final = 1  # on top of a branch's own cycle: "B<cc> 1 or 2", taken 2

_ACCESS_CYCLES: Final = 2
# Cycles of an instruction, where it isn't 1, by mnemonic without width; jumps without the cycle of TAKEN_CYCLES.
_CYCLES: Final = {
    "bl": 2,  # 3, of which a jump's is one
    "dmb": 3,
    "dsb": 3,
    "isb": 3,
    "mrs": 3,
    "msr": 3,
    "wfi": 2,
    "wfe": 2,
}
_MULTIPLE: Final = ("ldm", "stm", "push", "pop")  # 1 + N registers
_POP_PC_EXTRA: Final = 2  # 3 + N; less the cycle of TAKEN_CYCLES

MODEL_ID: Final = (
    "cortex-m0plus-"
    + hashlib.sha256(
        repr(
            (
                TAKEN_CYCLES,
                _ACCESS_CYCLES,
                sorted(_CYCLES.items()),
                _MULTIPLE,
                _POP_PC_EXTRA,
                unicorn.__version__,
            )
        ).encode()
    ).hexdigest()[:12]
)

UNCERTAINTY: Final = 0.01  # docs/timing.md, "How far off"

_decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_decoder.detail = True

_WIDE_PREFIX: Final = 0xE800  # first halfword of a 32-bit instruction (ARMv6-M ARM A5.1)


def price(code: bytes, address: int) -> tuple[int, int]:
    """Return cycles and instructions of the block `code` at `address`, its last branch not taken."""
    cycles = instructions = position = 0
    while position < len(code):
        decoded = next(_decoder.disasm(code[position : position + 4], address + position, 1), None)
        instructions += 1
        if decoded is None:  # a hint encoding that Capstone does not know
            halfword = int.from_bytes(code[position : position + 2], "little")
            position += 4 if halfword >= _WIDE_PREFIX else 2
            cycles += 1
            continue
        position += decoded.size
        cycles += _price_instruction(decoded)
    return cycles, instructions


def _price_instruction(decoded: capstone.CsInsn) -> int:
    """Return the cycles of an instruction, without those of a taken jump."""
    name = decoded.mnemonic.split(".")[0]
    if name.startswith(_MULTIPLE):
        registers = [operand.reg for operand in decoded.operands if operand.type == arm.ARM_OP_REG]
        if name.startswith(("ldm", "stm")):
            return len(registers)  # the first operand is the base: 1 + N
        pc = name == "pop" and arm.ARM_REG_PC in registers
        return 1 + len(registers) + (_POP_PC_EXTRA - TAKEN_CYCLES if pc else 0)
    if name.startswith(("ldr", "str")):
        return _ACCESS_CYCLES
    return _CYCLES.get(name, 1)


TIMING: Final = Timing(MODEL_ID, price, TAKEN_CYCLES, UNCERTAINTY)
