"""Promise: the command writes what its page says, the same for the same suite; what it can't do it says in one line."""

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from fqtbench.cli import app
from fqtbench.errors import ResultError, UsageError
from fqtbench.experiment.metrics import plus_minus
from fqtbench.profile.diff import changes
from fqtbench.profile.folder import write_folder
from fqtbench.profile.model import FILE_NAME, Profile, Stack, read_profile
from fqtbench.profile.tables import changes_table
from fqtbench.virtual.timing.cortex_m4 import UNCERTAINTY
from tests.profile.conftest import STEPS, Taken, suite_file


def _fqtbench(*arguments: str) -> str:
    """Run a command in this process, which saves its imports; returns its output."""
    return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout


def test_the_command_gives_the_same_profile_again(mini_batch: Taken, tmp_path: Path) -> None:
    """All but the frames' cost: they carry a random session number, and COBS takes a zero in it another way."""
    suite = suite_file(tmp_path, batch=4, configuration="mixed")
    out = tmp_path / "profile"
    options = ("--steps", str(STEPS), "--after", "2", "--board", "virtual-nrf52840", "--out", str(out))
    shown = _fqtbench("profile", str(suite), *options)
    assert "2:conv2d" in shown
    assert f"modelled{plus_minus(UNCERTAINTY)}, mean of" in shown
    assert mini_batch[0].functions[0].name in shown
    first, second = mini_batch[0], read_profile(out)
    for part in ("subject", "layers", "rest", "device", "memory"):
        assert getattr(first, part) == getattr(second, part), part
    assert _phases(first) == _phases(second)


def _phases(profile: Profile) -> list[Stack]:
    return [stack for stack in profile.stacks if stack.phase is not None]


@pytest.fixture
def folder(mini_batch: Taken, tmp_path: Path) -> Path:
    write_folder(*mini_batch, tmp_path / "profile")
    return tmp_path / "profile"


@pytest.mark.parametrize("name", ["flame.svg", "blocks.txt"])
def test_cycles_stand_beside_what_their_model_states_of_itself(folder: Path, name: str) -> None:
    assert f"(modelled{plus_minus(UNCERTAINTY)}" in (folder / name).read_text()


def test_what_is_written_is_read_back(mini_batch: Taken, folder: Path) -> None:
    assert read_profile(folder) == read_profile(folder / FILE_NAME) == mini_batch[0]


def test_tables_hold_all_cycles(mini_batch: Taken, folder: Path) -> None:
    profile = mini_batch[0]
    for name, column, total in (
        ("layers.csv", "cycles", profile.cycles),
        ("functions.csv", "own_cycles", profile.cycles - profile.asleep_cycles),
    ):
        with (folder / name).open(newline="") as file:
            assert sum(int(row[column]) for row in csv.DictReader(file)) == total


def test_the_flame_graph_is_a_drawing_of_boxes_that_stand_on_their_caller(folder: Path) -> None:
    drawing = ElementTree.parse(folder / "flame.svg").getroot()
    namespace = {"s": "http://www.w3.org/2000/svg"}
    boxes: dict[str, tuple[float, float, float]] = {}
    for group in drawing.iterfind("s:g", namespace):
        title, box = group.find("s:title", namespace), group.find("s:rect", namespace)
        assert title is not None
        assert box is not None
        name = str(title.text).partition(": ")[0]
        boxes.setdefault(name, (float(box.attrib["x"]), float(box.attrib["y"]), float(box.attrib["width"])))
    for caller, called in (
        ("main", "fqt_forward"),
        ("fqt_forward", "2:conv2d forward"),
        ("main", "link_poll"),
    ):
        below, above = boxes[caller], boxes[called]
        assert above[1] < below[1], called
        assert below[0] - 0.1 <= above[0] <= above[0] + above[2] <= below[0] + below[2] + 0.2, called


