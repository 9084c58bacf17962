"""Where LLVM 14's model of the Cortex-M7, and llvm-mca, differ from ours: each as a change to our model.

Applied one after the other, they lead from our cycles of a loop to llvm-mca's: so a deviation has its reasons.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

import capstone
from capstone import arm

from fqtbench.virtual.timing.cortex_m7 import Pipeline
from fqtbench.virtual.timing.cortex_m7_operations import (
    EX2,
    EX3,
    EX4,
    FLAGS,
    Operation,
    Read,
    Slot,
    Unit,
    operation,
)

_BRANCH_LATENCY: Final = 2  # and a store's, which both have no result
_MAC_LATENCY: Final = 2
_DIVIDE_LATENCY: Final = 7
_TO_CORE_LATENCY: Final = 3
_NARROW_BYTES: Final = 2
_ROUNDS: Final = (20, 40)  # iterations between which a loop's steady state is taken


class Difference(NamedTuple):
    """What LLVM has instead of one of our rules."""

    name: str
    text: str
    change: Callable[[capstone.CsInsn, Operation], Operation | None]  # None: it is left out


_UNCONDITIONAL: Final = (arm.ARM_CC_AL, arm.ARM_CC_INVALID)


def _is_skippable(instruction: capstone.CsInsn, op: Operation) -> bool:
    return instruction.cc not in _UNCONDITIONAL and not op.is_branch


def _conditions(instruction: capstone.CsInsn, op: Operation) -> Operation | None:
    if instruction.insn_name() == "it":
        return None
    if not _is_skippable(instruction, op):
        return op
    kept = 1 + len(
        op.writes
    )  # read behind the others (fqtbench.virtual.timing.cortex_m7_operations.operation)
    return replace(op, reads=op.reads[:-kept])


def _branches_wait(instruction: capstone.CsInsn, op: Operation) -> Operation:
    if not op.is_branch or op.slot is Slot.ALONE:
        return op
    if instruction.cc not in _UNCONDITIONAL:
        return replace(op, reads=(*op.reads, Read(FLAGS, EX2)))
    read = [o.reg for o in instruction.operands if o.type == arm.ARM_OP_REG]
    return replace(op, reads=(*op.reads, *(Read(register, EX2) for register in read)))


def _only_late(_: capstone.CsInsn, op: Operation) -> Operation:
    return replace(op, early=False)


def _word_to_factor(_: capstone.CsInsn, op: Operation) -> Operation:
    if Unit.MAC not in op.units:
        return op
    return replace(op, reads=tuple(read._replace(bypassed=True) for read in op.reads))


def _shifter(instruction: capstone.CsInsn, op: Operation) -> Operation:
    """Shifts always take the shifter, rotated constants never."""
    units = list(op.units)
    if op.shift:
        units.append(Unit.SHIFT)
    elif (
        Unit.SHIFT in units and Unit.SIMD not in units and not any(o.shift.type for o in instruction.operands)
    ):
        units.remove(Unit.SHIFT)
    return replace(op, units=tuple(units), shift=False)


def _transfers(_: capstone.CsInsn, op: Operation) -> Operation:
    """Any number of words in one cycle."""
    if op.slot is not Slot.ALONE or not {Unit.LOAD, Unit.STORE} & set(op.units):
        return op
    writes = tuple(write._replace(latency=min(write.latency, 1)) for write in op.writes)
    return replace(op, cycles=1, writes=writes)


def _pairs(instruction: capstone.CsInsn, op: Operation) -> Operation:
    """A multiplication beside a store; loads at one bank; BFI, CLZ without SIMD unit; stored data a stage earlier."""
    units = tuple(unit for unit in op.units if unit is not Unit.MAC_OR_STORE)
    if instruction.insn_name() in ("bfi", "bfc", "clz"):
        units = tuple(unit for unit in units if unit is not Unit.SIMD)
    reads = op.reads
    if Unit.STORE in op.units and Unit.VPORT not in op.units:
        reads = tuple(read._replace(stage=EX3) if read.stage == EX4 else read for read in reads)
    return replace(op, units=units, reads=reads, bank=None)


def _stages(instruction: capstone.CsInsn, op: Operation) -> Operation:
    """SSAT, USAT: the stage that LLVM states falls on their constant, not on their register. BFI: "normal timing"."""
    if instruction.insn_name() not in ("ssat", "ssat16", "usat", "usat16", "bfi"):
        return op
    return replace(op, reads=tuple(read._replace(stage=max(read.stage, EX2)) for read in op.reads))


def _narrow_flags(instruction: capstone.CsInsn, op: Operation) -> Operation:
    if instruction.size != _NARROW_BYTES or not op.writes or op.writes[0].register == FLAGS:
        return op
    return replace(op, writes=tuple(w._replace(latency=0) if w.register == FLAGS else w for w in op.writes))


def _slow_ones(instruction: capstone.CsInsn, op: Operation) -> Operation:
    """Divisions and square roots let the pipeline go on; VMOV to a core register takes 3 cycles."""
    name = instruction.insn_name()
    if name in ("vdiv", "vsqrt"):
        return replace(op, cycles=1, writes=tuple(write._replace(latency=3) for write in op.writes))
    if name in ("sdiv", "udiv"):
        return replace(op, cycles=1, writes=tuple(write._replace(latency=1) for write in op.writes))
    if name == "vmov" and op.writes and arm.ARM_REG_R0 <= op.writes[0].register <= arm.ARM_REG_R12:
        return replace(op, writes=tuple(write._replace(latency=_TO_CORE_LATENCY) for write in op.writes))
    return op


DIFFERENCES: Final = (
    Difference("it", "LLVM does not know IT: left out, and what is skipped by it unconditional", _conditions),
    Difference("flags", "a branch waits for its flags, here it is predicted", _branches_wait),
    Difference("early", "no additions and shifts in EX1, whose result the same cycle can use", _only_late),
    Difference("factors", "a multiplication takes a word from the load right before", _word_to_factor),
    Difference("shifter", "a shift always takes the one shifter, a rotated constant never", _shifter),
    Difference(
        "transfers", "LDM, STM, LDRD, STRD, PUSH, POP of any number of words take 1 cycle", _transfers
    ),
    Difference(
        "pairs", "a multiplication issues beside a store, two loads at one bank beside each other", _pairs
    ),
    Difference("stages", "SSAT, USAT and BFI need their operands in EX2, here in EX1", _stages),
    Difference("narrow", "the flags of a 16-bit instruction are there in the same cycle", _narrow_flags),
    Difference(
        "slow", "divisions let the pipeline go on; VMOV to a core register takes 3 cycles", _slow_ones
    ),
)
BORDERS: Final = (
    "an iteration goes on where the one before ends, here each block begins with an empty pipeline"
)
IN_ORDER: Final = (
    "llvm-mca alone: nothing writes before all that is ahead of it is done (LLVM 14, InOrderIssueStage::canExecute); "
    "a load that moves its base counts as writing at once, so it waits for everything"
)


def _latencies(op: Operation) -> tuple[int, int]:
    """Return when its first result is written and when it is done, as llvm-mca has them."""
    found = [write.latency for write in op.writes]
    if op.is_branch or Unit.STORE in op.units:
        done = _BRANCH_LATENCY
    elif Unit.MAC in op.units:
        done = _MAC_LATENCY
    else:
        done = max(found, default=1)
    return min(found, default=done), done


class WritesInOrder(Pipeline):
    """llvm-mca lets no instruction write before those ahead of it are done (LLVM 14, InOrderIssueStage::canExecute)."""

    def __init__(self) -> None:
        super().__init__()
        self._done = 0

    def issue(self, operation: Operation) -> int:
        """Issue one behind the others."""
        at = super().issue(operation)
        self._done = max(self._done, at + _latencies(operation)[1])
        return at

    def earliest(self, operation: Operation) -> int:
        """Return the first cycle in which operands are there and those ahead are done in time."""
        return max(super().earliest(operation), self._done - _latencies(operation)[0])


def steady(operations: list[Operation], pipeline: type[Pipeline] = Pipeline) -> float:
    """Return the cycles of one iteration of a loop that goes on."""
    at = []
    for rounds in _ROUNDS:
        running = pipeline()
        for _ in range(rounds):
            for op in operations:
                running.issue(op)
        at.append(running.cycles)
    return (at[1] - at[0]) / (_ROUNDS[1] - _ROUNDS[0])


def steps(loop: list[capstone.CsInsn]) -> dict[str, float]:
    """Return the cycles of an iteration: ours, after each difference, and with results written in order."""
    running = [(instruction, operation(instruction)) for instruction in loop]
    found = {"ours": steady([op for _, op in running])}
    for difference in DIFFERENCES:
        changed = ((instruction, difference.change(instruction, op)) for instruction, op in running)
        running = [(instruction, op) for instruction, op in changed if op is not None]
        found[difference.name] = steady([op for _, op in running])
    operations = [op for _, op in running]
    found["in order"] = steady(operations, WritesInOrder)
    return found


def assembly(loop: list[capstone.CsInsn]) -> list[str]:
    """Return a loop as text for llvm-mca; branches go to its begin."""
    lines = []
    for instruction in loop:
        name = instruction.insn_name()
        if name == "it":
            continue
        mnemonic = instruction.mnemonic
        if _is_skippable(instruction, operation(instruction)):
            stem = len(mnemonic.split(".")[0]) - 2  # without the two letters of the condition
            mnemonic = mnemonic[:stem] + mnemonic[stem + 2 :]
        operands = instruction.op_str
        if name in ("b", "cbz", "cbnz"):
            operands = re.sub(r"#0x[0-9a-f]+$", "loop", operands)
        lines.append(f"{mnemonic} {operands}".strip())
    return lines
