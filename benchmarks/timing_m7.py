"""The Cortex-M7's timing model against llvm-mca on the engine's hottest loops: ``python -m benchmarks.timing_m7``.

A virtual i.MX RT1062 trains a network that has a convolution of 3x3, one of 1x1, a depthwise one and fully connected
layers. The ten inner loops that cost most, along the way that each goes most often, are priced by the model and by
llvm-mca in steady state. Results: results/timing/m7-loops.json and .csv.
"""

import csv
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import capstone

from benchmarks.inline_board import inline_board, samples
from benchmarks.m7_as_llvm import BORDERS, DIFFERENCES, IN_ORDER, assembly, steps
from benchmarks.m7_engine import BOARD, engine_functions, image, name_of
from benchmarks.promise import ROOT
from fqtbench.board import load_models
from fqtbench.virtual.cpu import BlockCount
from fqtbench.virtual.timing import cortex_m7
from fqtbench.virtual.uart_chip import UartChip

FOLDER: Final = ROOT / "results" / "timing"
_RESULT: Final = FOLDER / "m7-loops.json"
MCA: Final = "llvm-mca-14"
_MCA_FLAGS: Final = (
    "-mtriple=thumbv7em-none-eabihf",
    "-mcpu=cortex-m7",
    "-instruction-info=0",
    "-resource-pressure=0",
)
_ROUNDS: Final = (100, 200)
_DEADLINE_S: Final = 60
_N_LOOPS: Final = 10
_WARM_UP: Final = 16
_STEPS: Final = 48
_DECODER: Final = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_DECODER.detail = True


@dataclass(frozen=True)
class Block:
    """A basic block that ran; `executions`, `jumps` as in BlockCount, of the steps that are looked at."""

    address: int
    code: bytes
    executions: int
    jumps: int

    @property
    def end(self) -> int:
        """Address behind its last instruction."""
        return self.address + len(self.code)

    @cached_property
    def listing(self) -> list[capstone.CsInsn]:
        """Its instructions."""
        return list(_DECODER.disasm(self.code, self.address))

    @cached_property
    def price(self) -> int:
        """Cycles of one execution."""
        return cortex_m7.price(self.code, self.address)[0]

    @property
    def target(self) -> int | None:
        """Where its last instruction jumps to, if that is a direct branch and no call."""
        last = self.listing[-1]
        if last.insn_name() not in ("b", "cbz", "cbnz"):
            return None
        return int(last.operands[-1].imm)


class Loop(list[Block]):
    """The blocks of a loop, in the order in which it runs them most often."""

    iterations = 0

    @property
    def cycles(self) -> int:
        """Cycles of an iteration, as a virtual board counts them: each block on its own."""
        return sum(block.price for block in self)

    @property
    def instructions(self) -> list[capstone.CsInsn]:
        """All its instructions."""
        return [instruction for block in self for instruction in block.listing]


def _counts(chip: UartChip) -> dict[int, BlockCount]:
    return {block.address: block for block in chip.cpu.block_counts()}


def trained() -> list[Block]:
    """Train on the virtual board; return the blocks that ran."""
    with inline_board(image(), load_models()[BOARD]) as (chip, device):
        for _ in device.train(samples(_WARM_UP)):
            pass
        before = _counts(chip)
        for _ in device.train(samples(_STEPS)):
            pass
        blocks = []
        for address, block in _counts(chip).items():
            old = before.get(address)
            executions = block.executions - (old.executions if old else 0)
            jumps = block.jumps - (old.jumps if old else 0)
            if executions:
                code = bytes(chip.cpu.engine.mem_read(address, block.size))
                blocks.append(Block(address, code, executions, jumps))
    return blocks


def _way(begin: int, last_end: int, blocks: dict[int, Block], runs_to: dict[int, int]) -> Loop | None:
    """Follow the branches that are mostly taken from `begin` to the loop's end, if the way leads there."""
    loop, at = Loop(), begin
    while at in blocks and begin <= at < last_end and blocks[at] not in loop:
        block = blocks[at]
        loop.append(block)
        if block.end == last_end:
            return loop
        behind = blocks.get(block.end)
        falls = behind.executions - behind.jumps if behind else 0
        if 2 * falls >= runs_to[block.end]:
            at = block.end
        elif block.target is not None:
            at = block.target
        else:
            return None
        if block.listing[-1].insn_name() in ("bl", "blx"):
            return None
    return None


