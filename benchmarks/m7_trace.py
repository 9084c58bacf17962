"""What the Cortex-M7's timing model can't know, on one training step: ``python -m benchmarks.m7_trace``.

A virtual i.MX RT1062 trains; the blocks that its engine runs in one step are recorded. The same pipeline then goes over
the whole step at once instead of block by block, with the worst banks, and branches through a predictor of two bits
each, whose misses cost what was measured. The sum must not exceed the model's stated uncertainty.
Result: results/timing/m7-trace.json.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple
from unittest import mock

import capstone
import unicorn

from benchmarks.inline_board import inline_board, samples
from benchmarks.m7_engine import BOARD, engine_functions, image
from benchmarks.promise import ROOT
from fqtbench.board import load_models
from fqtbench.virtual.timing import cortex_m7
from fqtbench.virtual.timing.cortex_m7_operations import Bank, Operation, Unit

RESULT: Final = ROOT / "results" / "timing" / "m7-trace.json"
_DEADLINE_S: Final = 10
_WARM_UP: Final = 20
_MISS_CYCLES: Final = 8  # of a wrong prediction; 6 with flags set early (jnk0le, "branching/cmp")
_DIVISION_CYCLES: Final = 5  # to either side of 7: 2 to 12 on the Cortex-M4; not published for the M7
_SURE: Final = 3  # the most of a two-bit counter
_TAKEN: Final = 2  # from here on a two-bit counter says "taken"

_DECODER: Final = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_DECODER.detail = True


class Visit(NamedTuple):
    """A block that ran."""

    address: int
    size: int


class Trace(NamedTuple):
    """The blocks of a step, and their code by address and size."""

    visits: list[Visit]
    code: dict[tuple[int, int], bytes]


def record() -> Trace:
    """Train, record one step."""
    visits: list[Visit] = []

    def on_block(_engine: unicorn.Uc, address: int, size: int, _data: object) -> None:
        visits.append(Visit(address, size))

    with inline_board(image(), load_models()[BOARD]) as (chip, device):
        for _ in device.train(samples(_WARM_UP)):
            pass
        engine, installed, poll_line = chip.cpu.engine, threading.Event(), chip.poll_line

        def poll_and_install() -> None:
            """Install the hook in the chip's own thread, between two of its slices."""
            poll_line()
            if not installed.is_set():
                engine.hook_add(unicorn.UC_HOOK_BLOCK, on_block)
                engine.ctl_flush_tb()
                installed.set()

        with mock.patch.object(chip, "poll_line", poll_and_install):
            if not installed.wait(_DEADLINE_S):
                raise RuntimeError("the virtual board stands still")
            for _ in device.train(samples(1)):
                pass
        step = list(visits)
        keys = {(visit.address, visit.size) for visit in step}
        return Trace(step, {key: bytes(engine.mem_read(*key)) for key in keys})


def _at_one_bank(op: Operation) -> Operation:
    """Return a load as one that conflicts with every other, but with those that the code tells apart."""
    return replace(op, bank=op.bank or Bank(0, odd=False)) if Unit.LOAD in op.units else op


class WorstBanks(cortex_m7.Pipeline):
    """Issues two loads together only if the code tells that their banks differ."""

    def _goes_beside(self, operation: Operation) -> bool:
        older, bank = self._older, operation.bank
        if older and older.bank and bank and (older.bank.base != bank.base or older.bank == bank):
            return False
        return super()._goes_beside(operation)


class NoPairAcrossJumps(cortex_m7.Pipeline):
    """Does not issue a taken branch beside what it jumps to."""

    def jump(self) -> None:
        """What comes next begins a cycle."""
        self._older = None


