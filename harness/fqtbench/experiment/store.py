"""The results folder. Only the parent process writes it, and only through this module.

``runs/<run_id>/attempt-n/`` holds a run's files, ``artifacts/<sha256>`` what explains them, ``journal`` says which of
them count, ``attempts`` what failed on the way. A file is written beside its place, synced, renamed, and its folder
synced; then the journal line commits it.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from filelock import FileLock, Timeout

from fqtbench.durable import sync_folder, write_durably
from fqtbench.errors import ResultError, UsageError
from fqtbench.experiment import journal
from fqtbench.experiment.attempts import ATTEMPTS, Attempt, AttemptLog

JOURNAL: Final = "journal"
_LOCK: Final = ".lock"
_PATIENCE_S: Final = 3.0  # as for a probe's lock: the one before us may be dying
_OURS: Final = {
    JOURNAL,
    ATTEMPTS,
    _LOCK,
    "runs",
    "artifacts",
    "manifest.json",
}  # what a crash may leave before the first commit


class Store:
    """A results folder held for writing while the context lasts."""

    def __init__(self, folder: Path, suite_name: str, suite_sha256: str, *, resume: bool) -> None:
        self.folder = folder
        self._suite = {"kind": "suite", "format": journal.FORMAT, "name": suite_name, "sha256": suite_sha256}
        self._resume = resume
        self._lock = FileLock(folder / _LOCK, timeout=_PATIENCE_S)
        self._journal = folder / JOURNAL
        self._attempts = AttemptLog(folder)
        self.committed: dict[str, dict[str, Any]] = {}  # run_id -> journal entry

    def __enter__(self) -> Self:
        with self._as_result_error():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._acquire()
        try:
            self.check()
            with self._as_result_error():
                self._recover()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._lock.release()

    def check(self) -> None:
        """Raise UsageError if this is no folder to write to. Changes nothing: it may be called ahead of the context."""
        with self._as_result_error():
            names = {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()
        if JOURNAL not in names:
            strangers = sorted(names - _OURS)
            if strangers:
                raise UsageError(
                    f"{self.folder} is no results folder: it has {strangers[0]} but no journal; choose another --out"
                )
        elif len(journal.read(self._journal).entries) > 1 and not self._resume:
            raise UsageError(
                f"{self.folder} already holds results; go on by --resume, or choose another --out"
            )

    # -- writing

    def record(self, run_id: str, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> Path:
        """Write `files` as the next attempt of a run and commit it; returns its folder.

        After a crash anywhere in here the run is either recorded whole, or not at all.
        """
        if run_id in self.committed:
            raise ResultError(f"run {run_id[:12]} is recorded already, in {self.folder}")
        with self._as_result_error():
            parent = self.folder / "runs" / run_id
            parent.mkdir(parents=True, exist_ok=True)
            attempt = f"attempt-{1 + sum(1 for _ in parent.iterdir())}"
            folder = parent / attempt
            folder.mkdir()
            for name, data in files.items():
                write_durably(folder / name, data)
            for made in (folder, parent, parent.parent, self.folder):
                sync_folder(made)
            hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
            entry = {"kind": "run", "run_id": run_id, "attempt": attempt, "files": hashes, **facts}
            journal.append(self._journal, entry)
        self.committed[run_id] = entry
        return folder

    def note(self, attempt: Attempt) -> None:
        """Put a failed attempt, or what was done about it, on record."""
        with self._as_result_error():
            self._attempts.add(attempt)

    def failures(self, run_id: str) -> int:
        """Return how many attempts at a run are on record as failed."""
        return self._attempts.failures(run_id)

    def keep_artifact(self, data: bytes) -> Path:
        """Keep `data` under its hash; returns its path."""
        path = self.folder / "artifacts" / hashlib.sha256(data).hexdigest()
        with self._as_result_error():
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                write_durably(path, data)
                sync_folder(path.parent)
        return path

    def write(self, name: str, data: bytes) -> Path:
        """Write a file that can be made again (manifest, summary): whole or not at all."""
        path = self.folder / name
        with self._as_result_error():
            write_durably(path, data)
            sync_folder(self.folder)
        return path

    # -- opening

    def _acquire(self) -> None:
        try:
            self._lock.acquire()
        except Timeout:
            raise ResultError(
                f"{self.folder}: another fqtbench is writing there; wait for it, or choose another --out"
            ) from None

    def _recover(self) -> None:
        content = journal.read(self._journal) if self._journal.exists() else journal.EMPTY
        if len(content.entries) <= 1:  # nothing was recorded, perhaps not even begun
            goes_on = self._resume and content.entries == (self._suite,)
            self._begin(keep_attempts=goes_on)
            return
        if content.torn:
            journal.cut(self._journal, content.good_bytes)
        self._check_suite(content.entries[0])
        self._attempts.open()
        self.committed = {entry["run_id"]: entry for entry in content.entries[1:]}
        self._check_files()
        self._delete_uncommitted()

    def _begin(self, *, keep_attempts: bool) -> None:
        shutil.rmtree(self.folder / "runs", ignore_errors=True)
        self._journal.unlink(missing_ok=True)
        if keep_attempts:
            self._attempts.open()
        else:
            (self.folder / ATTEMPTS).unlink(missing_ok=True)
        journal.append(self._journal, self._suite)
        sync_folder(self.folder)

    def _check_suite(self, first: dict[str, Any]) -> None:
        if first.get("kind") != "suite" or first.get("format") != journal.FORMAT:
            raise ResultError(
                f"{self._journal}: written by another version of fqtbench; choose another --out"
            )
        if first.get("sha256") != self._suite["sha256"]:
            raise UsageError(
                f"{self.folder} holds results of another suite, or of an earlier version of this one (it was called "
                f"{first.get('name')}); resume with the suite that began it, or choose another --out"
            )

    def _check_files(self) -> None:
        for run_id, entry in self.committed.items():
            for name, sha256 in entry["files"].items():
                path = self.folder / "runs" / run_id / entry["attempt"] / name
                if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                    raise ResultError(
                        f"{path}: missing, or not what the journal says; restore it, or choose another --out"
                    )

    def _delete_uncommitted(self) -> None:
        for folder in self.folder.glob("runs/*/attempt-*"):
            entry = self.committed.get(folder.parent.name)
            if entry is None or entry["attempt"] != folder.name:
                shutil.rmtree(folder)
        for path in self.folder.rglob("*.tmp"):
            path.unlink()

    @contextmanager
    def _as_result_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = error.filename or self.folder
            raise ResultError(
                f"results folder {self.folder}: can't write {what}: {error.strerror or error}; "
                "what was recorded before is safe, go on by --resume once that is mended"
            ) from error
