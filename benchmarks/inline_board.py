"""A virtual board inside this process, so that a benchmark can look at its virtual time."""

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from fqtbench.board import BoardModel, load_models
from fqtbench.datasets import load
from fqtbench.paths import share
from fqtbench.probe import elf_segments
from fqtbench.training.compile import CompiledModel, Memory, compile_model
from fqtbench.training.spec import NetworkSpec, TrainingSpec
from fqtbench.virtual import chips
from fqtbench.virtual.sampler import Sampler
from fqtbench.virtual.uart_chip import UartChip
from fqtbench.virtual.uart_line import PtyLine
from fqtbench.wire import Device, open_line

NRF52840: Final = load_models()["nrf52840"]
IMAGE_ORIGIN: Final = NRF52840.memory.image_origin
BAUD: Final = 1_000_000
SAMPLES: Final = load("fashion-mnist-12k").subset(1000, 100)
Attach = Callable[[UartChip], Sampler]
NETWORK: Final[dict[str, Any]] = {
    "layers": [
        {"type": "conv2d", "filters": 8},
        {"type": "max_pool"},
        {"type": "conv2d", "filters": 16},
        {"type": "max_pool"},
        {"type": "flatten"},
        {"type": "fully_connected", "units": 10, "activation": "linear"},
    ]
}
"""That of experiments/fashion-mnist.yaml."""


def compiled() -> CompiledModel:
    """Return `NETWORK`, compiled."""
    x, y = SAMPLES.train_x[:32], SAMPLES.train_y[:32]
    network = NetworkSpec.model_validate(NETWORK)
    return compile_model(network, TrainingSpec(), x, y, 10, Memory(0xC0000, 200_000), seed=1, n_steps=1000)


def samples(n: int) -> Iterator[tuple[bytes, int]]:
    """Return `n` training samples with labels."""
    order = np.random.default_rng(0).integers(0, len(SAMPLES.train_x), n)
    return ((SAMPLES.train_x[i].tobytes(), int(SAMPLES.train_y[i])) for i in order)


@contextmanager
def inline_board(
    image: bytes | None = None, board: BoardModel = NRF52840, attach: Attach | None = None
) -> Iterator[tuple[UartChip, Device]]:
    """Run the firmware and an image, by default that of `compiled`, on a chip of this process, in its own thread.

    `attach` puts the chip on an emulated power monitor before it starts; that is served in the same thread.
    """
    line = PtyLine()
    chip = chips.create(board.firmware, line)
    for segment in elf_segments(share("firmware/prebuilt") / f"{board.firmware}.elf"):
        chip.program(segment.address, segment.data)
    chip.program(board.memory.image_origin, compiled().image if image is None else image)
    chip.reset(halt=False)
    sampler = None if attach is None else attach(chip)
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            chip.poll_line()
            again = sampler.service() if sampler else False
            if chip.runnable and not (sampler and sampler.holds):
                chip.run(400_000)
                if sampler:
                    sampler.feed()
            elif not again:
                more = (sampler.readers(), sampler.writers()) if sampler else ([], [])
                select.select([*line.readers(), *more[0]], more[1], [], 0.05)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with open_line(line.url, BAUD) as port:
            device = Device(port)
            device.hello()
            yield chip, device
    finally:
        ended.set()
        thread.join()
        if sampler:
            sampler.close()
        line.close()
