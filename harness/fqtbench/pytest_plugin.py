"""pytest: ``def test_step(board): assert board.train("quickstart").cycles.backward < 2e6`` (docs/pytest.md).

Every pytest run of an environment with fqtbench loads this file, so it imports nothing but pytest; what a board needs
is imported when the first test asks for one.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from fqtbench.testing import Board, Desk

_NAME: Final = "fqt_board_name"
_NEEDS: Final = "fqt_needs"
_MARKER: Final = f"{_NEEDS}(*features): what the test needs of its board: cycles, dsp, power, probe, profiler"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options, and the ini keys that they override."""
    group = parser.getgroup("fqtbench", "boards that train neural networks")
    group.addoption(
        "--fqt-board",
        action="append",
        metavar="NAME",
        help="Run tests that use `board` on this board; repeatable: on each of them. [default: ini fqt_board]",
    )
    group.addoption(
        "--fqt-bench",
        metavar="FILE",
        help="Boards of this bench. [default: ini fqt_bench, else bench.toml in the working folder]",
    )
    group.addoption(
        "--fqt-wait", type=float, metavar="SECONDS", help="Wait so long for a board that somebody else uses."
    )
    group.addoption(
        "--fqt-skip-missing",
        action="store_true",
        help="Skip a test whose board lacks a feature that it needs, instead of failing it.",
    )
    parser.addini("fqt_board", "Boards that tests run on, by name", type="args", default=[])
    parser.addini("fqt_bench", "Bench file, relative to this file", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each board that was asked for; without any the fixture fails."""
    names = _board_names(metafunc.config)
    if names and _NAME in metafunc.fixturenames:
        metafunc.parametrize(_NAME, names, scope="session")


@pytest.fixture(scope="session")
def fqt_board_name() -> str:
    """Name of the board that a test runs on; `pytest_generate_tests` puts in the names that it knows."""
    pytest.fail(
        "no board to test on: say --fqt-board NAME, or write fqt_board into pytest's ini file", pytrace=False
    )


@pytest.fixture(scope="session")
def fqt_desk(pytestconfig: pytest.Config) -> "Iterator[Desk]":
    """The boards of this pytest run: each is held from its first test to the end of the run."""
    from fqtbench.errors import FqtbenchError  # noqa: PLC0415  (only for whoever has a board)
    from fqtbench.testing import Desk  # noqa: PLC0415

    with ExitStack() as resources:
        with _told(FqtbenchError):
            desk = resources.enter_context(Desk(_bench(pytestconfig), pytestconfig.getoption("--fqt-wait")))
        yield desk


@pytest.fixture
def board(
    request: pytest.FixtureRequest,
    fqt_board_name: str,
    fqt_desk: "Desk",
) -> "Board":
    """A board under the test's control, just reset: `fqtbench.testing.Board`.

    One that is missing, busy or unknown fails the test; it is never skipped.
    """
    from fqtbench.errors import FqtbenchError  # noqa: PLC0415  (as above)

    config = request.config
    # A group of pytest-xdist's would keep a board's tests in one process, but is silently ignored by some versions
    # (pytest-xdist 3.8 with pytest 9.2, its issue 1386).
    if getattr(config, "workerinput", {}).get("workercount", 1) > 1:
        pytest.fail(
            f"board {fqt_board_name}: only one process can hold a board; run its tests without -n",
            pytrace=False,
        )
    needed = tuple(name for mark in request.node.iter_markers(_NEEDS) for name in mark.args)
    with _told(FqtbenchError):
        missing = fqt_desk.missing(fqt_board_name, needed)
        if not missing:
            return fqt_desk.board(fqt_board_name, request.path)
    text = f"board {fqt_board_name} lacks what the test needs: {', '.join(missing)}"
    if config.getoption("--fqt-skip-missing"):
        pytest.skip(text)
    pytest.fail(f"{text}; choose another board, or say --fqt-skip-missing", pytrace=False)


@contextmanager
def _told(kind: type[Exception]) -> Iterator[None]:
    """Fail with an error's message alone: what to do is in it, and no line of this file is."""
    try:
        yield
    except kind as error:
        message = str(error)
    else:
        return
    pytest.fail(message, pytrace=False)


def _board_names(config: pytest.Config) -> list[str]:
    names: list[str] = config.getoption("--fqt-board") or config.getini("fqt_board")
    return list(dict.fromkeys(names))


def _bench(config: pytest.Config) -> Path | None:
    if given := config.getoption("--fqt-bench"):
        return Path(given)
    written = str(config.getini("fqt_bench"))
    folder = config.inipath.parent if config.inipath else config.rootpath
    return folder / written if written else None