def test_the_listing_shows_each_block_with_its_instructions(mini_batch: Taken, folder: Path) -> None:
    text = (folder / "blocks.txt").read_text("utf-8")
    hottest = max(mini_batch[0].blocks, key=lambda b: b.cycles)
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"  0x{hottest.address:08x}  "))
    assert f"{hottest.executions} ×  {hottest.cycles} cycles" in lines[at]
    code = lines[at + 1 : at + 1 + hottest.instructions]
    assert [line.split()[0] for line in code[:1]] == [f"{hottest.address:08x}"]
    assert all(len(line.split()) >= 2 for line in code)
    assert "  ; fqt_" in text, "calls name their target"


def test_a_board_without_a_profiler_is_refused_and_others_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"board host can't be profiled.* one: .*virtual-nrf52840"):
        _fqtbench("profile", str(suite_file(tmp_path)), "--board", "host")


def _damaged(profile: Profile) -> dict[str, bytes]:
    whole: dict[str, Any] = profile.model_dump(mode="json")
    return {
        "nothing": b"",
        "no JSON": b"\xff\x00",
        "cut": json.dumps(whole).encode()[:-20],
        "a list": b"[]",
        "nested": b"[" * 100_000,
        "another format": json.dumps(whole | {"format": 2}).encode(),
        "a key more": json.dumps(whole | {"surprise": 1}).encode(),
        "a key less": json.dumps({k: v for k, v in whole.items() if k != "blocks"}).encode(),
        "cycles negative": json.dumps(whole | {"cycles": -1}).encode(),
        "cycles text": json.dumps(whole | {"cycles": "1"}).encode(),
        "cycles huge": json.dumps(whole | {"cycles": 10**400}).encode(),
        "no steps": json.dumps(whole | {"subject": whole["subject"] | {"steps": 0}}).encode(),
    }


def test_a_damaged_profile_is_refused(mini_batch: Taken, tmp_path: Path) -> None:
    for name, data in _damaged(mini_batch[0]).items():
        file = tmp_path / "damaged.json"
        file.write_bytes(data)
        with pytest.raises(ResultError, match=r"damaged\.json: not a profile of format 1") as caught:
            read_profile(file)
        assert "\n" not in str(caught.value), name
    with pytest.raises(ResultError, match="can't be read"):
        read_profile(tmp_path / "nowhere")


def test_a_profile_differs_in_nothing_from_itself(mini_batch: Taken) -> None:
    assert changes(mini_batch[0], mini_batch[0]) == []


def test_what_changed_is_told_largest_first(mini_batch: Taken, folder: Path, tmp_path: Path) -> None:
    old = mini_batch[0]
    functions = {f.name: f for f in old.functions}
    slower, faster = functions["fqt_patch"], functions["fqt_fold"]
    changed = [
        _with_own(f, f.own.cycles + (4000 if f == slower else -400 if f == faster else 0))
        for f in old.functions
        if f.name != "memset"
    ]
    memory = old.memory.model_copy(update={"stack_peak_bytes": old.memory.stack_peak_bytes + 8})
    new = old.model_copy(update={"functions": tuple(changed), "memory": memory})
    found = changes(old, new)
    assert [(c.name, c.difference) for c in found if c.name in ("fqt_patch", "fqt_fold", "peak")] == [
        ("fqt_patch", 4000 / STEPS),
        ("fqt_fold", -400 / STEPS),
        ("peak", 8),
    ]
    gone = next(c for c in found if c.name == "memset")
    assert (gone.after, gone.ratio) == (None, -1.0)
    cycles = [abs(c.difference) for c in found if c.unit == "cycles"]
    assert cycles == sorted(cycles, reverse=True)
    assert changes_table(found, 25).row_count == len(found)

    write_folder(new, mini_batch[1], tmp_path / "new")
    shown = _fqtbench("profile-diff", str(folder), str(tmp_path / "new"))
    assert shown.index("fqt_patch") < shown.index("fqt_fold")
    assert "no difference" in _fqtbench("profile-diff", str(folder), str(folder))


def _with_own(function: Any, cycles: int) -> Any:
    return function.model_copy(update={"own": function.own.model_copy(update={"cycles": cycles})})
