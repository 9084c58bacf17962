"""The matrix of faults: each is declared once, at the test that injects it; what happened is written for the document.

With FQTBENCH_RELIABILITY=FOLDER in the environment each test leaves FOLDER/<key>.json, and the declaration in it, so
that docs/reliability.md needs nothing else (benchmarks/reliability.py).
"""

import json
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from tests.processes import MARKER

FOLDER: Final = "FQTBENCH_RELIABILITY"
_Test = TypeVar("_Test", bound=Callable[..., None])
_ATTRIBUTE: Final = "reliability_fault"


_PLACES: Final = (
    (r"\S*/fqtbench-\w+/uart", "SERIAL"),
    (r"remote:127\.0\.0\.1:\d+", "PROBE"),
    (r"tcp://127\.0\.0\.1:\d+", "ADDRESS"),
    (r"fqtbench-[0-9a-f]{32}-\d+", "TASK"),
    (r"process \d+ of \S+", "process PID of USER"),
    (r"[0-9a-f]{64}", "RUN"),
)


@dataclass(frozen=True)
class Fault:
    """A fault: what happens to which part, how a test makes it happen, and what must come of it."""

    what: str
    injected: str
    expected: str


@dataclass
class Outcome:
    """What came of it; `happened` stays empty if the test failed.

    `attempts`: of the run or command, where that can be told. `told`: the line that the user is told.
    """

    key: str
    fault: Fault
    test: str
    folder: Path = field(repr=False)
    happened: str = ""
    attempts: int | None = None
    told: str = ""
    seconds: float = 0.0
    _began_s: float = field(default_factory=time.monotonic, repr=False)

    def is_(self, happened: str, *, attempts: int | None = None, told: str = "") -> None:
        """Say what happened; the last statement of a test, behind its assertions."""
        self.happened, self.attempts, self.told = happened, attempts, anonymous(told, self.folder)
        self.write()

    def write(self) -> None:
        """Write it, if it is wanted."""
        self.seconds = round(time.monotonic() - self._began_s, 1)
        folder = os.environ.get(FOLDER)
        if folder:
            content: dict[str, Any] = asdict(self)
            del content["_began_s"], content["folder"]
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            (Path(folder) / f"{self.key}.json").write_text(text, "utf-8")


# What is asked for and no test injects yet, or what is not survived, with the reason.
NOT_COVERED: Final[tuple[tuple[Fault, str], ...]] = ()


def anonymous(told: str, folder: Path) -> str:
    """Return a line without what differs from one computer or run to the next."""
    for pattern, word in ((re.escape(str(folder)), "DIR"), *_PLACES):
        told = re.sub(pattern, word, told)
    return told


def injects(what: str, injected: str, expected: str) -> Callable[[_Test], _Test]:
    """Declare the fault that a test injects; the test has a parameter `outcome`. It gets the marker `fault`."""

    def declare(test: _Test) -> _Test:
        setattr(test, _ATTRIBUTE, Fault(what, injected, expected))
        return pytest.mark.fault(test)

    return declare


@pytest.fixture
def outcome(request: pytest.FixtureRequest, tmp_path: Path) -> Outcome:
    """The outcome of the fault that the test declares; until the test says otherwise, nothing good."""
    test = request.function
    key = test.__name__.removeprefix("test_").replace("_", "-")
    found = Outcome(key, getattr(test, _ATTRIBUTE), request.node.nodeid, tmp_path)
    found.write()
    return found


@pytest.fixture
def word(monkeypatch: pytest.MonkeyPatch) -> str:
    """The word that marks the processes of a test."""
    word = uuid.uuid4().hex
    monkeypatch.setenv(MARKER, word)
    return word
