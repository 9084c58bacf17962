"""Load and delays on the host change nothing that a virtual board reports: ``python -m benchmarks.disturbance``.

Twenty runs, each on a board of its own, with a core kept busy and the host's writes delayed at random, against one
undisturbed run.
"""

import multiprocessing
import random
import time
from typing import Final

from benchmarks.inline_board import BAUD, IMAGE_ORIGIN, compiled, samples
from benchmarks.promise import Promise, keep
from fqtbench.bench.launch import Attachment
from fqtbench.board import load_instances, load_models
from fqtbench.paths import share
from fqtbench.probe import Probe, Segment, elf_segments
from fqtbench.wire import Device, Line, Step, open_line

_RUNS: Final = 20
_STEPS: Final = 64
_LONGEST_DELAY_S: Final = 0.02


class _Hesitant:
    """A line whose host writes late and in pieces."""

    def __init__(self, line: Line, seed: int) -> None:
        self._line, self._random = line, random.Random(seed)

    @property
    def name(self) -> str:
        return self._line.name

    def write(self, data: bytes) -> None:
        """Write in two pieces, each after a random delay."""
        cut = self._random.randrange(len(data))
        for piece in (data[:cut], data[cut:]):
            time.sleep(self._random.random() * _LONGEST_DELAY_S)
            self._line.write(piece)

    def read(self) -> bytes:
        """Read."""
        return self._line.read()


def _train(seed: int | None) -> tuple[list[Step], int]:
    """Train on a board of its own; return the steps, cycles included, and the checksum of the weights."""
    segments = [
        *elf_segments(share("firmware/prebuilt") / "nrf52840.elf"),
        Segment(IMAGE_ORIGIN, compiled().image),
    ]
    with Attachment(load_instances(load_models())["virtual-nrf52840"]) as board:
        with Probe(board.addresses.probe, "nrf52840") as probe:
            probe.flash(segments)
            probe.reset()
        with open_line(board.addresses.serial, BAUD) as line:
            device = Device(line if seed is None else _Hesitant(line, seed))
            device.hello()
            return list(device.train(samples(_STEPS))), device.checksum().crc32


def _burn() -> None:
    while True:
        sum(range(100_000))


def main() -> None:
    """Compare."""
    quiet = _train(None)
    load = multiprocessing.Process(target=_burn, daemon=True)
    load.start()
    same = sum(_train(seed) == quiet for seed in range(_RUNS))
    load.terminate()
    keep("disturbance", Promise(6, "a loaded core and random host delays change no cycle count and no weight",
                                f"{_RUNS} of {_RUNS} runs", f"{same} of {_RUNS} runs", same == _RUNS,
                                "python -m benchmarks.disturbance"))  # fmt: skip


if __name__ == "__main__":
    main()
