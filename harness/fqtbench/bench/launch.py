"""Where a board is: at the addresses of its description, or at those that its launched command prints."""

import json
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fqtbench.board import BoardInstance, Origin
from fqtbench.errors import LaunchError

_FIRST_LINE_DEADLINE_S: Final = 60.0  # a cold virtual board compiles its hooks first
_END_DEADLINE_S: Final = 2.0
_LINE_LIMIT: Final = 65_536


class Addresses(BaseModel):
    """A board's probe id, serial URL, power monitor URL and profiler URL, and where its cycle counts come from.

    `cycles_uncertainty`: the fraction by which a chip's may differ from these, as the model that counts them states it.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    probe: Annotated[str, Field(min_length=1)]
    serial: Annotated[str, Field(min_length=1)]
    power: str = "modelled:"
    profiler: str | None = None
    cycles: Origin = "measured"
    timing_model_id: str | None = None
    cycles_uncertainty: Annotated[float, Field(ge=0, le=1)] | None = None
    unique_id: str | int | None = None


class Attachment:
    """A board that is there while the context lasts; `addresses` says where.

    A launched command gets a pipe as its standard input, and ends when that closes: with the context, or with this
    process, however it dies.
    """

    addresses: Addresses

    def __init__(self, board: BoardInstance) -> None:
        self._board = board
        self._process: subprocess.Popen[bytes] | None = None
        self._last_words: deque[str] = deque(maxlen=20)

    def __enter__(self) -> Self:
        board = self._board
        if board.launch is None:
            self.addresses = Addresses(
                probe=board.probe or "", serial=board.serial or "", power=board.power, cycles=board.cycles
            )
            return self
        try:
            self._launch(board.launch)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.end()

    def has_ended(self, patience_s: float = 0.0) -> bool:
        """Whether a launched command has ended although nobody told it to, or does so within `patience_s`."""
        if self._process is None:
            return False
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        return self._process.poll() is not None

    def last_words(self) -> str:
        """Return the last line that the launched command wrote to its standard error, or nothing."""
        return self._last_words[-1] if self._last_words else ""

    def end(self, patience_s: float = _END_DEADLINE_S) -> None:
        """End the launched command: by closing its input, and if it doesn't mind that, by killing its group."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            kill_group(process)
            process.wait()

    def _launch(self, command: tuple[str, ...]) -> None:
        shown = " ".join(command)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C at the terminal is ours to handle, and a group can be killed
            )
        except OSError as error:
            raise LaunchError(
                f"board {self._board.name}: can't launch `{shown}`: {error.strerror}"
            ) from error
        lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._drain_output, args=(self._process, lines), daemon=True).start()
        errors = threading.Thread(target=self._drain_errors, args=(self._process,), daemon=True)
        errors.start()
        try:
            line = lines.get(timeout=_FIRST_LINE_DEADLINE_S)
        except queue.Empty:
            raise LaunchError(
                f"board {self._board.name}: `{shown}` printed no addresses within {_FIRST_LINE_DEADLINE_S:.0f} s"
            ) from None
        if not line:
            errors.join(_END_DEADLINE_S)
            raise LaunchError(
                f"board {self._board.name}: `{shown}` ended before it printed its addresses: "
                f"{self.last_words() or 'it said nothing'}"
            )
        self.addresses = self._parse(line, shown)

    def _parse(self, line: bytes, shown: str) -> Addresses:
        try:
            return Addresses.model_validate(json.loads(line))
        except (ValueError, ValidationError) as error:
            raise LaunchError(
                f"board {self._board.name}: the first line of `{shown}` is not JSON with `probe` and `serial`: "
                f"{line[:80]!r}"
            ) from error

    @staticmethod
    def _drain_output(process: subprocess.Popen[bytes], lines: "queue.Queue[bytes]") -> None:
        assert process.stdout is not None
        lines.put(process.stdout.readline(_LINE_LIMIT))
        while process.stdout.read(_LINE_LIMIT):
            pass

    def _drain_errors(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            text = line.decode(errors="replace").strip()
            if text:
                self._last_words.append(text)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group, and the group with it."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