class Predictor:
    """Two bits for each conditional branch, the last target for each other one."""

    def __init__(self) -> None:
        self.misses = 0
        self._counters: dict[int, int] = {}
        self._targets: dict[int, int] = {}

    def see(self, branch: capstone.CsInsn, is_taken: bool, target: int) -> None:
        """Compare what comes with what was predicted."""
        if (
            branch.cc not in (capstone.arm.ARM_CC_AL, capstone.arm.ARM_CC_INVALID)
            or branch.insn_name()[0] == "c"
        ):
            counter = self._counters.get(branch.address, _TAKEN)
            self.misses += (counter >= _TAKEN) != is_taken
            self._counters[branch.address] = min(counter + 1, _SURE) if is_taken else max(counter - 1, 0)
        elif is_taken:
            self.misses += self._targets.get(branch.address, target) != target
            self._targets[branch.address] = target


def _pieces(trace: Trace) -> Iterator[tuple[Visit, int]]:
    """Return the engine's blocks, each with the address of the next."""
    functions = sorted((begin, end) for begin, (end, _) in engine_functions().items())
    low, high = functions[0][0], functions[-1][1]
    inside = {
        key: low <= key[0] < high and any(begin <= key[0] < end for begin, end in functions)
        for key in trace.code
    }
    for visit, following in zip(trace.visits, trace.visits[1:], strict=False):
        if inside[visit.address, visit.size]:
            yield visit, following.address


def measure() -> dict[str, Any]:
    """Return cycles block by block, over the whole step, and what each cause adds."""
    trace = record()
    operations = {key: list(cortex_m7.decode(code, key[0])) for key, code in trace.code.items()}
    one_bank = {key: [_at_one_bank(op) for op in found] for key, found in operations.items()}
    listings = {key: list(_DECODER.disasm(code, key[0])) for key, code in trace.code.items()}
    prices = {key: cortex_m7.price(code, key[0])[0] for key, code in trace.code.items()}
    whole, worst, jumping = cortex_m7.Pipeline(), WorstBanks(), NoPairAcrossJumps()
    predictor, totals = Predictor(), Counter[str]()
    for visit, following in _pieces(trace):
        key = visit.address, visit.size
        totals["cycles"] += prices[key]
        totals["blocks"] += 1
        totals["instructions"] += len(operations[key])
        for op in operations[key]:
            whole.issue(op)
            jumping.issue(op)
        for op in one_bank[key]:
            worst.issue(op)
        totals["loads"] += sum(Unit.LOAD in op.units for op in one_bank[key])
        last = listings[key][-1]
        jumps = following != visit.address + visit.size
        if jumps:
            totals["jumps"] += 1
            jumping.jump()
        predictor.see(last, jumps, following)
        names = [instruction.insn_name() for instruction in listings[key]]
        totals["divisions"] += sum(name in ("udiv", "sdiv") for name in names)
        totals["saturations"] += sum(name.startswith(("ssat", "usat")) for name in names)
    causes = (
        ("what passes from one block to the next", totals["blocks"], whole.cycles - totals["cycles"]),
        (
            "taken branches that issue beside nothing they jump to",
            totals["jumps"],
            jumping.cycles - whole.cycles,
        ),
        (
            "two loads at one bank, wherever the code does not tell",
            totals["loads"],
            worst.cycles - whole.cycles,
        ),
        (
            "branches that a two-bit predictor misses: 8 cycles",
            predictor.misses,
            _MISS_CYCLES * predictor.misses,
        ),
        ("SDIV, UDIV: 5 cycles", totals["divisions"], _DIVISION_CYCLES * totals["divisions"]),
        ("SSAT, USAT: operand in EX2, not EX1", totals["saturations"], -totals["saturations"]),
    )
    return {
        "board": BOARD,
        "core": "cortex-m7",
        "timing_model_id": cortex_m7.MODEL_ID,
        "stated_per_cent": 100 * cortex_m7.UNCERTAINTY,
        "origin": "modelled",
        "cycles": totals["cycles"],
        "instructions": totals["instructions"],
        "causes": [
            {"cause": cause, "times": times, "per_cent": round(100 * cycles / totals["cycles"], 2)}
            for cause, times, cycles in causes
        ],
    }


def main() -> None:
    """Write the result."""
    result = measure()
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
