"""Promise: a board's labgrid place is booked for as long as it is used, whoever dies, and for nobody else's booking."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest

from fqtbench.bench.labgrid import Client, ourselves
from fqtbench.bench.place import Place
from fqtbench.board import BoardInstance
from fqtbench.errors import BoardError, ProbeError
from tests.command import run_command
from tests.tools import require

pytestmark = pytest.mark.timeout(240)

_DEADLINE_S: Final = 60.0
_POLL_S: Final = 0.2
_HOLD: Final = """
import sys, time
from fqtbench.bench.place import Place
from fqtbench.board import BoardInstance
place = Place(BoardInstance.model_validate_json(sys.argv[1]), 0, print)
place.__enter__()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """The client of a coordinator that runs for these tests."""
    coordinator, argv = (
        require(f"labgrid-{name}", "labgrid, in an environment of its own", "PyPI")
        for name in ("coordinator", "client")
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [coordinator, "-l", address],
        cwd=tmp_path_factory.mktemp("labgrid"),
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert any("Coordinator ready" in line for line in process.stdout)
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield argv, "-x", address
    finally:
        process.terminate()
        process.wait(_DEADLINE_S)


@pytest.fixture
def board(client: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BoardInstance:
    """A board with a place of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    name = f"place-{uuid.uuid4().hex[:8]}"
    _labgrid(client, name, "create")
    return BoardInstance(name="desk", model="nrf52840", probe="1", serial="x", place=name, labgrid=client)


def _labgrid(client: tuple[str, ...], place: str, action: str, user: str | None = None) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if user is not None:
        environment["LG_USERNAME"] = user
    subprocess.run(
        [*client, "-p", place, action], env=environment, check=True, timeout=_DEADLINE_S, capture_output=True
    )


def _holder(board: BoardInstance) -> str | None:
    assert board.place is not None
    return Client(board.labgrid).show(board.place).holder


def _released(board: BoardInstance) -> bool:
    """Whether it is, before the deadline: a keeper does so behind its worker's back."""
    late_at_s = time.monotonic() + _DEADLINE_S
    while _holder(board) is not None:
        if time.monotonic() > late_at_s:
            return False
        time.sleep(_POLL_S)
    return True


def _keeper() -> psutil.Process:
    (keeper,) = (p for p in psutil.Process().children() if "fqtbench.bench.place_keeper" in p.cmdline())
    return keeper


def test_a_place_is_booked_while_it_is_used_and_what_a_killed_keeper_left_is_taken_over(
    board: BoardInstance,
) -> None:
    with Place(board, 0, print):
        assert _holder(board) == ourselves()
        keeper = _keeper()
        keeper.send_signal(signal.SIGKILL)
        keeper.wait(_DEADLINE_S)
    assert _holder(board) == ourselves(), "labgrid keeps it for whoever was killed"
    with Place(board, 0, print):
        assert _holder(board) == ourselves()
    assert _released(board)


def test_a_killed_worker_leaves_no_booking(board: BoardInstance) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", _HOLD, board.model_dump_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "held\n"
    worker.kill()
    worker.communicate(timeout=_DEADLINE_S)
    assert _released(board)


def test_what_its_user_has_booked_by_hand_is_used_and_stays_booked(
    board: BoardInstance, client: tuple[str, ...]
) -> None:
    assert board.place is not None
    _labgrid(client, board.place, "acquire")
    with Place(board, 0, print):
        keeper = _keeper()
    keeper.wait(_DEADLINE_S)
    assert _holder(board) == ourselves()


def test_somebody_elses_place_is_named_with_who_has_it_and_waited_for(
    board: BoardInstance, client: tuple[str, ...], tmp_path: Path
) -> None:
    assert board.place is not None
    _labgrid(client, board.place, "acquire", "alice")
    host = ourselves().partition("/")[0]
    bench = tmp_path / "bench.toml"
    keys = {"name": "desk", "model": "nrf52840", "probe": "1", "serial": "x", "place": board.place}
    lines = (f"{key} = {json.dumps(value)}" for key, value in keys.items())
    bench.write_text(f"labgrid = {json.dumps(client)}\n[[board]]\n" + "\n".join(lines))
    done = run_command("reset", "desk", cwd=tmp_path, deadline_s=_DEADLINE_S)
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("fqtbench: "))
    assert done.returncode == 3
    assert f"board desk: labgrid place {board.place} is in use by {host}/alice since 20" in said

    def let_go(text: str) -> None:
        assert f"in use by {host}/alice" in text
        assert board.place is not None
        _labgrid(client, board.place, "release", "alice")

    with Place(board, _DEADLINE_S, let_go):
        assert _holder(board) == ourselves()


def test_what_labgrid_does_not_know_or_is_not_there_is_one_line(board: BoardInstance) -> None:
    unknown = board.model_copy(update={"place": f"{board.place}-x"})
    with pytest.raises(
        BoardError, match=rf"labgrid place {unknown.place}: .* does not know it: .*matches nothing"
    ):
        Place(unknown, 0, print).__enter__()
    absent = board.model_copy(update={"labgrid": ("/nowhere/labgrid-client",)})
    with pytest.raises(BoardError, match=r"can't start `/nowhere/labgrid-client`: No such file"):
        Place(absent, 0, print).__enter__()


def test_two_runs_of_one_user_do_not_meet_on_a_place(board: BoardInstance) -> None:
    """labgrid sees one user; the second would work on a place that the first one releases."""
    with (
        Place(board, 0, print),
        pytest.raises(ProbeError, match=rf"labgrid place {board.place} is in use by process"),
    ):
        Place(board, 0, print).__enter__()
