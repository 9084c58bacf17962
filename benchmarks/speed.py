"""Speed of the virtual nRF52840 while it trains: ``python -m benchmarks.speed``."""

import time
from typing import Final

from benchmarks.inline_board import inline_board, samples
from benchmarks.promise import Promise, keep

_WARM_UP: Final = 40
_STEPS: Final = 200


def main() -> None:
    """Train, and divide the instructions executed by the time that the CPU loop took."""
    with inline_board() as (chip, device):
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
        before, busy_before = chip.cpu.instructions, busy_s
        for _ in device.train(samples(_STEPS)):
            pass
        mips = (chip.cpu.instructions - before) / (busy_s - busy_before) / 1e6
    keep("speed", Promise(5, "virtual nRF52840 while training, cycles counted", "≥ 150 M instructions/s",
                          f"{mips:.0f} M instructions/s", mips >= 150, "python -m benchmarks.speed"))  # fmt: skip


if __name__ == "__main__":
    main()
