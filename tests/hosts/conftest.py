"""A lab whose boards are stand-ins. The kills of its parts are rows of the matrix of faults."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fqtbench.experiment.runner import run_suite
from tests.experiment import suites
from tests.experiment.standin_run import WORKER, Printer, order
from tests.hosts.bench import SEEDS, Trial, weights
from tests.hosts.lab import scheduler
from tests.reliability.matrix import outcome, word

__all__ = ["outcome", "word"]


@pytest.fixture
def trial(tmp_path: Path, undisturbed: dict[int, list[int]], word: str) -> Trial:
    """A suite on stand-ins that is to be disturbed."""
    suite = suites.write(tmp_path, suites.tiny(boards=["stand-in-0"], sweep={"seed": SEEDS}))
    os.mkfifo(tmp_path / "hold")
    return Trial(suite, tmp_path / "out", tmp_path / "hold", undisturbed, word)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[int]]:
    """Checksums of the trained states, by seed, of the same suite on a board of this computer."""
    folder = tmp_path_factory.mktemp("undisturbed")
    path = suites.write(folder, suites.tiny(boards=["stand-in-0"], sweep={"seed": SEEDS}))
    run_suite(order(path, folder / "out"), Printer(), WORKER)
    return weights(folder / "out")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with scheduler() as (_, found):
        yield found
