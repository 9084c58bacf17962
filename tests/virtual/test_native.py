"""Promise: a virtual board that finds its hooks kept compiles nothing, and runs no code that others may write."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fqtbench.virtual import native

_DEADLINE_S = 120
_FOLDER = Path(native.__file__).parent

# Serves a board in a process that can't import what this says.
_WITHOUT = """
import runpy, sys
sys.modules.update(dict.fromkeys({modules!r}))
sys.argv = ["virtual", "nrf52840", "--uart", "tcp"]
runpy.run_module("fqtbench.virtual", run_name="__main__")
"""


def _start(cache: Path, *modules: str) -> subprocess.Popen[str]:
    """Start a board that ends at once, with `cache` for the user's."""
    return subprocess.Popen(
        [sys.executable, "-c", _WITHOUT.format(modules=modules)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
    )


def _model(board: subprocess.Popen[str]) -> str:
    said, _ = board.communicate(timeout=_DEADLINE_S)
    assert board.returncode == 0
    return str(json.loads(said)["model"])


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is Linux's way to move the cache")
def test_after_the_first_start_boards_need_no_compiler(tmp_path: Path) -> None:
    at_once = [_start(tmp_path), _start(tmp_path)]
    assert [_model(board) for board in at_once] == ["nrf52840"] * 2
    assert len(list((tmp_path / "fqtbench" / "hooks").iterdir())) == 1  # of the profiler's hook nothing yet
    heavy = ("numba", "pandas", "pydantic", "pyocd", "scipy")
    assert _model(_start(tmp_path, *heavy)) == "nrf52840"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return the file that holds the first hook, in a folder of its own."""
    folder = tmp_path / "hooks"
    native.address.cache_clear()
    native.address(native.BLOCKS, folder)
    native.address.cache_clear()
    return next(folder.iterdir())


def _compilations(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often loading the hook from `folder` compiles it."""
    compiled, seen = native.compiled, []
    monkeypatch.setattr(native, "compiled", lambda module: seen.append(module) or compiled(module))
    assert native.address(native.BLOCKS, folder)
    return len(seen)


def test_what_is_whole_and_ones_own_is_taken(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _compilations(kept.parent, monkeypatch) == 0


@pytest.mark.parametrize("damage", ["cut", "changed", "others' file", "others' folder"])
def test_what_is_not_is_compiled_again(damage: str, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = kept.read_bytes()
    match damage:
        case "cut":
            kept.write_bytes(content[:-1])
        case "changed":
            kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "others' file":
            kept.chmod(0o622)
        case "others' folder":
            kept.parent.chmod(0o777)
    assert _compilations(kept.parent, monkeypatch) == 1


def test_a_cache_that_can_not_be_written_costs_only_time(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("no folder")
    assert native.address(native.BLOCKS, occupied)


def test_kept_code_is_told_apart_by_all_sources_that_it_comes_from() -> None:
    for source in native.SOURCES:
        tree = ast.parse((_FOLDER / f"{source}.py").read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fqtbench"):
                whole = node.module == "fqtbench.virtual"
                used = {a.name for a in node.names} if whole else {str(node.module).rpartition(".")[2]}
                assert used <= set(native.SOURCES), f"{source} imports {used}"


def test_compiled_hooks_are_the_same_in_every_process() -> None:
    code = "from fqtbench.virtual import native; import sys; sys.stdout.buffer.write(native.compiled(native.BLOCKS))"
    other = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=_DEADLINE_S, check=True
    )
    assert other.stdout == native.compiled(native.BLOCKS)
