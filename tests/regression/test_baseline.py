"""Promise: a baseline is replaced whole, with the reason on record, or stays as it was."""

import json
from pathlib import Path

import pytest

from fqtbench.errors import ResultError, UsageError
from fqtbench.experiment.record import RESULT
from fqtbench.experiment.results import load_results
from fqtbench.regression.baseline import HISTORY, PROFILES, read_history, update_baseline
from fqtbench.regression.compare import compare
from fqtbench.regression.rules import Gate
from fqtbench.regression.side import load_side
from tests.regression import folders
from tests.regression.folders import edited, scaled


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.record(tmp_path_factory.mktemp("baseline"), sweep={"seed": [1, 2]})


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_first_baseline_is_what_was_recorded(recorded: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "baselines" / "tiny"
    replacement = update_baseline(baseline, recorded, "the  first\none")
    assert (replacement.reason, replacement.n_runs, replacement.accepted) == ("the first one", 2, ())
    assert {"fqtbench", "git", "python"} == replacement.by.keys()
    assert "libraries" in replacement.recorded_with
    comparison = compare(load_side(baseline), load_side(recorded), Gate())
    assert (comparison.exit_code, comparison.notes) == (0, ())
    assert _names(baseline) == {"journal", "runs", "artifacts", "manifest.json", "summary.csv", HISTORY}
    assert _names(baseline / "artifacts") == _names(recorded / "artifacts")
    assert _names(tmp_path / "baselines") == {"tiny"}


def test_what_is_accepted_stays_on_record(recorded: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "tiny"
    update_baseline(baseline, recorded, "the first one")
    for step in (1.01, 1.02):
        slower = edited(recorded, tmp_path / str(step), scaled(step, "step_s"))
        update_baseline(baseline, slower, f"slower by {step}")
    history = read_history(baseline).replacements
    assert [r.reason for r in history] == ["the first one", "slower by 1.01", "slower by 1.02"]
    assert [len(r.accepted) for r in history] == [0, 2, 2]
    assert "Training step: " in history[1].accepted[0]
    assert json.loads((baseline / HISTORY).read_text())["format"] == 1
    assert load_results(baseline).runs[0].metrics["step_s"].value == pytest.approx(
        1.02 * load_results(recorded).runs[0].metrics["step_s"].value
    )


def test_profiles_go_along(recorded: Path, tmp_path: Path) -> None:
    current = edited(recorded, tmp_path / "new", lambda _: None)
    for name in ("nrf52840", "baseline/nrf52840"):
        (current / PROFILES / name).mkdir(parents=True)
        (current / PROFILES / name / "profile.json").write_text("{}")
    update_baseline(tmp_path / "tiny", current, "with a profile")
    assert _names(tmp_path / "tiny" / PROFILES) == {"nrf52840"}


def _refused(baseline: Path, current: Path, expected: str, reason: str = "why") -> None:
    before = {path: path.read_bytes() for path in baseline.rglob("*") if path.is_file()}
    with pytest.raises((UsageError, ResultError), match=expected):
        update_baseline(baseline, current, reason)
    assert {path: path.read_bytes() for path in baseline.rglob("*") if path.is_file()} == before
    assert not list(baseline.parent.glob(".*"))


def test_what_is_no_baseline_is_refused_and_the_old_one_stays(recorded: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "place" / "tiny"
    update_baseline(baseline, recorded, "the first one")
    _refused(baseline, recorded, "say why", " ")
    _refused(baseline, baseline, "the baseline itself")
    _refused(baseline, tmp_path / "nowhere", "no results folder")

    perturbed = edited(recorded, tmp_path / "perturbed", lambda result: result.update(perturbed=True))
    _refused(baseline, perturbed, "was disturbed")

    incomplete = edited(recorded, tmp_path / "incomplete", lambda _: None)
    (incomplete / "manifest.json").write_text(json.dumps({"runs": [{"run_id": "never run"}]}))
    _refused(baseline, incomplete, "1 of its runs are missing; go on by --resume first")

    damaged = edited(recorded, tmp_path / "damaged", lambda _: None)
    next(damaged.glob(f"runs/*/*/{RESULT}")).write_text("{}")
    _refused(baseline, damaged, "not what was recorded")

    other = folders.record(tmp_path / "other", name="other")
    _refused(baseline, other, "a baseline of suite tiny, not other")

    (baseline / HISTORY).write_text('{"format": 2}')
    _refused(baseline, recorded, "no history of a baseline")
