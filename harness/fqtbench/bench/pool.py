"""Worker processes under supervision: who works on what, until when, and what happens when it goes wrong.

One worker per board. The pool's owner calls `Pool.run` and gets every event in its own thread, one at a time, so that
the parent alone writes results. A worker that is late is killed; when the owner leaves, for whatever reason, every
worker and every launched board ends. What is tried before a board is given up, `fqtbench.bench.recovery` decides.
"""

import queue
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from fqtbench import errors
from fqtbench.bench.job import AnyJob, Charge, RestoreJob
from fqtbench.bench.recovery import Climb, Rung
from fqtbench.bench.worker_process import END_DEADLINE_S, Event, Events, WorkerProcess
from fqtbench.clock import now
from fqtbench.errors import BoardError, DeadlineError, FqtbenchError, UsageError, WorkerError

WORKER: Final = (sys.executable, "-m", "fqtbench.bench.serve")
RUNG_DEADLINE_S: Final = 90.0  # a command and a board that starts, or a mass erase
_LONGEST_WAIT_S: Final = 1.0


@dataclass
class Task:
    """A job for any board of model `model`; `name` is what messages call it, `attempt` the number of the latest one."""

    name: str
    model: str
    job: AnyJob
    deadline_s: float
    attempt: int = field(default=0, init=False)


Listener = Callable[[Task, str, Event], None]


class Stopped(Exception):  # noqa: N818  (no error: somebody wanted it)
    """`Pool.stop` was called."""


@dataclass
class _Rung:
    """A rung being taken, because of `error`."""

    rung: Rung
    error: FqtbenchError


@dataclass
class _Work:
    """What a worker is at: an attempt at `task`, or a rung of the ladder before the next attempt."""

    task: Task
    climb: Climb
    rung: _Rung | None = None
    began: str = field(default_factory=now)

    def what(self, board: str) -> str:
        doing = "" if self.rung is None else f", {self.rung.rung} before attempt {self.task.attempt + 1}"
        return f"{self.task.name} on board {board}{doing}"


