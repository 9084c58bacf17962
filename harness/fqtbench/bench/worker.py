"""The process in charge of one board: ``python -m fqtbench.bench.serve``, started by `fqtbench.bench.pool`.

Standard input: a `Charge`, then jobs, JSON, one a line. Standard output: events, JSON, one a line; each job ends with
an event ``done`` or ``error``. It holds its board from the first job to its end. It ends when its standard input
closes, whatever it is doing, and takes a launched board with it.
"""

import gc
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Final, TextIO

from fqtbench.bench.access import BoardAccess, Emit, Event
from fqtbench.bench.execute import Execution
from fqtbench.bench.job import (
    JOBS,
    AnyJob,
    Charge,
    ExamineJob,
    FlashJob,
    PowerJob,
    ProfileJob,
    RecoverJob,
    ResetJob,
    RestoreJob,
    TrainJob,
)
from fqtbench.bench.profiling import profile_steps
from fqtbench.errors import BoardError, FqtbenchError, UsageError
from fqtbench.power import closing

_ORPHANED: Final = 4  # exit code, read by nobody
_ORPHAN_PATIENCE_S: Final = 0.4  # less than the pool's, which kills us after a second
AccessOf = Callable[[Charge, Emit], BoardAccess]


class Worker:
    """One board, from its first job to the end of standard input."""

    def __init__(self, charge: Charge, output: TextIO, access_of: AccessOf) -> None:
        self._model = charge.model
        self._output = output
        self.access = access_of(charge, self.emit)

    def emit(self, event: Event) -> None:
        """Send one event to the parent."""
        self._output.write(json.dumps(event) + "\n")
        self._output.flush()

    def do(self, job: AnyJob) -> None:
        """Do one job and say how it ended."""
        try:
            self.emit({"event": "attached", **self.access.attach()})
            match job:
                case TrainJob():
                    self._train(job)
                case ProfileJob():
                    with self.access.session(job.train) as device, self.access.profiler() as profiler:
                        self.emit(profile_steps(job, device, profiler))
                case FlashJob():
                    self.access.flash(job.elf, job.image)
                case ResetJob():
                    self.access.reset()
                case RecoverJob():
                    self.access.recover()
                case ExamineJob():
                    self.access.examine(job)
                case PowerJob():
                    self.access.watch_power(job)
                case RestoreJob():
                    self.access.restore(job.rung)
        except Exception as error:
            self.emit(self._error(error))
        else:
            self.emit({"event": "done"})

    def _train(self, job: TrainJob) -> None:
        dataset = job.dataset.load()
        if job.samples_sha256 not in (None, dataset.sha256):
            raise UsageError(
                f"dataset {job.dataset.name}: its files here (sha256 {dataset.sha256[:12]}) are not those that the run "
                f"was planned with ({str(job.samples_sha256)[:12]}); fetch them anew, on both sides"
            )
        monitor = self.access.monitor()
        with closing(monitor), self.access.session(job) as device:
            Execution(job, dataset, self._model, device, monitor, self.emit).run()
            self.emit(
                {
                    "event": "status",
                    **asdict(device.status()),
                    "perturbed": device.perturbed,
                    "retransmissions": device.retransmissions,
                }
            )
        if monitor is not None:
            self.emit({"event": "power", "origin": monitor.origin, "model_id": monitor.model_id})

    def _error(self, error: Exception) -> Event:
        message = str(error)
        if not isinstance(error, FqtbenchError):
            message = f"internal error in the worker: {type(error).__name__}: {error}; --verbose shows where"
        obituary = self.access.obituary()
        if obituary is not None and isinstance(error, BoardError):
            message += f" ({obituary})"
        return {
            "event": "error",
            "class": type(error).__name__,
            "message": " ".join(message.split()),
            "traceback": "".join(traceback.format_exception(error)),
        }


def _read_input(lines: "queue.Queue[str | None]", worker: list[Worker]) -> None:
    for line in sys.stdin:
        lines.put(line)
    # The parent is gone or has had enough. The main thread may be deep inside a flash algorithm: don't wait for it.
    for board in worker:
        board.access.end(_ORPHAN_PATIENCE_S)
    os._exit(_ORPHANED)


def main(access_of: AccessOf) -> None:
    """Read a charge, reach its board by what `access_of` returns, read jobs, do them."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # what a library prints must not break the stream of events
    lines: queue.Queue[str | None] = queue.Queue()
    workers: list[Worker] = []
    threading.Thread(target=_read_input, args=(lines, workers), daemon=True).start()
    worker = Worker(Charge.model_validate_json(lines.get() or ""), output, access_of)
    workers.append(worker)
    gc.freeze()  # the libraries stay: no collection needs to look at them again, between two steps
    while True:
        worker.do(JOBS.validate_json(lines.get() or ""))
