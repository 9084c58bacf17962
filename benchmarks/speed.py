"""Speed of the virtual boards while they train: ``python -m benchmarks.speed [BOARD...]``."""

import statistics
import sys
import time
from typing import Final

from benchmarks.inline_board import inline_board, samples
from benchmarks.promise import Promise, keep
from fqtbench.board import BoardModel, load_models

_WARM_UP: Final = 40
_STEPS: Final = 60
_ROUNDS: Final = 7


def measure(board: BoardModel) -> list[float]:
    """Train, and divide the instructions executed by the time that the CPU loop took; one figure per round, in M/s."""
    rates = []
    with inline_board(board=board) as (chip, device):
        busy_s = 0.0
        run = chip.run

        def timed(cycles: int) -> None:
            nonlocal busy_s
            begin = time.perf_counter()
            run(cycles)
            busy_s += time.perf_counter() - begin

        chip.run = timed  # type: ignore[method-assign]
        for _ in device.train(samples(_WARM_UP)):
            pass
        for _ in range(_ROUNDS):
            before, busy_before = chip.cpu.instructions, busy_s
            for _ in device.train(samples(_STEPS)):
                pass
            rates.append((chip.cpu.instructions - before) / (busy_s - busy_before) / 1e6)
    return rates


def main() -> None:
    """Measure each virtual board."""
    models = {name: model for name, model in load_models().items() if model.virtual}
    for name in sys.argv[1:] or models:
        rates = measure(models[name])
        middle = statistics.median(rates)
        print(f"{name}: " + ", ".join(f"{rate:.0f}" for rate in rates))
        keep(f"speed-{name}", Promise(5, f"virtual {models[name].title} while training, cycles counted",
                              "≥ 150 M instructions/s", f"{middle:.0f} M instructions/s (median of {_ROUNDS})",
                              middle >= 150, "python -m benchmarks.speed"))  # fmt: skip


if __name__ == "__main__":
    main()
