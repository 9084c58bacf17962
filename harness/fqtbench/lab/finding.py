"""A finding: what is wrong with what, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum

from fqtbench.errors import FqtbenchError


class Severity(StrEnum):
    """`ERROR`: the board would not work. `WARNING`: it would, for now or not well. `NOTE`: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """What a check found. `about` names the object; `check` is the check's name, for programs."""

    check: str
    severity: Severity
    about: str
    wrong: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.about}: {self.wrong}"


def finding_of(check: str, about: str, error: FqtbenchError | str) -> Finding:
    """Return the finding that one of our errors makes: it says what is wrong, and behind a semicolon what to do."""
    wrong, _, remedy = str(error).partition("; ")
    wrong = wrong.removeprefix(f"{about}: ")
    return Finding(check, Severity.ERROR, about, wrong, remedy or "see docs/bench.md")
