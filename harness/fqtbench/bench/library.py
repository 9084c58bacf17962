"""Boards that are the training engine as a shared library: nothing to connect, to lock, to program or to weigh."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from fqtbench.bench.access import Emit, Event
from fqtbench.bench.job import Charge, ExamineJob, PowerJob, TrainJob
from fqtbench.bench.profiler import Profiler
from fqtbench.bench.recovery import Rung
from fqtbench.errors import UsageError
from fqtbench.host import LibraryDevice
from fqtbench.training.arithmetic import ARITH_ID


class LibraryAccess:
    """The engine in this process; a job's `elf` is the library. Implements `BoardAccess`."""

    def __init__(self, charge: Charge, emit: Emit) -> None:
        self._board, self._arena_bytes = charge.instance.name, charge.model.memory.ram_bytes
        self._emit = emit

    def attach(self) -> Event:
        """It is nowhere but here."""
        return {}

    def flash(self, elf: Path, image: Path | None) -> None:
        """Refuse: each run loads engine and image by itself."""
        raise UsageError(
            f"board {self._board}: there is nothing to flash; `fqtbench run` loads what a run needs"
        )

    def reset(self) -> None:
        """Refuse: nothing is left of a run."""
        raise UsageError(f"board {self._board}: there is nothing to reset; each run starts anew")

    def recover(self) -> None:
        """Refuse: no flash, no lock."""
        raise UsageError(f"board {self._board}: there is no chip to recover")

    def restore(self, rung: Rung) -> None:
        """Refuse: a fresh worker is all that can be renewed."""
        raise UsageError(f"board {self._board}: there is no chip for a {rung}")

    def examine(self, job: ExamineJob) -> None:
        """Nothing to try: the engine was built before the job was written."""

    def monitor(self) -> None:
        """Return None: the computer's power says nothing of a chip's."""

    def watch_power(self, job: PowerJob) -> None:
        """Refuse: there is nothing to weigh."""
        raise UsageError(f"board {self._board}: it has no power monitor")

    def profiler(self) -> AbstractContextManager[Profiler]:
        """Refuse: a computer's cycles say nothing of a chip's."""
        raise UsageError(f"board {self._board}: it has no profiler")

    @contextmanager
    def session(self, job: TrainJob) -> Iterator[LibraryDevice]:
        """Load the library and the image."""
        device = LibraryDevice(job.elf, job.image.read_bytes(), self._arena_bytes)
        self._emit(
            {"event": "hello", "arith_id": ARITH_ID, "build_id": job.build_id, "image_crc": job.image_crc32}
        )
        yield device

    def obituary(self) -> None:
        """Return None: it lives as long as this process."""

    def end(self, patience_s: float) -> None:
        """Nothing to let go of."""
