"""Runs on a lab's hosts: one job a run, sent to the host that has the board. Implements `experiment.executor.Executor`.

Whatever can be tried again on a board its host tries again, by the ordinary pool; what comes back here as a failure is
final for that board. A host that is lost is another matter: its run goes to whichever board of the model is free first,
that one included once its host is back.
"""

import hashlib
import queue
import time
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from distributed import Future, KilledWorker

from fqtbench.bench.access import Event
from fqtbench.bench.job import Charge, TrainJob
from fqtbench.bench.pool import Listener, Task, error_of, together
from fqtbench.clock import now
from fqtbench.errors import BoardError, FqtbenchError, LabError, UsageError
from fqtbench.hosts.host import do_job
from fqtbench.hosts.lab import Lab, Place, check_kit
from fqtbench.hosts.messages import Order, Outcome, Said, parse

BACK_WITHIN_S: Final = 60.0  # a host that was lost: as long as a restart takes
MAX_ATTEMPTS: Final = 3  # at a run whose hosts are lost
_LOOK_AGAIN_S: Final = 0.5
_SLACK_S: Final = 120.0  # beyond a run's own deadline: a host launches, flashes and recovers


@dataclass
class _Job:
    """A task on its way. It must begin within `begin_s`, and then never be quiet for `quiet_s`."""

    key: str
    task: Task
    begin_s: float
    quiet_s: float
    began: str = field(default_factory=now)
    n_said: int = 0
    failed: bool = False
    future: Future | None = None
    late_at_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.late_at_s = time.monotonic() + self.begin_s

    def hear(self) -> None:
        """Take a sign of life."""
        self.n_said += 1
        self.late_at_s = time.monotonic() + self.quiet_s

    def why_late(self) -> str:
        """Say what it means that it is."""
        if self.n_said == 0:
            return (
                f"not begun within {self.begin_s:g} s; does somebody else's run use it? --wait waits longer"
            )
        return f"its host said nothing for {self.quiet_s:g} s; look at it"


@dataclass
class _Board:
    """A board as it stands: at work on `job`, idle, waited for until `away_until_s`, or given up by `error`."""

    charge: Charge
    job: _Job | None = None
    away_until_s: float | None = None
    error: FqtbenchError | None = None

    @property
    def name(self) -> str:
        return self.charge.instance.name

    @property
    def is_free(self) -> bool:
        return self.job is None and self.error is None


