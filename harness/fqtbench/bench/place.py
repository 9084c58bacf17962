"""A board's labgrid place, booked while the context lasts, by a process that outlives a killed worker long enough."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from fqtbench import errors
from fqtbench.bench.place_keeper import Errand
from fqtbench.board import BoardInstance
from fqtbench.errors import BoardError

_KEEPER: Final = (sys.executable, "-m", "fqtbench.bench.place_keeper")


class Place:
    """Books the place of `board`; BusyError, naming who has it, if it isn't free within `patience_s`.

    The keeper bounds each of its steps, so nothing here needs a deadline. `on_wait` is told whom it waits for.
    """

    def __init__(self, board: BoardInstance, patience_s: float, on_wait: Callable[[str], None]) -> None:
        assert board.place is not None, "the caller's check"
        self._errand = Errand(
            board=board.name, place=board.place, client=board.labgrid, patience_s=patience_s
        )
        self._on_wait = on_wait
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            _KEEPER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a worker's would stay open behind it
            text=True,
            start_new_session=True,  # what ends the worker's group must not keep the place booked
        )
        try:
            self._book(self._process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Let the keeper release the place, which takes longer than a worker has."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _book(self, keeper: "subprocess.Popen[str]") -> None:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        keeper.stdin.write(self._errand.model_dump_json() + "\n")
        keeper.stdin.flush()
        for line in keeper.stdout:
            event: dict[str, Any] = json.loads(line)
            match event["event"]:
                case "held":
                    return
                case "waiting":
                    self._on_wait(event["text"])
                case _:
                    kind = getattr(errors, event["class"], BoardError)
                    raise kind(event["message"])
        raise BoardError(f"labgrid place {self._errand.place}: its keeper ended before it had it; try again")
