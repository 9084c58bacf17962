"""Promise: the journal line is the commit; what it names is whole, what it doesn't name doesn't count."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fqtbench.errors import ResultError, UsageError
from fqtbench.experiment import journal
from fqtbench.experiment.attempts import ATTEMPTS, attempt_of, load_attempts
from fqtbench.experiment.store import Store

FILES = {"a.bin": b"alpha", "b.bin": b"beta" * 1000}


def _store(folder: Path, *, resume: bool = False, sha256: str = "1234") -> Store:
    return Store(folder, "suite", sha256, resume=resume)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder with two recorded runs."""
    folder = tmp_path / "out"
    with _store(folder) as store:
        store.record("run-1", FILES, {"label": "one"})
        store.record("run-2", FILES, {"label": "two"})
    return folder


def test_recorded_runs_are_there_after_resume(recorded: Path) -> None:
    with _store(recorded, resume=True) as store:
        assert set(store.committed) == {"run-1", "run-2"}
    assert (recorded / "runs/run-1/attempt-1/b.bin").read_bytes() == FILES["b.bin"]


def test_a_run_is_recorded_once(recorded: Path) -> None:
    with _store(recorded, resume=True) as store, pytest.raises(ResultError, match="recorded already"):
        store.record("run-1", FILES, {})


def test_every_cut_of_the_journal_leaves_whole_runs(recorded: Path) -> None:
    """A crash may leave any prefix of the file."""
    path = recorded / "journal"
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for length in (*range(0, len(whole), 37), *ends, *(end - 1 for end in ends)):
        path.write_bytes(whole[:length])
        content = journal.read(path)
        assert len(content.entries) == sum(end <= length for end in ends)
        assert content.torn == (length not in (0, *ends))


def test_a_torn_tail_is_cut_and_its_attempt_deleted(recorded: Path) -> None:
    path = recorded / "journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:-9])
    with _store(recorded, resume=True) as store:
        assert set(store.committed) == {"run-1"}
        assert not (recorded / "runs/run-2/attempt-1").exists()
        store.record("run-2", FILES, {"label": "two"})
    assert path.read_bytes() == b"".join(lines)


def test_damage_before_the_last_line_is_not_taken_for_a_crash(recorded: Path) -> None:
    path = recorded / "journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"run-1", b"run-9") + lines[2])
    with pytest.raises(ResultError, match="line 2 is damaged"), _store(recorded, resume=True):
        pass


@given(st.binary(max_size=200))
def test_no_garbage_is_read_as_an_entry(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    path = tmp_path_factory.mktemp("garbage") / "journal"
    path.write_bytes(journal.encode({"kind": "suite"}) + garbage)
    try:
        assert journal.read(path).entries == ({"kind": "suite"},)
    except ResultError as error:
        assert "damaged" in str(error)


def test_a_changed_result_is_noticed(recorded: Path) -> None:
    (recorded / "runs/run-1/attempt-1/a.bin").write_bytes(b"forged")
    with pytest.raises(ResultError, match=r"a\.bin: missing, or not what"), _store(recorded, resume=True):
        pass


def test_results_are_not_overwritten_without_resume(recorded: Path) -> None:
    before = (recorded / "journal").read_bytes()
    with pytest.raises(UsageError, match="already holds results; go on by --resume"), _store(recorded):
        pass
    assert (recorded / "journal").read_bytes() == before


def test_another_suite_is_not_resumed(recorded: Path) -> None:
    with pytest.raises(UsageError, match="another suite"), _store(recorded, resume=True, sha256="5678"):
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with (
        pytest.raises(UsageError, match=r"no results folder: it has thesis\.tex"),
        _store(tmp_path, resume=True),
    ):
        pass


def test_a_folder_in_use_is_refused(recorded: Path) -> None:
    with (
        _store(recorded, resume=True),
        pytest.raises(ResultError, match="another fqtbench is writing there"),
        _store(recorded, resume=True),
    ):
        pass


def test_a_full_disk_is_one_line_and_keeps_what_was_recorded(recorded: Path) -> None:
    """The journal's line can't be written: the run is not recorded, the earlier ones stay."""
    path = recorded / "journal"
    whole = path.read_bytes()
    with _store(recorded, resume=True) as store:
        path.unlink()
        path.symlink_to("/dev/full")
        with pytest.raises(ResultError, match="No space left on device") as caught:
            store.record("run-3", FILES, {})
    assert "--resume" in str(caught.value)
    path.unlink()
    path.write_bytes(whole)
    with _store(recorded, resume=True) as store:
        assert set(store.committed) == {"run-1", "run-2"}
    assert not (recorded / "runs/run-3/attempt-1").exists()


def test_a_read_only_place_is_one_line() -> None:
    """/sys takes no folders, not even from root."""
    with (
        pytest.raises(ResultError, match=r"can't write /sys/fqtbench") as caught,
        _store(Path("/sys/fqtbench")),
    ):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a POSIX system")
def test_an_unreadable_journal_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    with pytest.raises(ResultError, match="journal"), _store(tmp_path, resume=True):
        pass


FAILED = {"event": "failed", "attempt": 1, "class": "LinkError", "reason": "no answer", "rung": "reset"}
TIMES = {"began": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:01+00:00"}


def test_failed_attempts_stay_on_record_whatever_a_crash_tears(tmp_path: Path) -> None:
    """They are counted over all invocations, also where no run is recorded yet."""
    attempt = attempt_of(FAILED | TIMES, "run-1", "one", "desk")
    folder = tmp_path / "out"
    with _store(folder) as store:
        store.note(attempt)
    path = folder / ATTEMPTS
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-9])
    with _store(folder, resume=True) as store:
        assert store.failures("run-1") == 1
        store.note(attempt)
        store.record("run-1", FILES, {})
    with _store(folder, resume=True) as store:
        assert (store.failures("run-1"), store.failures("run-2")) == (2, 0)
        assert set(store.committed) == {"run-1"}
    assert load_attempts(folder) == [attempt, attempt]


def test_a_new_suite_begins_without_the_failures_of_another(tmp_path: Path) -> None:
    with _store(tmp_path) as store:
        store.note(attempt_of(FAILED | TIMES, "run-1", "one", "desk"))
    with _store(tmp_path, resume=True, sha256="5678") as store:
        assert store.failures("run-1") == 0


def test_a_line_that_is_no_attempt_is_told(tmp_path: Path) -> None:
    (tmp_path / ATTEMPTS).write_bytes(journal.encode({"kind": "failed", "run_id": 3}))
    with pytest.raises(ResultError, match=r"attempts: a line is no attempt \(run_id"):
        load_attempts(tmp_path)
