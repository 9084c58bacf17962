"""Promise: `boards` says of each board whether it is there and free; `--suggest` writes what ids say, and no guess."""

import sys
import tomllib
from pathlib import Path

import pytest

from fqtbench.bench.lock import Holder
from fqtbench.bench.probes import AttachedProbe
from fqtbench.board import embedded_instances, load_instances
from fqtbench.errors import UsageError
from fqtbench.lab.checks import Subject
from fqtbench.lab.host import Host
from fqtbench.lab.status import State, status_of
from fqtbench.lab.suggest import suggest
from tests.lab.trees import JLINK, MODELS, Tree, desk, jlink

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads trees as Linux lays them out")
DAPLINK = "0229000012345678"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return jlink(tmp_path)


def _evk(tree: Tree) -> None:
    tree.usb("1-4", 0x0D28, 0x0204, DAPLINK, "DAPLink CMSIS-DAP", number=7)
    tree.acm("ttyACM2", "1-4", 1)
    tree.probes.append(AttachedProbe(DAPLINK, "Arm DAPLink CMSIS-DAP", "mimxrt1060"))


def _state(subject: Subject, host: Host) -> tuple[State, str]:
    status = status_of(subject, host)
    return status.state, status.detail


def test_a_board_is_attached_busy_incomplete_or_missing(tree: Tree) -> None:
    assert _state(desk(), tree.host()) == (State.ATTACHED, "")
    state, detail = _state(desk(serial="0403:6001:A5"), tree.host())
    assert (state, "serial line 0403:6001:A5: " in detail, "probe" in detail) == (
        State.INCOMPLETE,
        True,
        False,
    )
    state, detail = _state(desk(probe="1"), tree.host())
    assert (state, "probe 1: not attached" in detail) == (State.INCOMPLETE, True)
    state, detail = _state(desk(probe="1", serial="/dev/ttyUSB7"), tree.host())
    assert (state, "probe 1" in detail, "/dev/ttyUSB7" in detail) == (State.MISSING, True, True)
    tree.held[JLINK] = Holder(42, "bob", "his-desk")
    assert _state(desk(), tree.host()) == (State.BUSY, "process 42 of bob (board his-desk)")


def test_two_candidates_are_no_board(tree: Tree) -> None:
    tree.probes.append(AttachedProbe(JLINK, "Segger J-Link OB"))
    state, detail = _state(desk(), tree.host())
    assert (state, "Segger J-Link OB" in detail) == (State.INCOMPLETE, True)


def test_boards_that_are_elsewhere_say_so(tree: Tree) -> None:
    remote = desk(probe="remote:lab:5555", serial="rfc2217://lab:4000")
    assert _state(remote, tree.host())[0] is State.REMOTE
    embedded = embedded_instances(MODELS)
    for name, state in (("host", State.HERE), ("virtual-rp2040", State.ON_DEMAND)):
        assert _state(Subject(embedded[name], MODELS[embedded[name].model]), tree.host())[0] is state


def test_a_board_whose_ids_say_everything_needs_no_editing(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    tree = Tree(tmp_path / "root")
    _evk(tree)
    bench = tmp_path / "bench.toml"
    bench.write_text(suggest(tree.host(), MODELS, []))
    board = load_instances(MODELS, bench)["mimxrt1062-1"]
    assert (board.model, board.probe) == ("mimxrt1062", DAPLINK)
    assert board.serial == f"0d28:0204:{DAPLINK}-if01"
    assert _state(Subject(board, MODELS[board.model]), tree.host()) == (State.ATTACHED, "")


def test_what_ids_do_not_say_is_left_to_choose(tree: Tree, tmp_path: Path) -> None:
    text = suggest(tree.host(), MODELS, [])
    (board,) = tomllib.loads(text)["board"]
    assert board == {"name": "board-1", "probe": "683000000"}
    assert '# model = "…"' in text
    for interface in ("if00", "if02"):
        assert f'# serial = "1366:1051:{JLINK}-{interface}"' in text
    bench = tmp_path / "bench.toml"
    bench.write_text(text)
    with pytest.raises(UsageError, match=r"board\.0\.model is missing"):
        load_instances(MODELS, bench)


def test_boards_that_are_known_are_not_suggested_again(tree: Tree) -> None:
    _evk(tree)
    text = suggest(tree.host(), MODELS, [desk().instance])
    assert [board["probe"] for board in tomllib.loads(text)["board"]] == [DAPLINK]
    assert "ttyACM0" not in text
    tree.probes.pop()
    assert "board" not in tomllib.loads(suggest(tree.host(), MODELS, [desk().instance]))


def test_names_are_not_taken_twice(tree: Tree) -> None:
    taken = desk(probe="9").instance.model_copy(update={"name": "board-1"})
    (board,) = tomllib.loads(suggest(tree.host(), MODELS, [taken]))["board"]
    assert board["name"] == "board-2"


def test_adapters_and_unseen_probes_are_comments(tree: Tree) -> None:
    tree.usb("1-3", 0x1A86, 0x7523, None, "USB2.0-Serial", number=6)
    tree.ftdi("ttyUSB0", "1-3", 1)
    tree.usb("1-6", 0x2E8A, 0x000C, "E661A4", number=8)
    text = suggest(tree.host(), MODELS, [])
    assert "#   /dev/serial/by-path/pci-0000:00:14.0-usb-0:1-3:1.0  (USB2.0-Serial" in text
    assert "#   Raspberry Pi Debug Probe 2e8a:000c, serial number E661A4" in text
    assert len(tomllib.loads(text)["board"]) == 1


def test_what_a_device_calls_itself_can_not_add_keys(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    evil = 'a"\nlaunch = ["sh"]\n\x1b[2J\\u0041\x7f'
    tree.usb("1-2", 0x1366, 0x1051, evil, evil)
    tree.acm("ttyACM0", "1-2", 0)
    tree.probes.append(AttachedProbe(evil, evil))
    text = suggest(tree.host(), MODELS, [])
    (board,) = tomllib.loads(text)["board"]
    assert "launch" not in board
    assert all(line.isprintable() for line in text.splitlines())
