"""Cycles of a Cortex-M7: what of a basic block issues together, and what waits for what.

The core issues up to two instructions a cycle, in order. `cortex_m7_operations` says what each needs, with sources.
A block begins with an empty pipeline; its price is the number of cycles in which it issues. Assumed: branches are
predicted, and what is not known of an address does not disturb: memory answers in one cycle, accesses are aligned,
and two loads whose addresses the code does not tell lie in different banks. docs/timing.md; [J] and [L]: see there.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import capstone
import unicorn

from fqtbench.virtual.timing import cortex_m7_operations
from fqtbench.virtual.timing.cortex_m7_operations import (
    ALONE,
    COUNT,
    EX1,
    FLAGS,
    Operation,
    Slot,
    Unit,
    operation,
)
from fqtbench.virtual.timing.model import Timing

TAKEN_CYCLES: Final = (
    0  # predicted; [J] sees it issue beside the first instruction behind it, here it does not
)

_decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_decoder.detail = True

_WIDE_PREFIX: Final = 0xE800  # first halfword of a 32-bit instruction (ARMv7-M ARM A5.1)


class Pipeline:
    """Issues operations, one or two a cycle, in order."""

    def __init__(self) -> None:
        self.cycles = 0  # the first cycle in which nothing has been issued
        self._at = 0
        self._older: Operation | None = None  # of cycle _at, while its second slot is free
        self._ready: dict[
            int, tuple[int, bool]
        ] = {}  # register: cycle in which EX2 can use it; a word from a load
        self._units: Counter[Unit] = Counter()

    def issue(self, operation: Operation) -> int:
        """Issue one behind the others; return its cycle."""
        younger = self._goes_beside(operation)
        if not younger:
            self._at = max(self.cycles, self.earliest(operation))
            self._units.clear()
        self._units.update(operation.units)
        is_early = self._is_early(operation, younger)
        if operation.shift and (is_early or not younger):
            self._units[Unit.SHIFT] += 1
        for register, latency, loaded in operation.writes:
            ready = self._at + (0 if is_early and register != FLAGS else latency)
            self._ready[register] = ready, loaded
        self.cycles = max(self.cycles, self._at + operation.cycles)
        self._older = None if younger or operation.slot is Slot.ALONE else operation
        return self._at

    def earliest(self, operation: Operation) -> int:
        """Return the first cycle in which its operands are there."""
        return max((self._needed(*read) for read in operation.reads), default=0)

    def _needed(self, register: int, stage: int, bypassed: bool) -> int:
        if register not in self._ready:
            return 0
        ready, loaded = self._ready[register]
        return ready - stage + (loaded and not bypassed)

    def _goes_beside(self, operation: Operation) -> bool:
        older = self._older
        if older is None or operation.slot is not Slot.EITHER or self.earliest(operation) > self._at:
            return False
        if any(self._units[unit] >= COUNT.get(unit, 1) for unit in operation.units):
            return False
        return older.bank is None or older.bank != operation.bank

    def _is_early(self, operation: Operation, younger: bool) -> bool:
        """Return whether it is done in EX1: only the older one, or a shift for which the shifter is free."""
        if not operation.early or (younger and not (operation.shift and not self._units[Unit.SHIFT])):
            return False
        return all(self._needed(read.register, EX1, read.bypassed) <= self._at for read in operation.reads)


def decode(code: bytes, address: int) -> Iterator[Operation]:
    """Return the operations of the block `code` at `address`."""
    position = 0
    while position < len(code):
        for instruction in _decoder.disasm(code[position:], address + position):
            position += instruction.size
            yield operation(instruction)
        if position < len(code):  # a coprocessor or hint encoding that Capstone does not know
            halfword = int.from_bytes(code[position : position + 2], "little")
            position += 4 if halfword >= _WIDE_PREFIX else 2
            yield ALONE


def price(code: bytes, address: int) -> tuple[int, int]:
    """Return cycles and instructions of the block `code` at `address`."""
    pipeline = Pipeline()
    operations = list(decode(code, address))
    for one in operations:
        pipeline.issue(one)
    return pipeline.cycles, len(operations)


def _model_id() -> str:
    """Name the rules: the modules that state them, Capstone's version, and Unicorn's."""
    sources = (Path(__file__), Path(cortex_m7_operations.__file__))
    rules = b"".join(path.read_bytes() for path in sources)
    versions = repr((capstone.__version__, unicorn.__version__)).encode()
    return "cortex-m7-" + hashlib.sha256(rules + versions).hexdigest()[:12]


MODEL_ID: Final = _model_id()
UNCERTAINTY: Final = 0.25  # docs/timing.md, "How far off"
TIMING: Final = Timing(MODEL_ID, price, TAKEN_CYCLES, UNCERTAINTY)
