"""Promise: the baseline of this project's own gate can be compared with, on every virtual board, and stays small."""

from pathlib import Path
from typing import Final

from fqtbench.experiment.spec import find_suite, load_suite
from fqtbench.regression.baseline import read_history
from fqtbench.regression.side import load_side
from tests.boards import NAMES

_ROOT: Final = Path(__file__).resolve().parents[2]
_BASELINE: Final = _ROOT / "results" / "baseline" / "gate"
_LIMIT_BYTES: Final = 700_000


def test_it_is_of_every_virtual_board_and_of_the_suite_as_it_is() -> None:
    side = load_side(_BASELINE)
    suite = load_suite(find_suite("gate"))
    assert sorted(run.board_model for run in side.runs) == NAMES
    assert all(run.facts.identity.spec == suite.variants[0].spec.canonical() for run in side.runs)
    assert all(run.metrics["step_s"].exact for run in side.runs)
    assert read_history(_BASELINE).replacements[-1].suite_sha256 == suite.sha256


def test_it_is_small_enough_to_be_kept() -> None:
    assert sum(path.stat().st_size for path in _BASELINE.rglob("*") if path.is_file()) < _LIMIT_BYTES
