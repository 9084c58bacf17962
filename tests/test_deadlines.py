"""Promise: nothing in the package waits without a deadline."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import fqtbench

_PACKAGE: Final = Path(fqtbench.__file__).parent
_TIMEOUT: Final = "timeout"
# Calls that wait for ever unless told otherwise: by the last part of their name, the positional arguments from which on
# they have been told. Methods that other objects have as well, as str.join, are told apart by their arguments.
_WAITING: Final = {
    "run": 99,
    "call": 99,
    "check_call": 99,
    "check_output": 99,
    "communicate": 2,
    "wait": 1,
    "join": 1,
    "get": 1,
    "acquire": 2,
    "create_connection": 2,
    "urlopen": 3,
    "select": 4,
}
_QUALIFIED: Final = {
    **dict.fromkeys(("run", "call", "check_call", "check_output"), "subprocess"),
    "select": "select",
}
_REASONS: Final = {
    (
        "bench/worker.py",
        "lines.get()",
    ): "an idle worker waits for its parent, and ends with its standard input",
    ("bench/place_keeper.py", "self._gone.wait()"): "it keeps the place as long as its worker lives",
    (
        "bench/place_keeper.py",
        "self._client.acquire(self._errand.place)",
    ): "labgrid's client, which is a process under a deadline",
    ("cli.py", "subprocess.call(argv)"): "Windows has no exec: the command becomes the virtual board",
}


def _is_told(call: ast.Call, name: str) -> bool:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if _TIMEOUT in keywords:
        value = keywords[_TIMEOUT]
        return not (isinstance(value, ast.Constant) and value.value is None)
    blocking = keywords.get("blocking")
    if isinstance(blocking, ast.Constant) and blocking.value is False:
        return True
    return len(call.args) >= _WAITING[name]


def _name(call: ast.Call) -> str | None:
    match call.func:
        case ast.Attribute(value=owner, attr=name):
            if name in _QUALIFIED and not (isinstance(owner, ast.Name) and owner.id == _QUALIFIED[name]):
                return None
            return name
        case ast.Name(id=name):
            return name if name not in _QUALIFIED else None
    return None


def _endless_waits(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = _name(node)
            if name in _WAITING and not _is_told(node, name):
                yield node.lineno, ast.unparse(node)


def test_nothing_waits_for_ever() -> None:
    """Each exception is named above, with its reason, and is still there."""
    found = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        where = path.relative_to(_PACKAGE).as_posix()
        found |= {(where, text): line for line, text in _endless_waits(path.read_text("utf-8"))}
    assert {place: line for place, line in found.items() if place not in _REASONS} == {}
    assert _REASONS.keys() <= found.keys()


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run(argv, check=True)",
        "subprocess.run(argv, timeout=None)",
        "process.wait()",
        "process.communicate(data)",
        "thread.join()",
        "lines.get()",
        "lock.acquire()",
        "socket.create_connection(address)",
        "select.select(readers, [], [])",
    ],
)
def test_a_wait_without_a_deadline_is_found(source: str) -> None:
    assert [text for _, text in _endless_waits(source)] == [source]


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run(argv, timeout=_DEADLINE_S)",
        "process.wait(1.0)",
        "', '.join(words)",
        "table.get(key)",
        "lock.acquire(blocking=False)",
        "socket.create_connection(address, 5)",
        "select.select(readers, [], [], 0)",
        "pool.run(tasks, on_event)",
    ],
)
def test_what_has_a_deadline_is_not(source: str) -> None:
    assert not list(_endless_waits(source))
