"""The worker of a board that is the engine's shared library: nothing to attach, lock or flash."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from fqtbench.bench.execute import TrainingDevice
from fqtbench.bench.job import TrainJob
from fqtbench.bench.launch import Addresses, Attachment
from fqtbench.bench.worker import Worker
from fqtbench.errors import UsageError
from fqtbench.host.device import LibraryDevice
from fqtbench.probe import FlashReport
from fqtbench.training.arithmetic import ARITH_ID


class LibraryWorker(Worker):
    """Runs a job's `elf`, a shared library, in this process."""

    def _attach(self) -> Attachment:
        if self.attachment is None:
            self.attachment = Attachment(self._instance)
            self.attachment.addresses = Addresses(probe="none", serial="none", power="none")
        return self.attachment

    def _flash(self, elf: Path, image: bytes | None) -> FlashReport:
        report = FlashReport(programmed_bytes=0, skipped_bytes=0, duration_s=0.0)
        self.emit({"event": "flashed", **asdict(report)})
        return report

    def _reset(self) -> None:
        raise UsageError(f"board {self._instance.name}: there is nothing to reset; each run starts anew")

    def _recover(self) -> None:
        raise UsageError(f"board {self._instance.name}: there is no chip to recover")

    @contextmanager
    def _device(self, job: TrainJob) -> Iterator[TrainingDevice]:
        device = LibraryDevice(job.elf, job.image.read_bytes(), self._model.memory.ram_bytes)
        self.emit(
            {"event": "hello", "arith_id": ARITH_ID, "build_id": job.build_id, "image_crc": job.image_crc32}
        )
        yield device
