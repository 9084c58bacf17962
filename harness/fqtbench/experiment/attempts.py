"""What went wrong on the way: a line for each attempt at a run that failed, and for each rung of the ladder after it.

A file of its own, in the journal's form: a line of the journal commits a run, and says nothing else.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fqtbench.durable import sync_folder
from fqtbench.errors import ResultError
from fqtbench.experiment import journal

ATTEMPTS: Final = "attempts"
Text = Annotated[str, Field(max_length=20_000)]


class Attempt(BaseModel):
    """A line: an attempt that failed, or a rung that was taken before the next one.

    `class` and `reason` are null for a rung that went well. `rung` is the one that was taken; of an attempt the one
    that was to follow, null if the board was given up. Times are UTC, ISO 8601. `attempt` counts over all invocations.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    kind: Literal["failed", "rung"]
    run_id: Text
    label: Text
    board: Text
    attempt: int | None = None
    error_class: Annotated[Text | None, Field(alias="class")]
    reason: Text | None
    rung: Text | None
    began: Text
    ended: Text

    @property
    def words(self) -> str:
        """What happened, for a table."""
        what = f"{self.rung}: " if self.kind == "rung" else ""
        return what + ("done" if self.error_class is None else f"{self.error_class}: {self.reason}")


def attempt_of(event: Mapping[str, Any], run_id: str, label: str, board: str) -> Attempt:
    """Return the line for an event ``failed`` or ``rung`` of the pool."""
    return Attempt.model_validate(
        {**event, "kind": event["event"], "run_id": run_id, "label": label, "board": board}
    )


def load_attempts(folder: Path) -> list[Attempt]:
    """Return the lines of a results folder, none if nothing failed there; ResultError if they are damaged."""
    path = folder / ATTEMPTS
    return _parse(path, journal.read(path)) if path.exists() else []


class AttemptLog:
    """The lines of a folder that is held for writing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ATTEMPTS
        self._failures: dict[str, int] = {}

    def open(self) -> None:
        """Read what is there; a line that a crash tore is cut off. Raises OSError, ResultError."""
        if self._path.exists():
            content = journal.read(self._path)
            if content.torn:
                journal.cut(self._path, content.good_bytes)
            for attempt in _parse(self._path, content):
                self._count(attempt)

    def add(self, attempt: Attempt) -> None:
        """Append a line and see it on the disk; raises OSError."""
        is_new = not self._path.exists()
        journal.append(self._path, attempt.model_dump(by_alias=True))
        if is_new:
            sync_folder(self._path.parent)
        self._count(attempt)

    def failures(self, run_id: str) -> int:
        """Return how many attempts at a run have failed, in this invocation and before."""
        return self._failures.get(run_id, 0)

    def _count(self, attempt: Attempt) -> None:
        if attempt.kind == "failed":
            self._failures[attempt.run_id] = self.failures(attempt.run_id) + 1


def _parse(path: Path, content: journal.Content) -> list[Attempt]:
    try:
        return [Attempt.model_validate(entry) for entry in content.entries]
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ResultError(
            f"{path}: a line is no attempt ({'.'.join(map(str, wrong['loc']))}: {wrong['msg']}); restore it from a copy"
        ) from error
