"""A virtual chip that trains in a bare CPU loop: no orchestrator, no worker, no serial line, no debug port.

What its host would send is recorded once from a training in this process; the firmware can't tell the difference, and
executes the same instructions. ``python -m benchmarks.bare_loop FOLDER`` replays a recording and says when it began and
ended.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

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
    """A recording replayed in a process of its own, which waits behind its warm-up."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare_loop", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

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

    def result(self, deadline_s: float) -> dict[str, Any]:
        """Return `begin_s` and `end_s`, on the clock that all processes share, CPU time and number of `steps`."""
        try:
            output, _ = self._process.communicate(timeout=deadline_s)
        finally:
            self._process.kill()
        found: dict[str, Any] = json.loads(output)
        return found


def _run(chip: UartChip, line: ReplayLine, data: bytes) -> Iterator[int]:
    """Give the firmware `data` and run it until it wants more; yields the types of its replies."""
    line.pending += data
    deframer = Deframer()
    chip.poll_line()
    while chip.runnable or line.pending:
        if chip.runnable:
            chip.run(_SLICE_CYCLES)
        else:
            chip.poll_line()
    for frame in deframer.feed(bytes(line.replies)):
        if frame is not None:
            yield frame.type
    line.replies.clear()


def main() -> None:
    """Replay."""
    folder, line = Path(sys.argv[1]), ReplayLine()
    chip = chips.create(NRF52840.firmware, line)
    for segment in elf_segments(share("firmware/prebuilt") / f"{NRF52840.firmware}.elf"):
        chip.program(segment.address, segment.data)
    chip.program(NRF52840.memory.image_origin, (folder / "image").read_bytes())
    chip.reset(halt=False)
    list(_run(chip, line, (folder / "warm-up").read_bytes()))
    training = (folder / "training").read_bytes()
    print("ready", flush=True)
    sys.stdin.readline()
    begin_s, cpu_s = time.monotonic(), time.process_time()
    steps = list(_run(chip, line, training)).count(Type.STEP)
    cpu_s = time.process_time() - cpu_s
    print(json.dumps({"begin_s": begin_s, "end_s": time.monotonic(), "cpu_s": cpu_s, "steps": steps}))


if __name__ == "__main__":
    main()
