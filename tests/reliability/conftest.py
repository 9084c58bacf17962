"""A virtual board behind relays, and what its tests compare with: a run with nothing in its way."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.bench import END_DEADLINE_S, Bench
from tests.reliability.matrix import outcome, word
from tests.reliability.relays import Served

__all__ = ["outcome", "word"]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """One virtual nRF52840 behind relays for all tests of a module."""
    board = subprocess.Popen(
        [sys.executable, "-m", "fqtbench.virtual", "nrf52840"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert board.stdout is not None
    relays = Served(json.loads(board.stdout.readline()))
    try:
        yield relays
    finally:
        relays.close()
        board.communicate(timeout=END_DEADLINE_S)


@pytest.fixture
def bench(tmp_path: Path, word: str) -> Bench:
    """A place to run suites in."""
    return Bench(tmp_path, word)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, served: Served) -> list[str]:
    """Hashes of the weights that the suite trains behind relays that do nothing."""
    bench = Bench(tmp_path_factory.mktemp("undisturbed"), "")
    bench.run(bench.behind(served))
    return bench.weights()
