"""A board that is held: one worker process, many jobs, whatever becomes of a test in between."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from fqtbench.bench.job import AnyJob, Charge, ResetJob
from fqtbench.bench.pool import WORKER, Listener, Pool, Task
from fqtbench.board import BoardInstance, BoardModel

_RESET_DEADLINE_S: Final = 120.0  # launching included, on a loaded host


class HeldBoard:
    """Holds a board from its first job to the end of the context.

    A job that fails, or that a test's own deadline interrupts, ends the worker; the next one starts another.
    """

    def __init__(self, instance: BoardInstance, model: BoardModel, patience_s: float) -> None:
        self.instance, self.model = instance, model
        self._charge = Charge(instance=instance, model=model, patience_s=patience_s)
        self._pool = Pool([self._charge], WORKER)
        self._resources = ExitStack()
        self.folder = Path(
            self._resources.enter_context(tempfile.TemporaryDirectory(prefix="fqtbench-test-"))
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            self._let_go()
        finally:
            self._resources.close()

    def reset(self) -> None:
        """Reset the chip. A board that is no chip keeps nothing of what was trained before."""
        if self.model.link != "library":
            self.do("reset", ResetJob(), _RESET_DEADLINE_S, _ignore)

    def do(self, what: str, job: AnyJob, deadline_s: float, listen: Listener) -> None:
        """Do a job; raises what `Pool.run` does, and what interrupts it."""
        try:
            self._pool.run([Task(what, self.model.name, job, deadline_s)], listen)
        except BaseException:
            self._let_go()  # it may be in the middle of something
            raise

    def _let_go(self) -> None:
        with self._pool:
            pass
        self._pool = Pool([self._charge], WORKER)


def _ignore(task: Task, board: str, event: dict[str, Any]) -> None:
    pass
