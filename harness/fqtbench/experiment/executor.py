"""Who does a suite's runs: workers on this computer (`bench.pool.Pool`), or a lab's hosts (`hosts.executor`)."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from fqtbench.bench.job import Charge
from fqtbench.bench.pool import Listener, Task


class Executor(AbstractContextManager["Executor"], Protocol):
    """Boards at work while the context lasts; leaving it, for whatever reason, ends what they do."""

    def run(self, tasks: Sequence[Task], on_event: Listener) -> None:
        """Do all tasks, each once; `on_event` gets (task, board, event) in the calling thread, one at a time.

        Events, retries and errors are those of `bench.pool.Pool.run`: the caller alone writes results.
        """
        ...


ExecutorOf = Callable[[Sequence[Charge]], Executor]
