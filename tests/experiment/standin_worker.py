"""A worker whose board is the reference: everything real but probe, wire and chip.

Tests of journals, kills and sweeps need hundreds of runs; this makes one in well under a second. Its cycle counts are
made up (so many per byte of the model image), and its tests say nothing about a board; those that do are in
tests/bench/test_virtual_board.py.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, cast

from fqtbench.bench.job import TrainJob
from fqtbench.bench.launch import Addresses, Attachment
from fqtbench.bench.worker import Worker, main
from fqtbench.probe import FlashReport
from fqtbench.training.reference import Trainer
from fqtbench.wire import Checksum, Device, Evaluated, Status, Step

FORWARD_CYCLES_PER_BYTE, BACKWARD_CYCLES_PER_BYTE, UPDATE_CYCLES_PER_BYTE = 60, 130, 40  # of model image


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
        return Status(8192, 1024, 0, 0, 0, 0, 200_000, 8 * self._size)


class StandInWorker(Worker):
    """Flashes nothing, launches nothing, but holds the probe's lock."""

    def _attach(self) -> Attachment:
        if self.attachment is None:
            attachment = Attachment(self._instance)
            attachment.addresses = Addresses(
                probe=f"stand-in:{self._instance.name}", serial="none", cycles="modelled"
            )
            self.attachment = self._hold(attachment)
        return self.attachment

    def _flash(self, elf: Any, image: bytes | None) -> FlashReport:
        report = FlashReport(programmed_bytes=0, skipped_bytes=0, duration_s=0.0)
        self.emit({"event": "flashed", **asdict(report)})
        return report

    @contextmanager
    def _device(self, job: TrainJob) -> Iterator[Device]:
        self.emit({"event": "hello", "device_id": 0})
        yield cast(Device, ReferenceDevice(job.image.read_bytes()))


if __name__ == "__main__":
    main(StandInWorker)
