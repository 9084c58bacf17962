"""labgrid's places, through its command line: labgrid lives in an environment of its own (docs/bench.md)."""

import getpass
import os
import re
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fqtbench.errors import BoardError
from fqtbench.printable import printable

_DEADLINE_S: Final = 30.0
_FACT: Final = re.compile(r"^  (acquired|changed): (.*)$", re.MULTILINE)
_OURS: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # would lead its Python into our environment


@dataclass(frozen=True)
class Booking:
    """Who has a place, as "host/user", None if nobody; and since when, in labgrid's words."""

    holder: str | None
    changed: str


class Client:
    """The client of `argv`; every call ends within its deadline, or raises BoardError."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)

    @property
    def shown(self) -> str:
        """The command, for messages."""
        return " ".join(self._argv)

    def show(self, place: str) -> Booking:
        """Return who has the place."""
        done = self._call(place, "show")
        facts = _FACT.findall(done.stdout)
        if done.returncode != 0 or not done.stdout.startswith(f"Place '{place}':\n"):
            raise BoardError(f"labgrid place {place}: `{self.shown}` does not know it: {_last_line(done)}")
        if [name for name, _ in facts] != ["acquired", "changed"]:
            raise BoardError(
                f"labgrid place {place}: `{self.shown}` does not say who has it; is it labgrid's client?"
            )
        (_, holder), (_, changed) = facts
        return Booking(None if holder == "None" else printable(holder), changed)

    def acquire(self, place: str) -> str | None:
        """Acquire the place; returns what labgrid says against it."""
        done = self._call(place, "acquire")
        return None if done.returncode == 0 else _last_line(done)

    def release(self, place: str) -> None:
        """Release the place; one that is not held stays so."""
        self._call(place, "release")

    def _call(self, place: str, action: str) -> "subprocess.CompletedProcess[str]":
        environment = {key: value for key, value in os.environ.items() if key not in _OURS}
        try:
            return subprocess.run(
                [*self._argv, "-p", place, action],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_DEADLINE_S,
                check=False,
            )
        except OSError as error:
            raise BoardError(
                f"labgrid place {place}: can't start `{self.shown}`: {error.strerror}; `labgrid` in the bench file "
                "says where the client is"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise BoardError(
                f"labgrid place {place}: `{self.shown} {action}` took longer than {_DEADLINE_S:g} s; "
                "does the coordinator answer?"
            ) from error


def ourselves() -> str:
    """Return "host/user", as the client calls this user on this host."""
    host = os.environ.get("LG_HOSTNAME") or socket.gethostname()
    return f"{host}/{os.environ.get('LG_USERNAME') or getpass.getuser()}"


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    lines = (done.stderr + done.stdout).strip().splitlines()
    return printable(lines[-1]) if lines else f"exit code {done.returncode}, and it said nothing"
