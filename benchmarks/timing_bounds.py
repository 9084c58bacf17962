"""By how much what a timing model can't know may move a training step's cycles: ``python -m benchmarks.timing_bounds``.

Each cause is counted while a virtual board trains, and multiplied by the most cycles that it may take or save.
The model's stated uncertainty (`UNCERTAINTY` in fqtbench/virtual/timing) must not be less than the sum.
"""

import json
from collections import Counter
from typing import Any, Final

import capstone

from benchmarks.inline_board import inline_board, samples
from benchmarks.promise import ROOT
from fqtbench.board import BoardModel, load_models
from fqtbench.virtual.cpu import BlockCount
from fqtbench.virtual.uart_chip import UartChip

FOLDER: Final = ROOT / "results" / "timing"
_WARM_UP: Final = 16
_STEPS: Final = 48
_ACCESSES: Final = ("ldr", "str", "ldm", "stm", "vldr", "vstr", "push", "pop")

_DECODER: Final = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)

# Per core: what is counted, the most cycles each, and why.
_CAUSES: Final[dict[str, tuple[tuple[str, int, str], ...]]] = {
    "cortex-m4": (
        ("jumps", 1, "the pipeline's refill behind a taken jump: 1 to 3 cycles, here 2"),
        ("divisions", 5, "SDIV, UDIV: 2 to 12 cycles, here 7"),
        (
            "borders",
            1,
            "an access that a block begins with: its address computed, or pipelined, by the block before",
        ),
        ("constants", 1, "LDR relative to PC"),
    ),
    "cortex-m0plus": (
        ("bytes", 1, "the core waits while the UART's DMA writes to the same bank of RAM"),
        ("sio", 1, "SIO, the RP2040's I/O port: 1 cycle instead of 2"),
    ),
}


def _counts(chip: UartChip) -> dict[int, BlockCount]:
    return {block.address: block for block in chip.cpu.block_counts()}


def _totals(chip: UartChip, before: dict[int, BlockCount]) -> Counter[str]:
    """Return how often each thing has happened since `before`."""
    totals: Counter[str] = Counter()
    for address, block in _counts(chip).items():
        old = before.get(address)
        runs = block.executions - (old.executions if old else 0)
        jumps = block.jumps - (old.jumps if old else 0)
        code = bytes(chip.cpu.engine.mem_read(address, block.size))
        listing = list(_DECODER.disasm(code, address))
        totals["jumps"] += jumps
        totals["divisions"] += runs * sum(i.mnemonic.startswith(("sdiv", "udiv")) for i in listing)
        totals["constants"] += runs * sum(i.mnemonic == "ldr" and "[pc" in i.op_str for i in listing)
        totals["borders"] += (runs - jumps) * bool(listing and listing[0].mnemonic.startswith(_ACCESSES))
    return totals


def measure(board: BoardModel) -> dict[str, Any]:
    """Train on a virtual board; return the causes' shares of all cycles, in per cent."""
    with inline_board(board=board) as (chip, device):
        for _ in device.train(samples(_WARM_UP)):
            pass
        before, began = _counts(chip), chip.now
        for _ in device.train(samples(_STEPS)):
            pass
        totals, cycles = _totals(chip, before), chip.now - began
    totals["bytes"] = sum(len(sample) for sample, _ in samples(_STEPS))
    totals["sio"] = 10 * _STEPS  # the trigger pin's six edges of a step, and RTS's
    rows = [
        {"cause": cause, "times": totals[what], "per_cent": round(100 * most * totals[what] / cycles, 3)}
        for what, most, cause in _CAUSES[board.core]
    ]
    return {
        "board": board.name,
        "core": board.core,
        "timing_model_id": chip.core.timing.model_id,
        "stated_per_cent": 100 * chip.core.timing.uncertainty,
        "cycles": cycles,
        "origin": "modelled",
        "causes": rows,
    }


def main() -> None:
    """Write results/timing/bounds-BOARD.json for each board whose core has causes that can be counted."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, model in load_models().items():
        if model.virtual and model.core in _CAUSES:
            result = measure(model)
            (FOLDER / f"bounds-{name}.json").write_text(
                json.dumps(result, indent=2, ensure_ascii=False) + "\n"
            )
            worst = sum(row["per_cent"] for row in result["causes"])
            print(f"{name}: at most {worst:.2f} %, stated {result['stated_per_cent']:.1f} %")


if __name__ == "__main__":
    main()
