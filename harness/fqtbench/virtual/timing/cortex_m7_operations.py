"""What an instruction needs of a Cortex-M7: units, issue slot, operands by pipeline stage, results by latency.

Arm publishes no cycle table of this core. Sources: [L] LLVM's scheduling model, llvm/lib/Target/ARM/ARMScheduleM7.td;
[J] measurements on an STM32H743, github.com/jnk0le/random, "pipeline cycle test/doc/cortex_m7.md". Where they differ,
the measurement counts, and the rule says so.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, NamedTuple

import capstone
from capstone import arm


class Unit(Enum):
    """What the instructions of one cycle share [L]; one of each, but where COUNT says more."""

    ALU = auto()
    SHIFT = auto()  # EX1's shifter: shifted operands, shifted constants, bit fields
    SIMD = auto()
    LOAD = auto()
    STORE = auto()
    MAC = auto()
    MAC_OR_STORE = auto()  # a multiplication and a store don't issue together [J]; [L] lets them
    BRANCH = auto()
    VFP = auto()
    VPORT = auto()


COUNT: Final = {Unit.ALU: 2, Unit.LOAD: 2, Unit.VPORT: 2}


class Slot(Enum):
    """Which of a cycle's two slots an instruction may take: the older is the one that comes first in the code."""

    EITHER = auto()
    OLDER = auto()
    ALONE = auto()


# When an operand is needed, in cycles behind that of an addition, whose stage is EX2 [L].
EX1: Final = -1  # addresses, shifted operands
EX2: Final = 0
EX3: Final = 1  # what a multiplication adds to
EX4: Final = 2  # what is stored [J]: any result of the same cycle; [L] has EX3 here

_ALU_LATENCY: Final = 1
_WORD_LATENCY: Final = 1
_PART_LATENCY: Final = 2  # of a byte or halfword
_MAC_LATENCY: Final = 2
_SATURATION_LATENCY: Final = 2
_UPDATE_LATENCY: Final = 0  # of a base register: bypassed out of EX1
_FLOAT_LATENCY: Final = 3
_FLOAT_MAC: Final = {"vmla": (6, 3), "vfma": (5, 2)}  # latency, and the stage of what is added to [L]
_TO_CORE_LATENCY: Final = 1  # vmov r, s [J]; 3 in [L]
_DOUBLE_LATENCY: Final = 2  # vldr of a D register
_LOCKED_CYCLES: Final = {"vdiv": 16, "vsqrt": 14}  # [J]
_DIVIDE_CYCLES: Final = 7  # [L]; the core's early end is not published
_TABLE_BRANCH_CYCLES: Final = 2  # [L]
_WORDS_PER_CYCLE: Final = 2  # of a multiple or double transfer [J]; in [L] any number takes 1


class Read(NamedTuple):
    """An operand; `bypassed` if it can take a word from a load in the cycle after that."""

    register: int
    stage: int
    bypassed: bool = True


class Write(NamedTuple):
    """A result: `latency` cycles behind the issue, EX2 can use it; `loaded` if it is a word from a load."""

    register: int
    latency: int
    loaded: bool = False


class Bank(NamedTuple):
    """Where a load goes, as far as the code tells: words of odd and even number lie in different banks [J]."""

    base: int
    odd: bool


@dataclass(frozen=True)
class Operation:
    """An instruction as the pipeline sees it; it keeps the next from issuing for `cycles`.

    One that is `early` may be done in EX1, if its operands are there: then EX2 of the same cycle can use the result
    [J]; [L] knows no such thing. `shift`: it is a shift by itself, which takes either stage's shifter.
    """

    units: tuple[Unit, ...] = ()
    reads: tuple[Read, ...] = ()
    writes: tuple[Write, ...] = ()
    slot: Slot = Slot.EITHER
    cycles: int = 1
    early: bool = False
    shift: bool = False
    bank: Bank | None = None
    is_branch: bool = False


ALONE: Final = Operation(slot=Slot.ALONE)  # what isn't known, and what waits for the whole pipeline

