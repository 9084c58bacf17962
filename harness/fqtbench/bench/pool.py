"""Worker processes under supervision: who works on what, until when, and what happens when it goes wrong.

One worker per board. The pool's owner calls `Pool.run` and gets every event in its own thread, one at a time, so that
the parent alone writes results. A worker that is late is killed; when the owner leaves, for whatever reason, every
worker and every launched board ends.
"""

import json
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from fqtbench import errors
from fqtbench.bench.job import AnyJob, Charge
from fqtbench.errors import BoardError, FlashError, FqtbenchError, LinkError, UsageError

Event = dict[str, Any]
RETRYABLE: Final = (FlashError, LinkError)  # a loose plug, noise on a line; everything else would fail again
MAX_ATTEMPTS: Final = 3
WORKER: Final = (sys.executable, "-m", "fqtbench.bench.serve")
_END_DEADLINE_S: Final = 1.0
_LONGEST_WAIT_S: Final = 1.0
_LAST_WORDS: Final = 50


@dataclass
class Task:
    """A job for any board of model `model`; `name` is what messages call it."""

    name: str
    model: str
    job: AnyJob
    deadline_s: float
    attempt: int = field(default=1, init=False)


Listener = Callable[[Task, str, Event], None]
_Events = queue.Queue[tuple["_Worker", Event | None] | None]  # None: stop


class Stopped(Exception):  # noqa: N818  (no error: somebody wanted it)
    """`Pool.stop` was called."""


class _Worker:
    """A worker process seen from its parent."""

    def __init__(self, charge: Charge, events: "_Events", argv: Sequence[str]) -> None:
        self.charge = charge
        self.task: Task | None = None
        self.late_at_s = 0.0
        self.attached = False
        self.last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the terminal goes to the parent, which ends the workers
        )
        self._threads = [
            threading.Thread(target=self._read_events, args=(events,), daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._send(charge.model_dump_json())

    @property
    def board(self) -> str:
        return self.charge.instance.name

    def start(self, task: Task) -> None:
        self.task = task
        # What it waits at the probe's lock is somebody else's run, not its own.
        wait_s = 0.0 if self.attached else self.charge.patience_s
        self.late_at_s = time.monotonic() + wait_s + task.deadline_s
        self._send(task.job.model_dump_json())

    def close_input(self) -> None:
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def end(self, deadline_s: float) -> None:
        """Wait for the process to end by itself until the deadline, then kill it. Its launched board follows it."""
        self.close_input()
        try:
            self._process.wait(max(deadline_s - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def obituary(self) -> str:
        code = self._process.wait()
        self._threads[1].join(_END_DEADLINE_S)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = f": {self.last_words[-1]}" if self.last_words else ""
        return f"its worker process ended unexpectedly ({how}){said}"

    def _send(self, line: str) -> None:
        with suppress(OSError):  # a dead worker is noticed by the end of its output
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def _read_events(self, events: "_Events") -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                events.put((self, json.loads(line)))
            except ValueError:
                self.last_words.append(f"not an event: {line[:200]!r}")
        events.put((self, None))

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode(errors="replace").strip()
            if text:
                self.last_words.append(text)


class Pool:
    """Workers for `charges`, one each. Use as a context: leaving it ends them all within about a second."""

    def __init__(self, charges: Iterable[Charge], worker: Sequence[str] = WORKER) -> None:
        self._charges = list(charges)
        self._argv = worker
        self._events: _Events = queue.Queue()
        self._workers: dict[str, _Worker] = {}
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
        deadline_s = time.monotonic() + _END_DEADLINE_S
        for worker in workers:
            worker.end(deadline_s)

    def run(self, tasks: Iterable[Task], on_event: Listener) -> None:
        """Do all tasks, in their order, on as many boards as there are; `on_event` gets (task, board, event).

        The event ``done`` comes once for each task that was done. A failure that may pass is tried again on a fresh
        worker; at any other the board is given up, and its task goes to another board of that model. Both come as an
        event ``retry``; where no such board is left and others are at work, the event is ``lost``. When these have
        done what they can, the failures are raised as one error. A UsageError, which no board can help, is raised at
        once, and the tasks in flight are abandoned. Raises Stopped once `stop` was called.
        """
        self._waiting, self._lost, self._tell = deque(tasks), {}, on_event
        self._assign()
        while self._at_work():
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

    def _at_work(self) -> bool:
        return any(worker.task is not None for worker in self._workers.values())

    def _assign(self) -> None:
        for charge in self._charges:
            name = charge.instance.name
            if name in self._lost or (name in self._workers and self._workers[name].task is not None):
                continue
            task = next((task for task in self._waiting if task.model == charge.model.name), None)
            if task is None:
                continue
            self._waiting.remove(task)
            if name not in self._workers:
                self._workers[name] = _Worker(charge, self._events, self._argv)
            self._workers[name].start(task)

    def _take(self, worker: _Worker, event: Event | None) -> None:
        if self._workers.get(worker.board) is not worker:
            return
        task = worker.task
        if task is None:
            if event is None:  # it died with nothing to do: the board's next task starts a fresh one
                self._end(worker)
        elif event is None:
            self._fail(worker, task, BoardError(f"{_what(task, worker)}: {worker.obituary()}"))
        elif event["event"] == "error":
            self._fail(worker, task, _as_exception(_what(task, worker), event))
        else:
            if event["event"] == "attached" and not worker.attached:
                worker.attached = True
                worker.late_at_s = time.monotonic() + task.deadline_s
            if event["event"] == "done":
                worker.task = None
            self._tell(task, worker.board, event)

    def _fail(self, worker: _Worker, task: Task, error: FqtbenchError) -> None:
        if isinstance(error, UsageError):
            raise error
        self._end(worker)
        if not isinstance(error, RETRYABLE) or task.attempt >= MAX_ATTEMPTS:
            self._lost[worker.board] = error
        if any(c.model.name == task.model and c.instance.name not in self._lost for c in self._charges):
            task.attempt += 1
            self._waiting.appendleft(task)
            self._tell(task, worker.board, {"event": "retry", "attempt": task.attempt, "reason": str(error)})
        elif self._at_work():
            self._tell(task, worker.board, {"event": "lost", "reason": str(error)})

    def _end(self, worker: _Worker) -> None:
        del self._workers[worker.board]
        worker.end(time.monotonic() + _END_DEADLINE_S)

    def _patience_s(self) -> float:
        """Seconds until the next deadline; never long, so that Ctrl-C is noticed on every system."""
        late = [w.late_at_s for w in self._workers.values() if w.task is not None]
        return min(max(min(late) - time.monotonic(), 0), _LONGEST_WAIT_S)

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers.values()):
            if worker.task is not None and now >= worker.late_at_s:
                message = (
                    f"{_what(worker.task, worker)}: not done within its deadline of {worker.task.deadline_s:g} s, "
                    "ended; is the board alive, or is `deadline_s` too short?"
                )
                self._fail(worker, worker.task, BoardError(message))


def _ignore(task: Task, board: str, event: Event) -> None:
    pass


def _what(task: Task, worker: _Worker) -> str:
    return f"{task.name} on board {worker.board}"


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
