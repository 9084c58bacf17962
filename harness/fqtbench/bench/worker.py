"""The process in charge of one board: ``python -m fqtbench.bench.serve``, started by `fqtbench.bench.pool`.

Standard input: a `Charge`, then jobs, JSON, one a line. Standard output: events, JSON, one a line; each job ends with
an event ``done`` or ``error``. It holds the probe's lock and a launched board from the first job to its end, so
that the next run finds the firmware that the last one flashed. It ends when its standard input closes, whatever it is
doing, and takes the launched board with it.
"""

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TextIO

from fqtbench.bench.execute import Event, Execution, TrainingDevice
from fqtbench.bench.job import JOBS, AnyJob, Charge, FlashJob, RecoverJob, ResetJob, TrainJob
from fqtbench.bench.launch import Attachment
from fqtbench.bench.lock import ProbeLock
from fqtbench.errors import BoardError, DeviceError, FqtbenchError, ImageError
from fqtbench.power import Monitor, open_monitor
from fqtbench.probe import FlashReport, Probe, Segment, elf_segments
from fqtbench.wire import Device, Hello, open_line

_ORPHANED: Final = 4  # exit code, read by nobody
_ORPHAN_PATIENCE_S: Final = 0.4  # less than the pool's, which kills us after a second


class Worker:
    """One board, from its first job to the end of standard input."""

    def __init__(self, charge: Charge, output: TextIO) -> None:
        self._instance, self._model = charge.instance, charge.model
        self._output = output
        self._resources = ExitStack()
        self.attachment: Attachment | None = None

    def emit(self, event: Event) -> None:
        """Send one event to the parent."""
        self._output.write(json.dumps(event) + "\n")
        self._output.flush()

    def close(self) -> None:
        """Free the lock, end a launched board."""
        self._resources.close()

    def do(self, job: AnyJob) -> None:
        """Do one job and say how it ended."""
        try:
            self.emit({"event": "attached", **self._attach().addresses.model_dump()})
            match job:
                case TrainJob():
                    self._train(job)
                case FlashJob():
                    self._flash(job.elf, None if job.image is None else job.image.read_bytes())
                case ResetJob():
                    self._reset()
                case RecoverJob():
                    self._recover()
        except Exception as error:
            self.emit(self._error(error))
        else:
            self.emit({"event": "done"})

    # -- the board

    def _attach(self) -> Attachment:
        if self.attachment is None:
            self.emit({"event": "stage", "text": "attaching"})
            self.attachment = self._hold(self._resources.enter_context(Attachment(self._instance)))
        return self.attachment

    def _hold(self, attachment: Attachment) -> Attachment:
        """Lock the probe of a board that is there."""
        self._resources.enter_context(ProbeLock(attachment.addresses.probe, self._instance.name))
        return attachment

    def _probe(self) -> Probe:
        return Probe(self._attach().addresses.probe, self._model.pyocd_target, self._model.connect_mode)

    def _reset(self) -> None:
        with self._probe() as probe:
            probe.reset()

    def _recover(self) -> None:
        with self._probe() as probe:
            probe.recover()

    def _flash(self, elf: Path, image: bytes | None) -> FlashReport:
        segments = list(elf_segments(elf))
        memory = self._model.memory
        if image is not None:
            if len(image) > memory.image_bytes:
                raise ImageError(
                    f"the model image has {len(image)} bytes, board {self._model.name} has {memory.image_bytes} for it"
                )
            segments.append(Segment(memory.image_origin, image))
        self.emit({"event": "stage", "text": "flashing"})
        with self._probe() as probe:
            report = probe.flash(segments)
            probe.reset()
        self.emit({"event": "flashed", **asdict(report)})
        return report

    # -- a run

    def _train(self, job: TrainJob) -> None:
        dataset = job.dataset.load()
        self._flash(job.elf, job.image.read_bytes())
        monitor = self._monitor()
        with self._device(job) as device:
            Execution(job, dataset, self._model, device, monitor, self.emit).run()
            self.emit(
                {
                    "event": "status",
                    **_jsonable(asdict(device.status())),
                    "perturbed": device.perturbed,
                    "retransmissions": device.retransmissions,
                }
            )
        if monitor is not None:
            self.emit({"event": "power", "origin": monitor.origin, "model_id": monitor.model_id})

    def _monitor(self) -> Monitor | None:
        """Open the power monitor of a board that has a supply."""
        supply = self._model.supply
        return None if supply is None else open_monitor(self._attach().addresses.power, supply)

    @contextmanager
    def _device(self, job: TrainJob) -> Iterator[TrainingDevice]:
        """Open the serial line and make sure who is at its end."""
        assert self._model.uart is not None, "the board model's check"
        self.emit({"event": "stage", "text": "saying hello"})
        with open_line(self._attach().addresses.serial, self._model.uart.baud) as line:
            device = Device(line)
            hello = device.hello()
            self._check(hello, job)
            self.emit({"event": "hello", **_jsonable(asdict(hello))})
            yield device

    def _check(self, hello: Hello, job: TrainJob) -> None:
        build_id = hello.build_id.hex()
        what = f"board {self._instance.name}"
        if hello.chip != self._model.chip_id:
            raise DeviceError(
                f"{what}: the chip on its serial line is 0x{hello.chip:08x}, not 0x{self._model.chip_id:08x}; "
                "is the serial line that of the board the probe is connected to?"
            )
        if build_id != job.build_id:
            raise DeviceError(
                f"{what}: the firmware on its serial line has build id {build_id}, just flashed was {job.build_id}; "
                "is the serial line that of the board the probe is connected to?"
            )
        if hello.image_problem is not None:
            raise DeviceError(f"{what}: {hello.image_problem}")
        if hello.image_crc != job.image_crc32:
            raise DeviceError(
                f"{what}: it loaded a model image with CRC {hello.image_crc:08x}, flashed was {job.image_crc32:08x}; "
                "flash it again"
            )

    def _error(self, error: Exception) -> Event:
        message = str(error)
        if not isinstance(error, FqtbenchError):
            message = f"internal error in the worker: {type(error).__name__}: {error}; --verbose shows where"
        if self.attachment is not None and self.attachment.ended and isinstance(error, BoardError):
            message += (
                f" (its launched command has ended: {self.attachment.last_words() or 'it said nothing'})"
            )
        return {
            "event": "error",
            "class": type(error).__name__,
            "message": " ".join(message.split()),
            "traceback": "".join(traceback.format_exception(error)),
        }


def _jsonable(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()}


def _read_input(lines: "queue.Queue[str | None]", worker: list[Worker]) -> None:
    for line in sys.stdin:
        lines.put(line)
    # The parent is gone or has had enough. The main thread may be deep inside a flash algorithm: don't wait for it.
    for board in worker:
        if board.attachment is not None:
            board.attachment.end(_ORPHAN_PATIENCE_S)
    os._exit(_ORPHANED)


def main(make: Callable[[Charge, TextIO], Worker] = Worker) -> None:
    """Read a charge, make its worker, read jobs, do them."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # what a library prints must not break the stream of events
    lines: queue.Queue[str | None] = queue.Queue()
    workers: list[Worker] = []
    threading.Thread(target=_read_input, args=(lines, workers), daemon=True).start()
    worker = make(Charge.model_validate_json(lines.get() or ""), output)
    workers.append(worker)
    while True:
        worker.do(JOBS.validate_json(lines.get() or ""))