FLAGS: Final = int(arm.ARM_REG_CPSR)
_FLOAT_FLAGS: Final = int(arm.ARM_REG_FPSCR_NZCV)
_GE: Final = -1  # the flags that SEL reads
_UNTRACKED: Final = frozenset({0, FLAGS, _FLOAT_FLAGS, arm.ARM_REG_PC, arm.ARM_REG_ITSTATE})


class _Parts(NamedTuple):
    """An instruction's mnemonic, registers in the order of the text, and memory operand."""

    name: str
    instruction: capstone.CsInsn
    registers: tuple[int, ...]
    shifted: frozenset[int]
    address: tuple[int, ...]
    displacement: int | None  # None: with a register as index


def _parts(instruction: capstone.CsInsn) -> _Parts:
    registers: list[int] = []
    address: tuple[int, ...] = ()
    displacement: int | None = None
    shifted = set()
    for operand in instruction.operands:
        if operand.type == arm.ARM_OP_REG:
            registers.append(operand.reg)
            if operand.shift.type:
                shifted.add(operand.reg)
        elif operand.type == arm.ARM_OP_MEM:
            address = tuple(r for r in (operand.mem.base, operand.mem.index) if r)
            displacement = None if operand.mem.index else operand.mem.disp
    name = instruction.insn_name()
    return _Parts(name, instruction, tuple(registers), frozenset(shifted), address, displacement)


def _words(register: int) -> tuple[int, ...]:
    """A D register is two S registers."""
    if arm.ARM_REG_D0 <= register <= arm.ARM_REG_D15:
        first = arm.ARM_REG_S0 + 2 * (register - arm.ARM_REG_D0)
        return first, first + 1
    return (register,)


def _reads(registers: tuple[int, ...], stage: int = EX2, bypassed: bool = True) -> tuple[Read, ...]:
    flat = [word for register in registers for word in _words(register)]
    return tuple(Read(word, stage, bypassed) for word in flat if word not in _UNTRACKED)


def _writes(registers: tuple[int, ...], latency: int, loaded: bool = False) -> tuple[Write, ...]:
    flat = [word for register in registers for word in _words(register)]
    return tuple(Write(word, latency, loaded) for word in flat if word not in _UNTRACKED)


def _update(parts: _Parts) -> tuple[Write, ...]:
    """Return the write of a base register that an access moves."""
    base = parts.address[:1] or parts.registers[:1]
    return _writes(base, _UPDATE_LATENCY) if parts.instruction.writeback else ()


