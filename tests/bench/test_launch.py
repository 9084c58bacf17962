"""Promise: a launched board's addresses come from its first line, and it ends with us, whether it listens or not."""

import sys

import psutil
import pytest

from fqtbench.bench.launch import Attachment
from fqtbench.board import BoardInstance
from fqtbench.errors import BoardError

ADDRESSES = '{"probe": "p", "serial": "s", "cycles": "modelled", "timing_model_id": "t", "pid": %d}'
LISTENING = f"import os, sys; print('{ADDRESSES}' % os.getpid(), flush=True); sys.stdin.read()"
DEAF = f"import os, signal; print('{ADDRESSES}' % os.getpid(), flush=True); signal.pause()"


def _board(*command: str) -> BoardInstance:
    return BoardInstance(name="desk", model="nrf52840", launch=command)


@pytest.mark.parametrize("program", [LISTENING, DEAF])
def test_a_launched_board_says_where_it_is_and_ends_with_the_context(program: str) -> None:
    with Attachment(_board(sys.executable, "-c", program)) as attachment:
        addresses = attachment.addresses
        assert (addresses.probe, addresses.serial, addresses.cycles) == ("p", "s", "modelled")
        assert addresses.power == "modelled:"
        pid = addresses.model_dump()["pid"]
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


def test_a_board_that_is_not_launched_is_where_its_description_says() -> None:
    board = BoardInstance(name="desk", model="nrf52840", probe="p", serial="s")
    with Attachment(board) as attachment:
        assert (attachment.addresses.probe, attachment.addresses.cycles) == ("p", "measured")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("/nowhere/at/all",), "can't launch `/nowhere/at/all`"),
        (
            (sys.executable, "-c", "raise SystemExit('no extra')"),
            "ended before it printed its addresses: no extra",
        ),
        ((sys.executable, "-c", "print('hello')"), "is not JSON with `probe` and `serial`"),
        ((sys.executable, "-c", "print('{}')"), "is not JSON with `probe` and `serial`"),
    ],
)
def test_a_launch_that_fails_is_one_line_with_the_board(command: tuple[str, ...], expected: str) -> None:
    with pytest.raises(BoardError) as caught, Attachment(_board(*command)):
        pass
    assert str(caught.value).startswith("board desk: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
