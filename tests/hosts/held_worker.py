"""A stand-in whose run begins when somebody opens the FIFO of HOLD for writing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fqtbench.bench.job import TrainJob
from fqtbench.bench.worker import main
from tests.experiment.standin_worker import ReferenceDevice, StandInAccess


class HeldAccess(StandInAccess):
    """Holds the board, and waits."""

    @contextmanager
    def session(self, job: TrainJob) -> Iterator[ReferenceDevice]:
        Path(os.environ["HOLD"]).read_bytes()
        with super().session(job) as device:
            yield device


if __name__ == "__main__":
    main(HeldAccess)