class Pool:
    """Workers for `charges`, one each. Use as a context: leaving it ends them all within about a second."""

    def __init__(self, charges: Iterable[Charge], worker: Sequence[str] = WORKER) -> None:
        self._charges = list(charges)
        self._argv = worker
        self._events: Events = queue.Queue()
        self._workers: dict[str, WorkerProcess] = {}
        self._work: dict[str, _Work] = {}
        self._waiting: deque[Task] = deque()
        self._lost: dict[str, FqtbenchError] = {}
        self._tell: Listener = _ignore

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        workers = list(self._workers.values())
        self._workers.clear()
        for worker in workers:
            worker.close_input()
        deadline_s = time.monotonic() + END_DEADLINE_S
        for worker in workers:
            worker.end(deadline_s)

    def run(self, tasks: Iterable[Task], on_event: Listener) -> None:
        """Do all tasks, in their order, on as many boards as there are; `on_event` gets (task, board, event).

        The event ``done`` comes once for each task that was done, ``failed`` for each attempt that was not. What then
        happens follows as another event: ``retry`` where the task is tried again, with `rung` if on the same board,
        else on another one of that model; ``lost`` where no such board is left and others are at work. ``rung`` tells
        how a rung went. When the others have done what they can, the failures are raised as one error. A UsageError,
        which no board can help, is raised at once, and the tasks in flight are abandoned. Raises Stopped once `stop`
        was called.
        """
        self._waiting, self._lost, self._tell = deque(tasks), {}, on_event
        self._assign()
        while self._work:
            try:
                said = self._events.get(timeout=self._patience_s())
            except queue.Empty:
                pass
            else:
                if said is None:
                    raise Stopped
                self._take(*said)
            self._check_deadlines()
            self._assign()
        if self._lost:
            raise together(list(self._lost.values()))
        if self._waiting:
            raise BoardError(
                f"no board of model {self._waiting[0].model} is there for {self._waiting[0].name}"
            )

    def stop(self) -> None:
        """Make `run` raise Stopped, now or when it is called; from any thread."""
        self._events.put(None)

    def _assign(self) -> None:
        for charge in self._charges:
            name = charge.instance.name
            if name in self._lost or name in self._work:
                continue
            task = next((task for task in self._waiting if task.model == charge.model.name), None)
            if task is not None:
                self._waiting.remove(task)
                self._attempt(charge, task, Climb(charge.rungs))

    def _attempt(self, charge: Charge, task: Task, climb: Climb) -> None:
        task.attempt += 1
        self._start(charge, _Work(task, climb), task.job, task.deadline_s)

    def _start(self, charge: Charge, work: _Work, job: AnyJob, deadline_s: float) -> None:
        name = charge.instance.name
        if name not in self._workers:
            self._workers[name] = WorkerProcess(charge, self._events, self._argv)
        self._work[name] = work
        self._workers[name].start(job, deadline_s)

    def _take(self, worker: WorkerProcess, event: Event | None) -> None:
        if self._workers.get(worker.board) is not worker:
            return
        work = self._work.get(worker.board)
        if work is None:
            if event is None:  # it died with nothing to do: the board's next task starts a fresh one
                self._end(worker)
        elif event is None:
            self._fail(worker, work, WorkerError(f"{work.what(worker.board)}: {worker.obituary()}"))
        elif event["event"] == "error":
            self._fail(worker, work, _as_exception(work.what(worker.board), event))
        elif event["event"] == "done":
            self._finish(worker, work, event)
        else:
            if event["event"] == "attached":
                worker.has_attached()
            if work.rung is None or event["event"] == "waiting":
                self._tell(work.task, worker.board, event)

    def _finish(self, worker: WorkerProcess, work: _Work, event: Event) -> None:
        worker.rest()
        del self._work[worker.board]
        if work.rung is None:
            self._tell(work.task, worker.board, event)
            return
        self._tell_rung(worker.board, work, work.rung, None)
        self._attempt(worker.charge, work.task, work.climb)

    def _fail(self, worker: WorkerProcess, work: _Work, error: FqtbenchError) -> None:
        if work.rung is not None:
            self._end(worker)
            self._tell_rung(worker.board, work, work.rung, error)
            self._climb(worker.charge, work, work.climb.after_failed_rung(), work.rung.error, error)
            return
        if isinstance(error, UsageError):
            raise error
        self._end(worker)
        rung = work.climb.after(error) if work.task.job.retried else None
        failed = {"attempt": work.task.attempt, "class": type(error).__name__, "reason": str(error)}
        times = {"began": work.began, "ended": now()}
        self._tell(work.task, worker.board, {"event": "failed", **failed, **times, "rung": _name(rung)})
        self._climb(worker.charge, work, rung, error)

    def _climb(
        self,
        charge: Charge,
        work: _Work,
        rung: Rung | None,
        error: FqtbenchError,
        why: FqtbenchError | None = None,
    ) -> None:
        """Go on after `error`: by a rung and another attempt, or without this board. `why`: what a rung failed by."""
        task, board = work.task, charge.instance.name
        retry = {"event": "retry", "attempt": task.attempt + 1, "reason": str(why or error)}
        if rung is None:
            self._lost[board] = _after_all(error, work.climb.failures)
            if any(c.model.name == task.model and c.instance.name not in self._lost for c in self._charges):
                self._waiting.appendleft(task)
                self._tell(task, board, {**retry, "rung": None})
            elif self._work:
                self._tell(task, board, {"event": "lost", "reason": str(error)})
            return
        self._tell(task, board, {**retry, "rung": _name(rung)})
        if rung is Rung.FRESH_WORKER:
            self._attempt(charge, task, work.climb)
        else:
            taking = _Work(task, work.climb, _Rung(rung, error))
            self._start(charge, taking, RestoreJob(rung=rung), RUNG_DEADLINE_S)

    def _tell_rung(self, board: str, work: _Work, taken: _Rung, error: FqtbenchError | None) -> None:
        outcome: Event = {"class": None, "reason": None}
        if error is not None:
            outcome = {"class": type(error).__name__, "reason": str(error)}
        times = {"began": work.began, "ended": now()}
        self._tell(work.task, board, {"event": "rung", "rung": str(taken.rung), **outcome, **times})

    def _end(self, worker: WorkerProcess) -> None:
        worker.end(time.monotonic() + END_DEADLINE_S)  # first, so that Ctrl-C in here finds it to end
        del self._workers[worker.board]
        self._work.pop(worker.board, None)

    def _patience_s(self) -> float:
        """Seconds until the next deadline; never long, so that Ctrl-C is noticed on every system."""
        late = [self._workers[board].late_at_s for board in self._work]
        return min(max(min(late) - time.monotonic(), 0), _LONGEST_WAIT_S)

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        for board, work in list(self._work.items()):
            worker = self._workers[board]
            if now >= worker.late_at_s:
                deadline_s = work.task.deadline_s if work.rung is None else RUNG_DEADLINE_S
                hint = "is the board alive"
                hint += ", or is `deadline_s` too short?" if work.rung is None else "?"
                message = (
                    f"{work.what(board)}: not done within its deadline of {deadline_s:g} s, ended; {hint}"
                )
                self._fail(worker, work, DeadlineError(message))


def _ignore(task: Task, board: str, event: Event) -> None:
    pass


def _name(rung: Rung | None) -> str | None:
    return None if rung is None else str(rung)


def _after_all(error: FqtbenchError, attempts: int) -> FqtbenchError:
    """Return the error of a board that is given up, saying how often it was tried if it was more than once."""
    if attempts <= 1:
        return error
    last = type(error)(f"{error} (given up after {attempts} attempts)")
    for note in getattr(error, "__notes__", ()):
        last.add_note(note)
    return last


def together(failures: Sequence[FqtbenchError]) -> FqtbenchError:
    """Return one error for those of several boards."""
    if len(failures) == 1:
        return failures[0]
    said = "; ".join(f"({number}) {failure}" for number, failure in enumerate(failures, 1))
    error = BoardError(f"{len(failures)} boards failed: {said}")
    for failure in failures:
        for note in getattr(failure, "__notes__", ()):
            error.add_note(note)
    return error


def _as_exception(what: str, event: Event) -> FqtbenchError:
    """Return the error that a worker reported."""
    message = str(event["message"])
    message = message if message.startswith("board ") else f"{what}: {message}"
    return error_of(str(event["class"]), message, str(event.get("traceback", "")))


def error_of(kind: str, message: str, traceback: str) -> FqtbenchError:
    """Return an error that was reported, as the class whose name is `kind`."""
    known = getattr(errors, kind, None)
    if not (isinstance(known, type) and issubclass(known, FqtbenchError)):
        known = FqtbenchError
    error = known(message)
    error.add_note(traceback)
    return error
