"""The stand-in worker, writing down what it does: a line of kind, process and the lock's holder in the file LOG.

With the number of test samples 13 it never answers.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fqtbench.bench.job import TrainJob
from fqtbench.bench.lock import probe_holder
from fqtbench.bench.worker import main
from tests.experiment.standin_worker import ReferenceDevice, StandInAccess

SILENT = 13


class CountingAccess(StandInAccess):
    def reset(self) -> None:
        self._write("reset")

    @contextmanager
    def session(self, job: TrainJob) -> Iterator[ReferenceDevice]:
        self._write("train")
        if job.dataset.test == SILENT:
            threading.Event().wait()
        with super().session(job) as device:
            yield device

    def _write(self, kind: str) -> None:
        holder = probe_holder(self._probe)
        with Path(os.environ["LOG"]).open("a") as log:
            log.write(f"{kind} {os.getpid()} {holder.pid if holder else None}\n")


if __name__ == "__main__":
    main(CountingAccess)