class LabExecutor:
    """Boards of a lab; leaving the context ends their runs.

    LabError, before any job is sent, if a board is not offered, or its host runs another fqtbench. `back_within_s`:
    how long a host that was lost is waited for.
    """

    def __init__(self, charges: Sequence[Charge], lab: Lab, back_within_s: float = BACK_WITHIN_S) -> None:
        self._lab, self._back_within_s = lab, back_within_s
        self._boards = {charge.instance.name: _Board(charge) for charge in charges}
        self._session = uuid.uuid4().hex
        self._n_jobs = 0
        self._said: queue.Queue[tuple[str, str | None]] = queue.Queue()  # (key, an event, or None at its end)
        self._waiting: deque[Task] = deque()
        self._losses: Counter[str] = Counter()

    def __enter__(self) -> Self:
        places = self._lab.places()
        for name in self._boards:
            if name not in places:
                raise LabError(
                    f"no host of the lab offers board {name}; is `fqtbench lab worker` running where it is plugged in?"
                )
            check_kit(places[name].kit, f"host {places[name].host}")
        self._lab.client.subscribe_topic(self._session, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for board in self._boards.values():
            self._call_off(board)
        with suppress(OSError, ValueError):
            self._lab.client.unsubscribe_topic(self._session)

    def run(self, tasks: Sequence[Task], on_event: Listener) -> None:
        """Do all tasks, as `bench.pool.Pool.run` does; LabError at once if the scheduler is gone."""
        self._waiting = deque(tasks)
        while True:
            self._assign()
            if not self._waiting_for_something():
                break
            try:
                key, text = self._said.get(timeout=_LOOK_AGAIN_S)
            except queue.Empty:
                pass
            else:
                self._take(key, text, on_event)
            self._check(on_event)
        failures = [board.error for board in self._boards.values() if board.error is not None]
        if failures:
            raise together(failures)
        if self._waiting:
            task = self._waiting[0]
            raise BoardError(f"no board of model {task.model} is there for {task.name}")

    def _waiting_for_something(self) -> bool:
        if any(board.job is not None for board in self._boards.values()):
            return True
        models = {task.model for task in self._waiting}
        return any(b.charge.model.name in models and b.error is None for b in self._boards.values())

    # -- sending

    def _assign(self) -> None:
        free = [board for board in self._boards.values() if board.is_free]
        wanted = {task.model for task in self._waiting}
        if not any(board.charge.model.name in wanted for board in free):
            return
        places = self._lab.places()
        for board in free:
            task = next((task for task in self._waiting if task.model == board.charge.model.name), None)
            if task is None:
                continue
            if board.name not in places:
                if board.away_until_s is None:
                    board.away_until_s = time.monotonic() + self._back_within_s
                continue
            board.away_until_s = None
            self._waiting.remove(task)
            self._send(board, task, places[board.name])

    def _send(self, board: _Board, task: Task, place: Place) -> None:
        check_kit(place.kit, f"host {place.host}")  # it may have come anew
        if not isinstance(task.job, TrainJob):
            raise UsageError(f"{task.name}: a lab's hosts do runs of suites only; go to host {place.host}")
        firmware, image = task.job.elf.read_bytes(), task.job.image.read_bytes()
        order = Order(
            topic=self._session,
            task=task.name,
            charge=board.charge,
            job=task.job,
            deadline_s=task.deadline_s,
            firmware_sha256=hashlib.sha256(firmware).hexdigest(),
            image_sha256=hashlib.sha256(image).hexdigest(),
        )
        self._n_jobs += 1
        task.attempt += 1
        begin_s = board.charge.patience_s + _SLACK_S
        key = f"fqtbench-{self._session}-{self._n_jobs}"
        job = _Job(key, task, begin_s, begin_s + task.deadline_s)
        board.job = job
        job.future = self._lab.client.submit(
            do_job,
            order.model_dump_json(),
            firmware,
            image,
            key=job.key,
            resources={place.board.resource: 1},
            pure=False,
            retries=0,
        )
        job.future.add_done_callback(partial(self._end, job.key))

    def _call_off(self, board: _Board) -> None:
        job, board.job = board.job, None
        if job is not None and job.future is not None and self._lab.is_connected:
            with suppress(OSError, ValueError):
                job.future.cancel()

    # -- hearing: in Dask's threads

    def _hear(self, event: tuple[float, Any]) -> None:
        self._said.put(("", str(event[1])))

    def _end(self, key: str, _: Future) -> None:
        self._said.put((key, None))

    # -- hearing: in the caller's

    def _take(self, key: str, text: str | None, on_event: Listener) -> None:
        said = None if text is None else parse(Said, text, "a host")
        key = key if said is None else said.key
        board = next((b for b in self._boards.values() if b.job is not None and b.job.key == key), None)
        if board is None or board.job is None:
            return  # of a job that is over, or was given up
        job = board.job
        if said is None:
            self._lose(board, self._why_it_ended(job), on_event)
            return
        if said.number != job.n_said:
            self._lose(board, f"what it said came as number {said.number}, not {job.n_said}", on_event)
            return
        job.hear()
        if said.event is not None:
            self._pass_on(board, job, said.event, on_event)
        if said.outcome is not None:
            self._finish(board, job, said.outcome, on_event)

    def _why_it_ended(self, job: _Job) -> str:
        """Dask says that a job is over, its host has not said so."""
        assert job.future is not None
        if job.future.status == "cancelled" or not self._lab.is_connected:
            raise self._lab.lost()
        if job.future.status == "error":
            failure = job.future.exception(timeout=_LOOK_AGAIN_S)
            if isinstance(failure, KilledWorker):  # its own text is a paragraph about Dask
                return "its worker, `fqtbench lab worker`, ended or could not be reached"
            return str(failure)
        return "it did not say how the run ended"

    def _pass_on(self, board: _Board, job: _Job, event: Event, on_event: Listener) -> None:
        """Attempts are counted over all hosts."""
        task = job.task
        if event["event"] == "retry":
            task.attempt += 1
        if event["event"] in ("failed", "retry"):
            job.failed = event["event"] == "failed"
            event = {**event, "attempt": task.attempt}
        if event["event"] != "done":  # that is said when the outcome agrees
            on_event(task, board.name, event)

    def _finish(self, board: _Board, job: _Job, outcome: Outcome, on_event: Listener) -> None:
        failure = outcome.failure
        if failure is None:
            board.job = None
            on_event(job.task, board.name, {"event": "done"})
        else:
            self._give_up(board, error_of(failure.kind, failure.message, failure.traceback), on_event)

    # -- failures

    def _lose(self, board: _Board, why: str, on_event: Listener) -> None:
        """A host was lost, or what it said. The board may come back, and the task is tried again wherever."""
        assert board.job is not None
        task = board.job.task
        error = LabError(f"{task.name} on board {board.name}: its host was lost: {why}")
        self._losses[task.name] += 1
        if self._losses[task.name] >= MAX_ATTEMPTS:
            self._give_up(board, error, on_event)
            return
        self._tell_failed(board, error, on_event)
        self._call_off(board)
        self._again(board, task, error, on_event)

    def _give_up(self, board: _Board, error: FqtbenchError, on_event: Listener) -> None:
        if isinstance(error, UsageError):
            raise error
        assert board.job is not None
        task = board.job.task
        self._tell_failed(board, error, on_event)
        self._call_off(board)
        board.error = error
        if any(b.charge.model.name == task.model and b.error is None for b in self._boards.values()):
            self._again(board, task, error, on_event)
        elif any(b.job is not None for b in self._boards.values()):
            on_event(task, board.name, {"event": "lost", "reason": str(error)})

    def _tell_failed(self, board: _Board, error: FqtbenchError, on_event: Listener) -> None:
        """Say so of an attempt, unless its host has."""
        job = board.job
        if job is not None and not job.failed:
            failed = {"event": "failed", "attempt": job.task.attempt, "class": type(error).__name__}
            times = {"began": job.began, "ended": now()}
            on_event(job.task, board.name, {**failed, "reason": str(error), **times, "rung": None})

    def _again(self, board: _Board, task: Task, error: FqtbenchError, on_event: Listener) -> None:
        self._waiting.appendleft(task)
        retry = {"event": "retry", "attempt": task.attempt + 1, "reason": str(error), "rung": None}
        on_event(task, board.name, retry)

    def _check(self, on_event: Listener) -> None:
        if not self._lab.is_connected:
            raise self._lab.lost()
        now_s = time.monotonic()
        for board in self._boards.values():
            if board.away_until_s is not None and now_s > board.away_until_s and board.error is None:
                board.error = LabError(
                    f"board {board.name}: its host was not back within {self._back_within_s:g} s; "
                    "start `fqtbench lab worker` there again"
                )
            if board.job is not None and now_s > board.job.late_at_s:
                what = f"{board.job.task.name} on board {board.name}"
                self._give_up(board, LabError(f"{what}: {board.job.why_late()}"), on_event)
