"""How much of the line rate a stream of samples uses, in virtual time: ``python -m benchmarks.uart``."""

from typing import Final

from benchmarks.inline_board import BAUD, inline_board, samples
from benchmarks.promise import Promise, keep
from fqtbench.virtual.chips.nrf52840.chip import CLOCK_HZ

_FRAMES: Final = 400
_BYTE_CYCLES: Final = CLOCK_HZ * 10 // BAUD


def main() -> None:
    """Stream sample-sized frames that the device only checks; compare the bytes with what the line could carry."""
    frames: list[tuple[int, int]] = []  # beginning in cycles, bytes
    with inline_board() as (chip, device):
        receive = chip.uarte.receive

        def noted(frame: bytes, at: int) -> None:
            frames.append((at, len(frame)))
            receive(frame, at)

        chip.flow.start = noted
        for _ in device.sink(sample for sample, _ in samples(_FRAMES)):
            pass
    full = [(at, n) for at, n in frames if n > 700]
    cycles = full[-1][0] + full[-1][1] * _BYTE_CYCLES - full[0][0]
    share = sum(n for _, n in full) * _BYTE_CYCLES / cycles
    keep("uart", Promise(7, "UART while streaming samples, share of the line rate, virtual time", "≥ 90 %",
                         f"{100 * share:.1f} %", share >= 0.9, "python -m benchmarks.uart"))  # fmt: skip


if __name__ == "__main__":
    main()
