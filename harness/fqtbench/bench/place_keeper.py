"""The process that holds a labgrid place: ``python -m fqtbench.bench.place_keeper``, started by `fqtbench.bench.place`.

Standard input: an `Errand`, JSON, in one line; the place is held until it closes, which it does however the worker
dies. Standard output: events, JSON, one a line: ``waiting``, then ``held`` or ``error``. So the place of a killed
worker is released all the same, and while that goes on, the lock that this process holds keeps others on this host
waiting.
"""

import json
import os
import sys
import threading
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import platformdirs
from pydantic import BaseModel, ConfigDict

from fqtbench.bench.labgrid import Booking, Client, ourselves
from fqtbench.bench.lock import ProbeLock
from fqtbench.durable import write_durably
from fqtbench.errors import BusyError, FqtbenchError

_POLL_S: Final = 2.0
_RELEASE_S: Final = 10.0  # what the keeper before us may take to release, on a loaded host


class Errand(BaseModel):
    """Which place is wanted for which board, by which client, and how long to wait for it, s."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    board: str
    place: str
    client: tuple[str, ...]
    patience_s: float


class Keeper:
    """Books a place for a worker. `gone` is set when the worker is."""

    def __init__(self, errand: Errand, gone: threading.Event) -> None:
        self._errand, self._gone = errand, gone
        self._waiting = True
        self._client = Client(errand.client)
        self._mark = _mark_path(errand)

    def keep(self) -> None:
        """Book the place, hold it until the worker is gone, release it unless it was booked by hand before."""
        errand = self._errand
        lock = ProbeLock(
            errand.place,
            errand.board,
            patience_s=max(errand.patience_s, _RELEASE_S),
            on_wait=lambda text: emit("waiting", text=text),
            what="labgrid place",
        )
        threading.Thread(target=self._end_while_waiting, daemon=True).start()
        with lock:
            self._waiting = False
            ours = self._book()
            try:
                emit("held", ours=ours)
                self._gone.wait()
            finally:
                if ours:
                    self._client.release(errand.place)
                    self._mark.unlink(missing_ok=True)

    def _end_while_waiting(self) -> None:
        """Nothing is held yet that would have to be released."""
        self._gone.wait()
        if self._waiting:
            os._exit(0)

    def _book(self) -> bool:
        """Return whether the place is to be released afterwards."""
        late_at_s = time.monotonic() + self._errand.patience_s
        told = False
        while True:
            found = self._client.show(self._errand.place)
            if found.holder is None:
                objection = self._client.acquire(self._errand.place)
                found = self._client.show(self._errand.place)
                if objection is None and found.holder == ourselves():
                    self._remember(found)
                    return True
                if found.holder is None:
                    raise BusyError(
                        f"board {self._errand.board}: labgrid place {self._errand.place}: {objection}"
                    )
            if found.holder == ourselves():
                return self._is_left_over(found)
            if time.monotonic() >= late_at_s or self._gone.is_set():
                raise self._taken(found)
            if not told:
                emit(
                    "waiting",
                    text=f"waiting for labgrid place {self._errand.place}, in use by {found.holder}",
                )
                told = True
            self._gone.wait(_POLL_S)

    def _remember(self, booking: Booking) -> None:
        self._mark.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self._mark, booking.changed.encode())

    def _is_left_over(self, booking: Booking) -> bool:
        """Whether this very booking was made by a keeper that was killed, or whose host lost its power.

        Under the lock there is no other keeper on this host; without such a mark, its user has booked the place.
        """
        with suppress(OSError):
            return self._mark.read_bytes() == booking.changed.encode()
        return False

    def _taken(self, booking: Booking) -> BusyError:
        errand, holder = self._errand, booking.holder or ""
        user = ourselves().partition("/")[2]
        advice = "wait for it (`fqtbench run --wait SECONDS`), or ask them"
        if holder.endswith(f"/{user}"):
            where = holder.removesuffix(f"/{user}")
            advice = f"that is you on {where}: if nothing runs there, `{self._client.shown} -p {errand.place} release`"
        taken = f"labgrid place {errand.place} is in use by {holder} since {booking.changed}"
        return BusyError(f"board {errand.board}: {taken}; {advice}")


def emit(event: str, **facts: Any) -> None:
    """Send one event to the worker; one that is gone hears nothing."""
    with suppress(OSError):
        print(json.dumps({"event": event, **facts}), flush=True)


def _mark_path(errand: Errand) -> Path:
    name = sha256(json.dumps([errand.client, errand.place]).encode()).hexdigest()[:16]
    return platformdirs.user_state_path("fqtbench") / "places" / name


def main() -> None:
    """Read the errand, do it."""
    errand = Errand.model_validate_json(sys.stdin.readline())
    gone = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        gone.set()

    threading.Thread(target=watch, daemon=True).start()
    try:
        Keeper(errand, gone).keep()
    except FqtbenchError as error:
        emit("error", **{"class": type(error).__name__}, message=str(error))
    except Exception as error:
        emit(
            "error",
            **{"class": "BoardError"},
            message=f"labgrid place {errand.place}: {type(error).__name__}: {error}",
        )


if __name__ == "__main__":
    main()
