"""Promise: a probe is used by one process at a time, and free again when that dies, however it dies."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fqtbench.bench.lock import ProbeLock
from fqtbench.errors import ProbeError

HOLDER = """
import sys
from pathlib import Path
from fqtbench.bench.lock import ProbeLock
with ProbeLock("probe-1", "desk", Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_held_probe_is_refused_with_its_holder_and_freed_by_a_kill(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(
                ProbeError, match=rf"board mine: probe probe-1 is in use by process {holder.pid} of .*desk"
            ),
            ProbeLock("probe-1", "mine", tmp_path, patience_s=0),
        ):
            pass
        with ProbeLock("probe-2", "mine", tmp_path, patience_s=0):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=60)
    with ProbeLock("probe-1", "mine", tmp_path, patience_s=60):
        pass


def test_a_lock_is_free_after_its_context_even_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ProbeLock("probe", "desk", tmp_path):
        raise ZeroDivisionError
    with ProbeLock("probe", "desk", tmp_path, patience_s=0):
        assert list(tmp_path.glob("*.holder"))
    assert not list(tmp_path.glob("*.holder"))


def test_a_folder_that_cannot_be_made_is_one_line() -> None:
    with pytest.raises(ProbeError, match="can't make the folder of locks"):
        ProbeLock("probe", "desk", Path("/sys/fqtbench-locks"))
