"""A virtual chip that trains in a bare CPU loop: no orchestrator, no worker, no serial line, no debug port.

What its host would send is recorded once from a training in this process; the firmware can't tell the difference, and
executes the same instructions. ``python -m benchmarks.bare_loop FOLDER`` replays a recording and says how far it is.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.inline_board import NRF52840, inline_board
from fqtbench.paths import share
from fqtbench.probe import elf_segments
from fqtbench.virtual import chips
from fqtbench.virtual.uart_chip import UartChip
from fqtbench.wire.frames import Deframer, Type

_SLICE_CYCLES: Final = 2_000_000
_CHUNK_BYTES: Final = 1 << 15  # handed over at once; far more than the firmware's window takes
_WARM_UP: Final = 20


class ReplayLine:
    """Implements `uart_line.Line`: gives recorded bytes, takes replies."""

    url = "replay"

    def __init__(self) -> None:
        self.pending = bytearray()
        self.replies = bytearray()

    def readers(self) -> list[int]:
        """Nothing to wait for."""
        return []

    def writers(self) -> list[int]:
        """Nothing to wait for."""
        return []

    def poll(self) -> bytes:
        """Return the next bytes."""
        chunk = bytes(self.pending[:_CHUNK_BYTES])
        del self.pending[:_CHUNK_BYTES]
        return chunk

    def send(self, data: bytes) -> None:
        """Keep a reply."""
        self.replies += data

    def unpublish(self) -> None:
        """Nothing was."""

    def close(self) -> None:
        """Nothing is open."""


def record(folder: Path, image: bytes, samples: Iterable[tuple[bytes, int]]) -> None:
    """Train on `samples`, and write to `folder` the image and what the host sent: the first steps, then the rest."""
    every = list(samples)
    (folder / "image").write_bytes(image)
    with inline_board(image) as (chip, device):
        sent = bytearray()
        poll = chip.line.poll

        def recorded() -> bytes:
            data = poll()
            sent.extend(data)
            return data

        chip.line.poll = recorded  # type: ignore[method-assign]
        device.hello()
        for name, part in (("warm-up", every[:_WARM_UP]), ("training", every[_WARM_UP:])):
            for _ in device.train(part):
                pass
            (folder / name).write_bytes(sent)
            sent.clear()


class Loop:
    """A recording replayed in a process of its own, `pid`, which waits behind its warm-up.

    It says how far it is into a pipe, which is read at the end: to take part in a measurement costs CPU time.
    """

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare_loop", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid: Final = self._process.pid

    def await_ready(self) -> None:
        """Return when the warm-up is over."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise SystemExit("a bare loop did not get ready")

    def start(self) -> None:
        """Let it train."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end(self) -> list[tuple[float, int]]:
        """End it, wherever it is; return its points: time on the clock that all processes share (s), and steps so far.

        Raises SystemExit if it has trained on all that was recorded before.
        """
        if self._process.poll() is not None:
            raise SystemExit("a bare loop was done before the boards were: too few steps are recorded")
        self._process.kill()
        said, _ = self._process.communicate()
        # The last line may be cut.
        return [(at_s, steps) for at_s, steps in map(json.loads, said.splitlines()[:-1])]

    def close(self) -> None:
        """End it, if it still runs."""
        self._process.kill()
        self._process.wait()


def _replies(chip: UartChip, line: ReplayLine, data: bytes) -> bytes:
    """Give the firmware `data` and run it until it wants more; return its replies."""
    line.pending += data
    chip.poll_line()
    while chip.runnable or line.pending:
        if chip.runnable:
            chip.run(_SLICE_CYCLES)
        else:
            chip.poll_line()
    replies = bytes(line.replies)
    line.replies.clear()
    return replies


def main() -> None:
    """Replay."""
    folder, line = Path(sys.argv[1]), ReplayLine()
    chip = chips.create(NRF52840.firmware, line)
    for segment in elf_segments(share("firmware/prebuilt") / f"{NRF52840.firmware}.elf"):
        chip.program(segment.address, segment.data)
    chip.program(NRF52840.memory.image_origin, (folder / "image").read_bytes())
    chip.reset(halt=False)
    _replies(chip, line, (folder / "warm-up").read_bytes())
    training, deframer, steps = (folder / "training").read_bytes(), Deframer(), 0
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps((time.monotonic(), 0)), flush=True)
    for begin in range(0, len(training), _CHUNK_BYTES):
        frames = deframer.feed(_replies(chip, line, training[begin : begin + _CHUNK_BYTES]))
        steps += sum(frame is not None and frame.type == Type.STEP for frame in frames)
        print(json.dumps((time.monotonic(), steps)), flush=True)


if __name__ == "__main__":
    main()
