"""How a worker reaches its board: what every kind of board must offer, whichever way it is programmed and talked to."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from fqtbench.bench.job import ExamineJob, PowerJob, TrainJob
from fqtbench.bench.profiler import Profiler
from fqtbench.bench.recovery import Rung
from fqtbench.power import Monitor
from fqtbench.wire import ArenaUse, Checksum, Evaluated, Step

Event = dict[str, Any]
Emit = Callable[[Event], None]


class TrainingDevice(Protocol):
    """What a run needs of a board: `wire.Device`, or something that answers like it."""

    @property
    def perturbed(self) -> bool:
        """Whether something happened that may show in cycle counts."""
        ...

    @property
    def retransmissions(self) -> int:
        """Frames that were sent again."""
        ...

    def train(self, samples: Iterable[tuple[bytes, int]]) -> Iterator[Step]:
        """Train on each sample in order."""
        ...

    def evaluate(self, samples: Iterable[tuple[bytes, int]]) -> Iterator[Evaluated]:
        """Run each sample forward, without learning."""
        ...

    def checksum(self) -> Checksum:
        """Return the CRC-32 of the trained state."""
        ...

    def read_tensor(self, tensor: int, n_bytes: int) -> bytes:
        """Return the first bytes of a tensor."""
        ...

    def status(self) -> ArenaUse:
        """Return the memory use: the arena's, and what else the board knows of."""
        ...


class BoardAccess(Protocol):
    """One board, from the worker's first job to its end. What becomes known of it leaves as events.

    Raises (every method): BoardError, or UsageError for what this kind of board can't do.
    """

    def attach(self) -> Event:
        """Reach for the board, the first time, and hold it; returns where it is, for the results."""
        ...

    def flash(self, elf: Path, image: Path | None) -> None:
        """Program and verify a firmware, and a model image if there is one."""
        ...

    def reset(self) -> None:
        """Reset the board and let it run."""
        ...

    def recover(self) -> None:
        """Erase the whole chip."""
        ...

    def restore(self, rung: Rung) -> None:
        """Take a rung of the ladder, one of those that the charge says the board has."""
        ...

    def examine(self, job: ExamineJob) -> None:
        """Try what a run needs; each part leaves an event ``tried``, also one that fails.

        Such an event has `part` (``probe``, ``firmware``, ``port``, ``line``) and, for one that fails, `class` and
        `message`.
        """
        ...

    def monitor(self) -> Monitor | None:
        """Open the power monitor; None if the board's power means nothing."""
        ...

    def watch_power(self, job: PowerJob) -> None:
        """Send what the power monitor samples as events (power_watch.py); nothing is programmed."""
        ...

    def profiler(self) -> AbstractContextManager[Profiler]:
        """Open the profiler."""
        ...

    def session(self, job: TrainJob) -> AbstractContextManager[TrainingDevice]:
        """Put firmware and image of `job` on the board and yield it, the image loaded, no step trained."""
        ...

    def obituary(self) -> str | None:
        """Return what ended a board that is gone; None while it is there."""
        ...

    def end(self, patience_s: float) -> None:
        """Let go of the board, from any thread, whatever another one is doing with it."""
        ...
