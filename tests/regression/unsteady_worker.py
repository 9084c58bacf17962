"""A stand-in worker whose cycle counts are not the same every time: ``unsteady_worker.py [first-6]``.

Each run counts one cycle a step more than the one before, over all processes that share the results folder; with
``first-6`` the first six runs take twice their cycles, and all others what they should.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fqtbench.bench.job import TrainJob
from fqtbench.bench.worker import main
from fqtbench.wire import Step

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script's own folder alone is searched

from tests.experiment.standin_worker import ReferenceDevice, StandInAccess

_FIRST = 6


class UnsteadyDevice(ReferenceDevice):
    """Answers like `ReferenceDevice`, but for the cycles."""

    def __init__(self, image: bytes, n_before: int) -> None:
        super().__init__(image)
        self._n_before = n_before

    def train(self, samples: Iterable[tuple[bytes, int]]) -> Iterator[Step]:
        for step in super().train(samples):
            yield step._replace(forward_cycles=self._unsteady(step.forward_cycles or 0))

    def _unsteady(self, cycles: int) -> int:
        if "first-6" in sys.argv:
            return 20 * cycles if self._n_before < _FIRST else cycles
        return cycles + self._n_before


class UnsteadyAccess(StandInAccess):
    """Counts its runs in a file beside the results. Implements `BoardAccess`."""

    @contextmanager
    def session(self, job: TrainJob) -> Iterator[ReferenceDevice]:
        self.flash(job.elf, job.image)
        self._emit({"event": "hello", "device_id": 0})
        yield UnsteadyDevice(job.image.read_bytes(), _count(job.image))


def _count(image: Path) -> int:
    """Return how many runs there were before; the image lies in artifacts/ of the results, or of their rerun."""
    suite = next(folder for folder in image.parents if (folder / "suite.yaml").is_file())
    path = suite / "runs-so-far"
    n_before = len(path.read_text()) if path.exists() else 0
    path.write_text("x" * (n_before + 1))
    return n_before


if __name__ == "__main__":
    main(UnsteadyAccess)