def _load(parts: _Parts) -> Operation:
    is_float = parts.name == "vldr"
    if is_float and len(_words(parts.registers[0])) == _WORDS_PER_CYCLE:
        writes = _writes(parts.registers, _DOUBLE_LATENCY)
        return Operation((Unit.LOAD,), _reads(parts.address, EX1), writes, Slot.ALONE)
    is_word = parts.name in ("ldr", "vldr", "ldrt", "ldrex")
    writes = _writes(
        parts.registers[:1], _WORD_LATENCY if is_word else _PART_LATENCY, is_word and not is_float
    )
    bank = None
    if parts.displacement is not None:
        bank = Bank(parts.address[0], bool(parts.displacement // 4 % 2))
    jumps = arm.ARM_REG_PC in parts.registers[:1]
    units = (Unit.LOAD, *((Unit.VPORT,) if is_float else ()), *((Unit.BRANCH,) if jumps else ()))
    return Operation(units, _reads(parts.address, EX1), writes + _update(parts), bank=bank, is_branch=jumps)


def _store(parts: _Parts) -> Operation:
    is_float = parts.name == "vstr"
    reads = _reads(parts.registers[:1], EX4) + _reads(parts.address, EX1)
    if is_float and len(_words(parts.registers[0])) == _WORDS_PER_CYCLE:
        return Operation((Unit.STORE,), reads, slot=Slot.ALONE)
    units = (Unit.STORE, Unit.VPORT if is_float else Unit.MAC_OR_STORE)
    return Operation(units, reads, _update(parts))


def _transfer(parts: _Parts) -> Operation:
    """Return LDM, STM, LDRD, STRD, PUSH, POP and the VFP's: alone, two words a cycle."""
    stack = parts.name in ("push", "pop", "vpush", "vpop")
    listed = parts.registers if stack or parts.address else parts.registers[1:]
    base = (arm.ARM_REG_SP,) if stack else parts.address or parts.registers[:1]
    n_words = sum(len(_words(register)) for register in listed)
    cycles = -(-n_words // _WORDS_PER_CYCLE)
    moved = _writes((arm.ARM_REG_SP,), _UPDATE_LATENCY) if stack else _update(parts)
    if "pop" in parts.name or "ld" in parts.name:
        jumps = arm.ARM_REG_PC in listed
        writes = _writes(listed, cycles - 1 + _WORD_LATENCY)
        return Operation((Unit.LOAD,), _reads(base, EX1), moved + writes, Slot.ALONE, cycles, is_branch=jumps)
    return Operation((Unit.STORE,), _reads(listed, EX4) + _reads(base, EX1), moved, Slot.ALONE, cycles)


def _multiply(parts: _Parts) -> Operation:
    """Additions chain at one a cycle. Factors don't take a word from the load right before [J]; in [L] they do."""
    long = re.match(r"[su]mull|[su]mlal|umaal|smlsl", parts.name) is not None
    results = parts.registers[: 2 if long else 1]
    factors = parts.registers[2:4] if long else parts.registers[1:3]
    added = results if long and "mull" not in parts.name else parts.registers[3:4]
    reads = _reads(factors, EX2, bypassed=False) + _reads(added, EX3)
    return Operation((Unit.MAC, Unit.MAC_OR_STORE), reads, _writes(results, _MAC_LATENCY))


def _divide(parts: _Parts) -> Operation:
    writes = _writes(parts.registers[:1], _DIVIDE_CYCLES)
    return Operation((Unit.ALU,), _reads(parts.registers[1:]), writes, Slot.ALONE, _DIVIDE_CYCLES)


def _branch(parts: _Parts) -> Operation:
    """Predicted: it waits for no operand."""
    link = (arm.ARM_REG_LR,) if parts.name in ("bl", "blx") else ()
    return Operation((Unit.BRANCH,), (), _writes(link, _ALU_LATENCY), is_branch=True)


def _table_branch(parts: _Parts) -> Operation:
    reads = _reads(parts.address, EX1)
    return Operation((Unit.LOAD,), reads, (), Slot.ALONE, _TABLE_BRANCH_CYCLES, is_branch=True)


def _simd(parts: _Parts) -> Operation:
    writes = _writes(parts.registers[:1], _ALU_LATENCY)
    if re.fullmatch(r"[su](add|sub|asx|sax)(8|16)?", parts.name):
        writes += (Write(_GE, _ALU_LATENCY),)
    flags = (Read(_GE, EX2),) if parts.name == "sel" else ()
    return Operation((Unit.ALU, Unit.SIMD), _reads(parts.registers[1:]) + flags, writes, Slot.OLDER)


def _saturating(parts: _Parts) -> Operation:
    reads = _reads(parts.registers[1:3]) + _reads(parts.registers[3:], EX3)  # USADA8 adds to its last
    writes = _writes(parts.registers[:1], _SATURATION_LATENCY)
    return Operation((Unit.ALU, Unit.SIMD), reads, writes, Slot.OLDER)


_SHIFTING: Final = (Unit.ALU, Unit.SIMD, Unit.SHIFT)


def _saturation(parts: _Parts) -> Operation:
    writes = _writes(parts.registers[:1], _SATURATION_LATENCY)
    return Operation(_SHIFTING, _reads(parts.registers[1:], EX1), writes, Slot.OLDER)


def _extraction(parts: _Parts) -> Operation:
    writes = _writes(parts.registers[:1], _ALU_LATENCY)
    return Operation(_SHIFTING, _reads(parts.registers[1:], EX1), writes, Slot.OLDER)


def _insertion(parts: _Parts) -> Operation:
    """BFI, PKHBT, UXTAB and kin: what is extracted is needed in EX1, what it is joined to in EX2."""
    first = parts.registers[:1] if parts.name in ("bfi", "bfc") else parts.registers[1:-1]
    last = () if parts.name == "bfc" else parts.registers[-1:]
    joined = _reads(first, EX1 if parts.name == "pkhtb" else EX2, bypassed=False)
    writes = _writes(parts.registers[:1], _ALU_LATENCY)
    return Operation(_SHIFTING, joined + _reads(last, EX1), writes, Slot.OLDER)


_COMPARISONS: Final = ("cmp", "cmn", "tst", "teq")
_CARRIED: Final = ("adc", "sbc", "rrx")
_SHIFTS: Final = ("lsl", "lsr", "asr", "ror", "rrx")
_EARLY: Final = ("add", "addw", "sub", "subw", "mov", "movw", "adr", *_SHIFTS[:4])


def _arithmetic(parts: _Parts) -> Operation:
    compares = parts.name in _COMPARISONS
    sources = tuple(parts.instruction.regs_access()[0])
    jumps = not compares and arm.ARM_REG_PC in parts.registers[:1]
    writes = () if compares else _writes(parts.registers[:1], _ALU_LATENCY)
    if parts.instruction.update_flags or compares:
        writes += (Write(FLAGS, _ALU_LATENCY),)
    shifting = bool(parts.shifted) or _has_shifted_constant(parts.instruction)
    straight = tuple(register for register in sources if register not in parts.shifted)
    reads = _reads(straight, EX2, bypassed=not parts.shifted) + _reads(tuple(parts.shifted), EX1)
    if parts.name in _CARRIED:
        reads += (Read(FLAGS, EX2),)
    units = (Unit.ALU, *((Unit.SHIFT,) if shifting else ()), *((Unit.BRANCH,) if jumps else ()))
    return Operation(
        units,
        reads,
        writes,
        early=parts.name in _EARLY and not shifting,
        shift=parts.name in _SHIFTS,
        is_branch=jumps,
    )


def _has_shifted_constant(instruction: capstone.CsInsn) -> bool:
    """Return whether a constant is 8 bits, rotated (ARMv7-M ARM A5.3.2): that takes the shifter [J]."""
    if instruction.size != 4:
        return False
    first, second = (int.from_bytes(instruction.bytes[i : i + 2], "little") for i in (0, 2))
    return first & 0xFA00 == 0xF000 and not second & 0x8000 and bool(first & 0x0400 or second & 0x4000)


def _float(parts: _Parts) -> Operation:
    kind = next((kind for kind in _FLOAT_MAC if parts.name in (kind, f"vn{kind[1:]}", f"{kind[:3]}s")), None)
    latency, stage = _FLOAT_MAC.get(kind or "", (_FLOAT_LATENCY, EX2))
    added = _reads(parts.registers[:1], stage) if kind else ()
    reads = added + _reads(parts.registers[1:])
    return Operation((Unit.VFP, Unit.VPORT), reads, _writes(parts.registers[:1], latency))


def _float_slow(parts: _Parts) -> Operation:
    """It locks the pipeline, all but the instruction beside it [J]; [L] goes on after it."""
    cycles = _LOCKED_CYCLES[parts.name]
    return Operation(
        (Unit.VFP, Unit.VPORT),
        _reads(parts.registers[1:]),
        _writes(parts.registers[:1], cycles),
        cycles=cycles,
    )


def _float_compare(parts: _Parts) -> Operation:
    return Operation((Unit.VFP, Unit.VPORT), _reads(parts.registers), (Write(_FLOAT_FLAGS, 0),))


def _float_flags(parts: _Parts) -> Operation:
    writes = (Write(FLAGS, _ALU_LATENCY), *_writes(parts.registers[:1], _ALU_LATENCY))
    return Operation((Unit.VFP, Unit.VPORT), (Read(_FLOAT_FLAGS, EX2),), writes, Slot.ALONE)


def _is_core(register: int) -> bool:
    return bool(arm.ARM_REG_R0 <= register <= arm.ARM_REG_R12) or register in (arm.ARM_REG_LR, arm.ARM_REG_SP)


def _float_move(parts: _Parts) -> Operation:
    if len(parts.registers) > 2:  # of two core registers at once
        return Operation(
            (), _reads(parts.registers[1:]), _writes(parts.registers[:2], _FLOAT_LATENCY), Slot.ALONE
        )
    latency = _TO_CORE_LATENCY if _is_core(parts.registers[0]) else _FLOAT_LATENCY
    return Operation((Unit.VPORT,), _reads(parts.registers[1:]), _writes(parts.registers[:1], latency))


def _alone(_: _Parts) -> Operation:
    return ALONE


def _nothing(_: _Parts) -> Operation:
    return Operation()


_KINDS: Final[tuple[tuple[str, Callable[[_Parts], Operation]], ...]] = (
    (r"v?ldr|ldr(b|h|sb|sh)?t?|ldrex[bh]?", _load),
    (r"v?str|str[bh]?t?", _store),
    (r"v?(ldm|stm)(db|ia)?|ldrd|strd|v?push|v?pop", _transfer),
    (r"mul|mla|mls|[su]mull|[su]mlal|umaal|sml[as].*|smul.*|smu[as]dx?|smm(ul|la|ls)r?", _multiply),
    (r"[su]div", _divide),
    (r"b|bl|bx|blx|cbn?z|it", _branch),
    (r"tb[bh]", _table_branch),
    (r"[su]xt(b|h|b16)|[su]h?(add|sub)(8|16)|[su]h?(asx|sax)|sel|clz", _simd),
    (r"u?q(add|sub)(8|16)?|u?q(asx|sax)|usada?8", _saturating),
    (r"[su]sat(16)?|qd(add|sub)", _saturation),
    (r"rbit|rev|rev16|revsh|[su]bfx", _extraction),
    (r"bf[ic]|pkh(bt|tb)|[su]xta(b|h|b16)", _insertion),
    (r"add|addw|sub|subw|rsb|adc|sbc|and|orr|orn|eor|bic|mvn|mov|movw|movt|adr|neg", _arithmetic),
    (r"lsl|lsr|asr|ror|rrx|cmp|cmn|tst|teq", _arithmetic),
    (r"vadd|vsub|vn?mul|vneg|vabs|vcvt.*|vsel.*|vrint.*|v(max|min)nm|vf?n?m[ls][as]|vfn?m[as]", _float),
    (r"vdiv|vsqrt", _float_slow),
    (r"vcmpe?", _float_compare),
    (r"fmstat|vmrs", _float_flags),
    (r"vmov|fconst[sd]", _float_move),
    (r"nop|hint|yield|wfe|sev|pld", _nothing),
    (r"mrs|msr|dsb|isb|dmb|cps|svc|bkpt|wfi|udf|vmsr|clrex|strex[bh]?", _alone),
)
_COMPILED: Final = tuple((re.compile(pattern), build) for pattern, build in _KINDS)
_UNCONDITIONAL: Final = (arm.ARM_CC_INVALID, arm.ARM_CC_AL)


def is_known(name: str) -> bool:
    """Return whether there is a rule for a mnemonic, as Capstone's `insn_name` has it."""
    return any(pattern.fullmatch(name) for pattern, _ in _COMPILED)


def operation(instruction: capstone.CsInsn) -> Operation:
    """Return what an instruction needs; one without a rule issues alone, in one cycle."""
    parts = _parts(instruction)
    build = next((build for pattern, build in _COMPILED if pattern.fullmatch(parts.name)), _alone)
    built = build(parts)
    if instruction.cc in _UNCONDITIONAL or built.is_branch or parts.name == "it":
        return built
    kept = tuple(
        Read(write.register, EX2) for write in built.writes
    )  # the value before, should it be skipped
    return replace(built, reads=(*built.reads, Read(FLAGS, EX2), *kept), early=False)
