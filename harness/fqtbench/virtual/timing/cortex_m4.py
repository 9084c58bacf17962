"""Cycles of a Cortex-M4, from its Technical Reference Manual (ARM 100166, r0p1), section 3.3.

Covered: the cycles of table 3-1 and of table 7-1 (FPU), pipelined loads and stores and stalled addresses as 3.3.2 has
them, pipeline refill of taken branches. A block begins as if nothing came before it.
Not covered: SDIV and UDIV take 2 to 12 cycles by their operands, here always 7; the refill P of 1 to 3 is always 2;
memory answers without wait states, which on the nRF52840 holds for hits of its instruction cache. docs/timing.md.
"""

import hashlib
from typing import Final, NamedTuple

import capstone
import unicorn
from capstone import arm

from fqtbench.virtual.timing.model import Timing

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
_MULTIPLE: Final = ("ldm", "stm", "push", "pop", "vldm", "vstm", "vpush", "vpop")  # 1 + N words
_DOUBLE: Final = ("ldrd", "strd")  # 1 + 2
_FIRST_ACCESS_CYCLES: Final = 2  # a load; behind another one, whose result is not its address, 1 (3.3.2)
_INDEXED_STORE_CYCLES: Final = 2  # with a register as offset, where it can't be pipelined with a load (3.3.2)
_STALL_CYCLES: Final = 1  # of an address that the instruction before has computed (3.3.2)

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
                _INDEXED_STORE_CYCLES,
                _STALL_CYCLES,
                unicorn.__version__,
            )
        ).encode()
    ).hexdigest()[:12]
)

UNCERTAINTY: Final = 0.07  # docs/timing.md, "How far off"

_decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_decoder.detail = True

_WIDE_PREFIX: Final = 0xE800  # first halfword of a 32-bit instruction (ARMv7-M ARM A5.1)


class _Before(NamedTuple):
    """What the instruction before leaves behind: whether it is a load, and the registers that it loaded or computed."""

    is_load: bool = False
    loaded: frozenset[int] = frozenset()
    computed: frozenset[int] = frozenset()


def price(code: bytes, address: int) -> tuple[int, int]:
    """Return cycles and instructions of the block `code` at `address`, its last branch not taken."""
    cycles = instructions = position = 0
    before = _Before()
    while position < len(code):
        decoded = next(_decoder.disasm(code[position : position + 4], address + position, 1), None)
        instructions += 1
        if decoded is None:  # a coprocessor or hint encoding that Capstone does not know
            halfword = int.from_bytes(code[position : position + 2], "little")
            position += 4 if halfword >= _WIDE_PREFIX else 2
            cycles, before = cycles + 1, _Before()
            continue
        position += decoded.size
        taken, before = _price_instruction(decoded, before)
        cycles += taken
    return cycles, instructions


def _price_instruction(decoded: capstone.CsInsn, before: _Before) -> tuple[int, _Before]:
    """Return its cycles, and what it leaves behind."""
    name = decoded.mnemonic.split(".")[0]
    if name.startswith(_MULTIPLE):
        return 1 + _transferred(decoded, name) + _stall(decoded, before), _Before()
    if name.startswith(_DOUBLE):
        return 3 + _stall(decoded, before), _Before()
    if name.startswith(("ldr", "vldr")):
        pipelined = before.is_load and not _address_registers(decoded) & before.loaded
        loaded = frozenset(o.reg for o in decoded.operands if o.type == arm.ARM_OP_REG)
        cycles = (1 if pipelined else _FIRST_ACCESS_CYCLES) + _stall(decoded, before)
        return cycles, _Before(is_load=True, loaded=loaded)
    if name.startswith(("str", "vstr")):
        return _store_cycles(decoded, before) + _stall(decoded, before), _Before()
    computed = frozenset(
        o.reg for o in decoded.operands if o.type == arm.ARM_OP_REG and o.access & capstone.CS_AC_WRITE
    )
    for prefix, cycles in _CYCLES.items():
        if name.startswith(prefix):
            return cycles, _Before(computed=computed)
    return 1, _Before(computed=computed)


def _transferred(decoded: capstone.CsInsn, name: str) -> int:
    """Words that a multiple access moves."""
    registers = [o.reg for o in decoded.operands if o.type == arm.ARM_OP_REG]
    if name.startswith(("ldm", "stm", "vldm", "vstm")):
        registers = registers[1:]  # without the base
    return sum(2 if arm.ARM_REG_D0 <= r <= arm.ARM_REG_D31 else 1 for r in registers)


def _store_cycles(decoded: capstone.CsInsn, before: _Before) -> int:
    """With an immediate offset 1; with a register's 2, but behind a load that it pipelines with."""
    indexed = any(o.type == arm.ARM_OP_MEM and o.mem.index for o in decoded.operands)
    if not indexed or (before.is_load and not _address_registers(decoded) & before.loaded):
        return 1
    return _INDEXED_STORE_CYCLES


def _stall(decoded: capstone.CsInsn, before: _Before) -> int:
    """An address that the instruction before has computed waits for the register bank."""
    return _STALL_CYCLES if _address_registers(decoded) & before.computed else 0


def _address_registers(decoded: capstone.CsInsn) -> frozenset[int]:
    if decoded.mnemonic.startswith(("push", "pop", "vpush", "vpop")):
        return frozenset({arm.ARM_REG_SP})
    memory = [o.mem for o in decoded.operands if o.type == arm.ARM_OP_MEM]
    if memory:
        return frozenset({memory[0].base, memory[0].index}) - {0}
    return frozenset({decoded.operands[0].reg})  # LDM and STM: the base


TIMING: Final = Timing(MODEL_ID, price, TAKEN_CYCLES, UNCERTAINTY)
