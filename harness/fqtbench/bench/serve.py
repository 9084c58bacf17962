"""Entry point of a worker process: ``python -m fqtbench.bench.serve``. Which worker it is, the board's model says."""

from typing import Final, TextIO

from fqtbench.bench.job import Charge
from fqtbench.bench.worker import Worker, main
from fqtbench.host.worker import LibraryWorker

_WORKERS: Final = {"uart": Worker, "library": LibraryWorker}


def worker_of(charge: Charge, output: TextIO) -> Worker:
    """Return the worker for the way in which the board is reached."""
    return _WORKERS[charge.model.link](charge, output)


if __name__ == "__main__":
    main(worker_of)
