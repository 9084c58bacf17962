"""Promise: a probe is used by one process at a time, and free again when that dies, however it dies."""

import getpass
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fqtbench.bench.lock import Holder, ProbeLock, probe_holder
from fqtbench.errors import ProbeError

HOLDER = """
import sys
from pathlib import Path
from fqtbench.bench.lock import ProbeLock
with ProbeLock("probe-1", "desk", Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Hold probe-1 in another process, which ends at the latest with the context, by a kill."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=60)


def test_a_held_probe_is_refused_with_its_holder_and_freed_by_a_kill(tmp_path: Path) -> None:
    with holding(tmp_path) as holder:
        with (
            pytest.raises(
                ProbeError, match=rf"board mine: probe probe-1 is in use by process {holder.pid} of .*desk"
            ),
            ProbeLock("probe-1", "mine", tmp_path, patience_s=0),
        ):
            pass
        with ProbeLock("probe-2", "mine", tmp_path, patience_s=0):
            pass
    with ProbeLock("probe-1", "mine", tmp_path, patience_s=60):
        pass


def test_who_holds_a_probe_is_told_without_taking_it(tmp_path: Path) -> None:
    assert probe_holder("probe-1", tmp_path / "nobody was here") is None
    with holding(tmp_path) as holder:
        found = probe_holder("probe-1", tmp_path)
        assert found is not None
        assert (found.pid, found.board) == (holder.pid, "desk")
        assert probe_holder("probe-1", tmp_path) == found
    assert probe_holder("probe-1", tmp_path) is None
    with ProbeLock("probe-1", "mine", tmp_path, patience_s=0):
        pass


@pytest.mark.parametrize(
    "said", ["", "[]", '{"pid": 0}', '{"pid": "x", "user": "u", "board": "b"}', "\x1b[2J"]
)
def test_what_a_holder_says_of_itself_may_be_anything(tmp_path: Path, said: str) -> None:
    with holding(tmp_path):
        (file,) = tmp_path.glob("*.holder")
        file.write_text(said)
        assert probe_holder("probe-1", tmp_path) == Holder()


def test_who_waits_gets_the_probe_when_it_is_free(tmp_path: Path) -> None:
    told: list[str] = []
    with holding(tmp_path) as holder:

        def end_the_holder(text: str) -> None:
            told.append(text)
            holder.send_signal(signal.SIGKILL)

        with ProbeLock("probe-1", "mine", tmp_path, patience_s=60, on_wait=end_the_holder):
            pass
        assert len(told) == 1
        assert told[0].startswith(f"waiting 60 s for probe probe-1, in use by process {holder.pid} of ")


def test_a_name_left_behind_that_can_not_be_removed_is_written_over_but_no_link_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder like /tmp, where another user's files stay."""
    with ProbeLock("probe-1", "mine", tmp_path):
        (file,) = tmp_path.glob("*.holder")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError

    file.write_text("left behind")
    monkeypatch.setattr(Path, "unlink", refuse)
    with ProbeLock("probe-1", "mine", tmp_path):
        assert probe_holder("probe-1", tmp_path) == Holder(os.getpid(), getpass.getuser(), "mine")

    monkeypatch.undo()
    precious = tmp_path / "precious"
    precious.write_text("precious")
    file.unlink()
    file.symlink_to(precious)
    monkeypatch.setattr(Path, "unlink", refuse)
    with ProbeLock("probe-1", "mine", tmp_path):
        assert precious.read_text() == "precious"


def test_waiting_has_an_end(tmp_path: Path) -> None:
    told: list[str] = []
    with (
        holding(tmp_path),
        pytest.raises(ProbeError, match="in use by process"),
        ProbeLock("probe-1", "mine", tmp_path, patience_s=0.1, on_wait=told.append),
    ):
        pass
    assert len(told) == 1


def test_one_probe_is_one_lock_however_its_id_is_written(tmp_path: Path) -> None:
    with ProbeLock("000683000000", "desk", tmp_path):
        assert probe_holder("683000000", tmp_path) is not None
    with ProbeLock("e661a4", "desk", tmp_path):
        assert probe_holder("E661A4", tmp_path) is not None
        assert probe_holder("0E661A4", tmp_path) is None


def test_a_lock_is_free_after_its_context_even_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ProbeLock("probe", "desk", tmp_path):
        raise ZeroDivisionError
    with ProbeLock("probe", "desk", tmp_path, patience_s=0):
        assert list(tmp_path.glob("*.holder"))
    assert not list(tmp_path.glob("*.holder"))


def test_a_folder_that_cannot_be_made_is_one_line() -> None:
    with pytest.raises(ProbeError, match="can't make the folder of locks"):
        ProbeLock("probe", "desk", Path("/sys/fqtbench-locks"))
