"""A worker whose board is the reference: everything real but probe, wire and chip.

Tests of journals, kills and sweeps need hundreds of runs; this makes one in well under a second. Its cycle counts are
made up (so many per byte of the model image), and its tests say nothing about a board; those that do are in
tests/bench/test_virtual_board.py.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from fqtbench.bench.access import Emit, Event
from fqtbench.bench.job import Charge, TrainJob
from fqtbench.bench.lock import ProbeLock
from fqtbench.bench.profiler import Profiler
from fqtbench.bench.worker import main
from fqtbench.errors import UsageError
from fqtbench.power import Monitor, open_monitor
from fqtbench.training.reference import Trainer
from fqtbench.wire import Checksum, Evaluated, Status, Step

FORWARD_CYCLES_PER_BYTE, BACKWARD_CYCLES_PER_BYTE, UPDATE_CYCLES_PER_BYTE = 60, 130, 40  # of model image
UNCERTAINTY = 0.07  # made up too; stated by a board whose instance says that its cycles are modelled


class ReferenceDevice:
    """Answers like `Device`, out of the reference."""

    perturbed = False
    retransmissions = 0

    def __init__(self, image: bytes) -> None:
        self._trainer = Trainer(image)
        self._size = len(image)

    def train(self, samples: Iterable[tuple[bytes, int]]) -> Iterator[Step]:
        for number, (sample, label) in enumerate(samples, 1):
            loss, predicted, updated = self._trainer.train(sample, label)
            yield Step(
                number,
                predicted,
                updated,
                float(loss),
                FORWARD_CYCLES_PER_BYTE * self._size,
                BACKWARD_CYCLES_PER_BYTE * self._size,
                UPDATE_CYCLES_PER_BYTE * self._size if updated else 0,
                self._trainer.structures_updated(),
            )

    def evaluate(self, samples: Iterable[tuple[bytes, int]]) -> Iterator[Evaluated]:
        for sample, label in samples:
            outcome = self._trainer.evaluate(sample, label)
            yield Evaluated(outcome.predicted, float(outcome.loss), FORWARD_CYCLES_PER_BYTE * self._size)

    def checksum(self) -> Checksum:
        return Checksum(self._trainer.checksum(), self._trainer.step)

    def read_tensor(self, tensor: int, n_bytes: int) -> bytes:
        return self._trainer.tensor_bytes(tensor)[:n_bytes]

    def status(self) -> Status:
        return Status(
            stack_bytes=8192,
            stack_peak_bytes=1024,
            frames_good=0,
            frames_bad=0,
            duplicates=0,
            overruns=0,
            arena_bytes=200_000,
            arena_peak_bytes=8 * self._size,
        )


class StandInAccess:
    """Flashes nothing, launches nothing, but holds the probe's lock. Implements `BoardAccess`."""

    def __init__(self, charge: Charge, emit: Emit) -> None:
        self._supply, self._emit = charge.model.supply, emit
        self._cycles = charge.instance.cycles
        assert charge.instance.probe is not None
        self._probe = charge.instance.probe
        self._lock = ProbeLock(self._probe, charge.instance.name)
        self._held = False

    def attach(self) -> Event:
        if not self._held:
            self._lock.__enter__()
            self._held = True
        stated = UNCERTAINTY if self._cycles == "modelled" else None
        return {
            "probe": self._probe,
            "serial": "none",
            "cycles": self._cycles,
            "cycles_uncertainty": stated,
        }

    def flash(self, elf: Path, image: Path | None) -> None:
        self._emit({"event": "flashed", "programmed_bytes": 0, "skipped_bytes": 0, "duration_s": 0.0})

    def reset(self) -> None:
        pass

    def recover(self) -> None:
        pass

    def monitor(self) -> Monitor:
        assert self._supply is not None
        return open_monitor("modelled:", self._supply)

    def profiler(self) -> AbstractContextManager[Profiler]:
        raise UsageError("a stand-in has no profiler")

    @contextmanager
    def session(self, job: TrainJob) -> Iterator[ReferenceDevice]:
        self.flash(job.elf, job.image)
        self._emit({"event": "hello", "device_id": 0})
        yield ReferenceDevice(job.image.read_bytes())

    def obituary(self) -> None:
        pass

    def end(self, patience_s: float) -> None:
        pass


if __name__ == "__main__":
    main(StandInAccess)
