"""The files that a journal commits, each checked against its hash; and a copy of them into another folder."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fqtbench.errors import ResultError
from fqtbench.experiment import journal
from fqtbench.experiment.store import JOURNAL, Store

_OF_THE_JOURNAL: Final = {"kind", "run_id", "attempt", "files"}
_MADE_AGAIN: Final = ("manifest.json", "summary.csv")


@dataclass(frozen=True)
class CommittedRun:
    """A recorded run as `Store.record` takes it: its files by name, and the facts of its journal line."""

    run_id: str
    files: dict[str, bytes]
    facts: dict[str, Any]


def suite_entry(folder: Path) -> dict[str, Any]:
    """Return name and sha256 of the suite that a results folder is of; ResultError if it is none."""
    path = folder / JOURNAL
    if not path.is_file():
        raise ResultError(
            f"{folder}: no results folder (it has no file `{JOURNAL}`); `fqtbench run` makes one"
        )
    entries = journal.read(path).entries
    first = entries[0] if entries else {}
    if first.get("kind") != "suite" or first.get("format") != journal.FORMAT:
        raise ResultError(f"{folder}: its journal names no suite of format {journal.FORMAT}")
    return {"name": str(first.get("name")), "sha256": str(first.get("sha256"))}


def committed_runs(folder: Path) -> Iterator[CommittedRun]:
    """Read the recorded runs; ResultError at a file that is missing or is not what was recorded."""
    suite_entry(folder)
    for entry in journal.read(folder / JOURNAL).entries[1:]:
        run_id, attempt, hashes = entry.get("run_id"), entry.get("attempt"), entry.get("files")
        if not (_is_name(run_id) and _is_name(attempt) and isinstance(hashes, dict)):
            raise ResultError(f"{folder / JOURNAL}: a line names no run; restore the file from a copy")
        place = folder / "runs" / str(run_id) / str(attempt)
        files = {str(name): _read(place, name, sha256) for name, sha256 in hashes.items()}
        facts = {key: value for key, value in entry.items() if key not in _OF_THE_JOURNAL}
        yield CommittedRun(str(run_id), files, facts)


def copy_results(source: Path, target: Path) -> None:
    """Copy what counts of a results folder (no report, no figures) into `target`, which must not exist.

    ResultError if a file of `source` is missing or is not what was recorded.
    """
    suite = suite_entry(source)
    with Store(target, suite["name"], suite["sha256"], resume=False) as store:
        for path in sorted((source / "artifacts").glob("*")):
            store.keep_artifact(_read(path.parent, path.name, path.name))
        for run in committed_runs(source):
            store.record(run.run_id, run.files, run.facts)
        for name in _MADE_AGAIN:
            if (source / name).is_file():
                store.write(name, (source / name).read_bytes())


def _is_name(value: Any) -> bool:
    """Whether it is the name of something in a folder, and no path out of it."""
    return isinstance(value, str) and value not in ("", ".", "..") and Path(value).name == value


def _read(folder: Path, name: Any, sha256: Any) -> bytes:
    path = folder / str(name)
    if not _is_name(name):
        raise ResultError(f"{path}: no name of a recorded file; restore the journal from a copy")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultError(f"{path}: can't be read: {error.strerror}; restore it from a copy") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ResultError(f"{path}: not what was recorded there; restore it from a copy")
    return data
