"""The matrix of faults: each is declared once, at the test that injects it; what happened is written for the document.

With FQTBENCH_RELIABILITY=FOLDER in the environment each test leaves FOLDER/<key>.json, and the declaration in it, so
that docs/reliability.md needs nothing else (benchmarks/reliability.py).
"""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

FOLDER: Final = "FQTBENCH_RELIABILITY"
_Test = TypeVar("_Test", bound=Callable[..., None])
_ATTRIBUTE: Final = "reliability_fault"


_PLACES: Final = (
    (r"\S*/fqtbench-\w+/uart", "SERIAL"),
    (r"remote:127\.0\.0\.1:\d+", "PROBE"),
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
NOT_COVERED: Final = (
    (
        Fault(
            "the power monitor is gone in the middle of a window",
            "–",
            "the run is tried again, no energy is invented",
        ),
        "the only monitor so far is a model, which cannot go; comes with the first instrument",
    ),
    (
        Fault("a Dask worker or the scheduler is killed", "–", "the run is done again, recorded once"),
        "comes with suites that run over many hosts",
    ),
    (
        Fault(
            "single bytes on the UART come twice, so that a frame is longer than the device's buffer",
            "`Trouble(repeat_one_in=500)`",
            "the frames are sent again",
        ),
        "where the ring drops a frame that is too long, the firmware does not count it among those that RTS has "
        "admitted (`link_poll`, RING_OVERLONG): RTS does not fall anew, and a virtual board, whose time RTS drives, "
        "stands still. Each attempt ends with `LinkError` after 60 s of silence, and a reset mends it. A real board "
        "needs no RTS. To be mended with the next build of the firmware",
    ),
)


def anonymous(told: str, folder: Path) -> str:
    """Return a line without what differs from one computer or run to the next."""
    for pattern, word in ((re.escape(str(folder)), "DIR"), *_PLACES):
        told = re.sub(pattern, word, told)
    return told


def injects(what: str, injected: str, expected: str) -> Callable[[_Test], _Test]:
    """Declare the fault that a test injects; the test has a parameter `outcome`."""

    def declare(test: _Test) -> _Test:
        setattr(test, _ATTRIBUTE, Fault(what, injected, expected))
        return test

    return declare


def outcome_of(test: Callable[..., None], place: str, folder: Path) -> Outcome:
    """Return the outcome of a declared test, which writes below `folder`; it is not known yet."""
    key = test.__name__.removeprefix("test_").replace("_", "-")
    return Outcome(key, getattr(test, _ATTRIBUTE), place, folder)