def loops(blocks: list[Block]) -> Iterator[Loop]:
    """Return the innermost loops, without calls."""
    by_address = {block.address: block for block in blocks}
    runs_to: dict[int, int] = {}
    for block in blocks:
        runs_to[block.end] = runs_to.get(block.end, 0) + block.executions
    edges = {(b.target, b.end) for b in blocks if b.target is not None and b.target < b.end}
    for begin, end in edges:
        if any((b, e) != (begin, end) and begin <= b and e <= end for b, e in edges):
            continue
        loop = _way(begin, end, by_address, runs_to)
        if loop:
            behind = by_address.get(end)
            loop.iterations = runs_to[end] - (behind.executions - behind.jumps if behind else 0)
            yield loop


def mca(text: list[str]) -> float:
    """Return llvm-mca's cycles of an iteration in steady state."""
    source = "\n".join([".syntax unified", ".thumb", ".fpu fpv5-sp-d16", "loop:", *text, ""])
    totals = []
    for rounds in _ROUNDS:
        command = [MCA, *_MCA_FLAGS, f"-iterations={rounds}"]
        done = subprocess.run(
            command, input=source, capture_output=True, text=True, check=False, timeout=_DEADLINE_S
        )
        if done.returncode != 0:
            raise RuntimeError(f"{MCA} refused a loop of the engine: {done.stderr.strip()}")
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("Total Cycles:"))
        totals.append(int(line.split()[-1]))
    return (totals[1] - totals[0]) / (_ROUNDS[1] - _ROUNDS[0])


def compare(loop: Loop, function: str, all_cycles: int) -> dict[str, Any]:
    """Return a loop's cycles by the model, by llvm-mca, and on the way from one to the other."""
    text = assembly(loop.instructions)
    found = steps(loop.instructions)
    names = list(found)
    reasons = {"borders": found["ours"] - loop.cycles}
    reasons |= {name: found[name] - found[before] for before, name in pairwise(names)}
    return {
        "function": function,
        "address": loop[0].address,
        "iterations": loop.iterations,
        "per_cent_of_engine": round(100 * loop.iterations * loop.cycles / all_cycles, 2),
        "instructions": len(text),
        "model_cycles": loop.cycles,
        "steady_cycles": round(found["ours"], 2),
        "llvm_rules_cycles": round(found["slow"], 2),
        "mca_emulated_cycles": round(found["in order"], 2),
        "mca_cycles": mca(text),
        "reasons": {name: round(cycles, 2) for name, cycles in reasons.items() if round(cycles, 2)},
        "assembly": text,
    }


def measure() -> dict[str, Any]:
    """Train, find the hottest loops, compare."""
    functions = engine_functions()
    blocks = [block for block in trained() if name_of(block.address, functions)]
    all_cycles = sum(block.executions * block.price for block in blocks)
    hottest = sorted(loops(blocks), key=lambda loop: -loop.iterations * loop.cycles)[:_N_LOOPS]
    version = subprocess.run(
        [MCA, "--version"], capture_output=True, text=True, check=True, timeout=_DEADLINE_S
    )
    return {
        "board": BOARD,
        "core": "cortex-m7",
        "timing_model_id": cortex_m7.MODEL_ID,
        "origin": "modelled",
        "unit": "cycles of an iteration",
        "mca": version.stdout.splitlines()[0].strip(),
        "steps": _STEPS,
        "engine_cycles": all_cycles,
        "differences": {"borders": BORDERS, **{d.name: d.text for d in DIFFERENCES}, "in order": IN_ORDER},
        "loops": [compare(loop, name_of(loop[0].address, functions) or "", all_cycles) for loop in hottest],
    }


def load_result() -> dict[str, Any]:
    """Return the committed result."""
    result: dict[str, Any] = json.loads(_RESULT.read_text())
    return result


def main() -> None:
    """Write the results."""
    result = measure()
    FOLDER.mkdir(parents=True, exist_ok=True)
    _RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    columns = [name for name, value in result["loops"][0].items() if not isinstance(value, (dict, list))]
    with _RESULT.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*columns, "origin"], extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**loop, "origin": result["origin"]} for loop in result["loops"])
    for loop in result["loops"]:
        print({k: v for k, v in loop.items() if k != "assembly"})


if __name__ == "__main__":
    main()
