"""A worker process seen from its parent: it gets jobs, its events come out of a queue, it can be ended."""

import json
import math
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from fqtbench.bench.job import AnyJob, Charge
from fqtbench.processes import reap

Event = dict[str, Any]
Events = queue.Queue[tuple["WorkerProcess", Event | None] | None]  # None: stop
END_DEADLINE_S: Final = 1.0
_LAST_WORDS: Final = 50


class WorkerProcess:
    """The process; its events, then None when it has ended, go into `events` with it."""

    def __init__(self, charge: Charge, events: "Events", argv: Sequence[str]) -> None:
        self.charge = charge
        self.late_at_s = math.inf
        self.attached = False
        self._deadline_s = 0.0
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
        """Name of the board that it is in charge of."""
        return self.charge.instance.name

    def start(self, job: AnyJob, deadline_s: float) -> None:
        """Send a job, which may take `deadline_s` from when the worker has its board."""
        # What it waits at the probe's lock is somebody else's run, not its own.
        wait_s = 0.0 if self.attached else self.charge.patience_s
        self.late_at_s, self._deadline_s = time.monotonic() + wait_s + deadline_s, deadline_s
        self._send(job.model_dump_json())

    def has_attached(self) -> None:
        """It has its board: the job's deadline begins, unless an earlier job got it."""
        if not self.attached:
            self.attached = True
            self.late_at_s = time.monotonic() + self._deadline_s

    def rest(self) -> None:
        """Its job is done: it is never late."""
        self.late_at_s = math.inf

    def close_input(self) -> None:
        """Tell it to end."""
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
            reap(self._process)

    def obituary(self) -> str:
        """Return how a worker that has ended by itself did so, and its last words."""
        self.end(time.monotonic() + END_DEADLINE_S)  # it has closed its output, and may still be dying
        code = self._process.returncode or 0
        self._threads[1].join(END_DEADLINE_S)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = f": {self.last_words[-1]}" if self.last_words else ""
        return f"its worker process ended unexpectedly ({how}){said}"

    def _send(self, line: str) -> None:
        with suppress(OSError):  # a dead worker is noticed by the end of its output
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def _read_events(self, events: "Events") -> None:
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
