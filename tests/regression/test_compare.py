"""Promise: what got worse is named: run, metric, phase, by how much; what can't be compared is said, not guessed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fqtbench.errors import ResultError
from fqtbench.experiment.record import RESULT
from fqtbench.regression.compare import compare
from fqtbench.regression.rules import Gate
from fqtbench.regression.side import load_side
from fqtbench.regression.verdict import Comparison, Verdict
from fqtbench.regression.words import headline, lines, sentence
from tests.regression import folders
from tests.regression.folders import Result, edited, other_firmware, scaled

SEEDS = list(range(6))


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of exact figures."""
    return folders.record(tmp_path_factory.mktemp("exact"), sweep={"seed": [1, 2]})


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six replicates whose cycles are measured."""
    return folders.record(tmp_path_factory.mktemp("noisy"), "measured", sweep={"seed": SEEDS})


def _compare(baseline: Path, current: Path, **rules: Any) -> Comparison:
    return compare(load_side(baseline), load_side(current), Gate.model_validate(rules))


def _noise(generator: np.random.Generator, factor: float, spread: float) -> Callable[[Result], None]:
    def edit(result: Result) -> None:
        other_firmware(result)
        for name in ("forward_s", "backward_s", "update_s", "step_s", "inference_s"):
            result["metrics"][name]["value"] *= factor * float(np.exp(generator.normal(0, spread)))

    return edit


def test_the_same_results_are_fine(baseline: Path) -> None:
    comparison = _compare(baseline, baseline)
    assert comparison.exit_code == 0
    assert {finding.verdict for finding in comparison.findings} == {Verdict.FINE}
    assert len(comparison.findings) == 2 * 15
    assert (comparison.unusable, comparison.subject, comparison.notes) == ((), (), ())


def test_another_firmware_with_the_same_figures_is_fine_and_said(baseline: Path, tmp_path: Path) -> None:
    comparison = _compare(baseline, edited(baseline, tmp_path / "new", other_firmware))
    assert comparison.exit_code == 0
    (changed,) = comparison.subject
    assert changed.startswith("firmware on nrf52840: ")
    assert changed.endswith(folders.ANOTHER_FIRMWARE[:12])


@pytest.mark.parametrize("metric", ["forward_s", "ram_bytes", "flash_bytes", "stack_bytes", "step_j"])
def test_the_least_worsening_of_an_exact_metric_is_a_regression(
    baseline: Path, tmp_path: Path, metric: str
) -> None:
    comparison = _compare(baseline, edited(baseline, tmp_path / "new", scaled(1.00001, metric)))
    assert comparison.exit_code == 1
    found = comparison.having(Verdict.REGRESSION)
    assert [finding.metric for finding in found] == [metric, metric]
    assert "+0.0010 %" in sentence(found[0]) or "+0.001 %" in sentence(found[0])
    old, new = sentence(found[0]).split(": ")[2].split(" (")[0].split(" → ")
    assert old != new.rsplit(" ", 1)[0]


def test_run_phase_and_size_are_named(baseline: Path, tmp_path: Path) -> None:
    comparison = _compare(baseline, edited(baseline, tmp_path / "new", scaled(1.25, "backward_s")))
    told = lines(comparison)[0]
    assert told.startswith("regression: seed=1 on nrf52840: Backward: ")
    assert "(+25.00 %, modelled); none is allowed" in told


def test_a_step_says_in_which_phase_it_changed_most(baseline: Path, tmp_path: Path) -> None:
    def edit(result: Result) -> None:
        other_firmware(result)
        more = result["metrics"]["update_s"]["value"]
        for name in ("update_s", "step_s"):
            result["metrics"][name]["value"] += more

    found = _compare(baseline, edited(baseline, tmp_path / "new", edit)).having(Verdict.REGRESSION)
    step = next(finding for finding in found if finding.metric == "step_s")
    assert step.phase == "update"
    assert "most of it in the update" in sentence(step)


def test_an_allowance_allows_that_much_and_no_more(baseline: Path, tmp_path: Path) -> None:
    rules = {"metrics": {"step_s": {"allowance": 0.01}}}
    for factor, code in ((1.0099, 0), (1.0101, 1)):
        current = edited(baseline, tmp_path / str(factor), scaled(factor, "step_s"))
        assert _compare(baseline, current, **rules).exit_code == code


def test_an_ignored_metric_is_not_compared(baseline: Path, tmp_path: Path) -> None:
    current = edited(baseline, tmp_path / "new", scaled(2, "step_s"))
    comparison = _compare(baseline, current, metrics={"step_s": {"ignore": True}})
    assert comparison.exit_code == 0
    assert [f.metric for f in comparison.having(Verdict.IGNORED)] == ["step_s"]


def test_improvements_are_reported(baseline: Path, tmp_path: Path) -> None:
    comparison = _compare(baseline, edited(baseline, tmp_path / "new", scaled(0.9, "step_s")))
    assert comparison.exit_code == 0
    assert "2 better" in headline(comparison)
    assert "improvement: seed=1 on nrf52840: Training step: " in lines(comparison)[0]


def test_the_same_run_with_another_exact_figure_fails_even_if_it_is_better(
    baseline: Path, tmp_path: Path
) -> None:
    def edit(result: Result) -> None:
        result["metrics"]["step_s"]["value"] *= 0.9

    comparison = _compare(baseline, edited(baseline, tmp_path / "new", edit))
    assert comparison.exit_code == 1
    assert {f.metric for f in comparison.having(Verdict.IRREPRODUCIBLE)} == {"step_s"}


def test_other_predictions_of_the_same_weights_fail(baseline: Path, tmp_path: Path) -> None:
    comparison = _compare(baseline, edited(baseline, tmp_path / "new", scaled(1.1, "test_accuracy")))
    assert comparison.exit_code == 1
    assert "the trained weights are the same bits" in lines(comparison)[0]


def _set(*path: str, value: Any) -> Callable[[Result], None]:
    def edit(result: Result) -> None:
        part = result
        for key in path[:-1]:
            part = part.setdefault(key, {})
        part[path[-1]] = value

    return edit


ENVIRONMENT = {
    "board model's clock": (
        _set("identity", "board", "clock_hz", value=32_000_000),
        "board.clock_hz: 64000000, now",
    ),
    "run specification": (
        _set("identity", "spec", "training", "epochs", value=3),
        "run.training.epochs: 2, now 3",
    ),
    "data": (_set("identity", "samples", value="other"), "samples: "),
    "order of samples": (_set("identity", "order", value="other"), "sample order: "),
    "arithmetic": (_set("device", "arith_id", value=9), "arith_id: 4, now 9"),
    "toolchain": (_set("firmware", "manifest", "toolchain", value="gcc 14"), "toolchain: arm-none-eabi-gcc"),
    "timing model": (_set("timing_model_id", value="m4-9"), "timing model: not recorded, now m4-9"),
    "power model": (_set("power_model_id", value="p-9"), "power model: "),
    "origin": (
        _set("metrics", "step_s", "origin", value="measured"),
        "origin of step_s: modelled, now measured",
    ),
}


@pytest.mark.parametrize(("edit", "expected"), ENVIRONMENT.values(), ids=ENVIRONMENT.keys())
def test_another_environment_is_listed_and_nothing_is_judged(
    baseline: Path, tmp_path: Path, edit: Callable[[Result], None], expected: str
) -> None:
    comparison = _compare(baseline, edited(baseline, tmp_path / "new", edit))
    assert comparison.exit_code == 2
    assert comparison.findings == ()
    assert any(text.startswith(expected) for text in comparison.unusable)
    assert all(text.endswith("(seed=1 on nrf52840 and 1 more)") for text in comparison.unusable)


def test_results_of_before_a_key_existed_are_still_comparable(baseline: Path, tmp_path: Path) -> None:
    """What is missing has its default; words of a board model are no environment."""

    def older(result: Result) -> None:
        del result["identity"]["board"]["connect_mode"], result["identity"]["spec"]["verify"]
        result["identity"]["board"]["title"] = "as it was called"
        result.pop("power_model_id", None)

    def younger(result: Result) -> None:
        result.pop("power_model_id", None)
        result["identity"]["spec"]["verify"] = 200

    old, new = edited(baseline, tmp_path / "old", older), edited(baseline, tmp_path / "new", younger)
    comparison = _compare(old, new)
    assert (comparison.exit_code, comparison.unusable) == (0, ())


def test_a_missing_run_makes_it_incomplete(baseline: Path, tmp_path: Path) -> None:
    fewer = folders.record(tmp_path, sweep={"seed": [1]})
    comparison = _compare(baseline, fewer)
    assert comparison.exit_code == 2
    assert comparison.unusable == (f"seed=2 on nrf52840: not in {fewer}; run the whole suite",)
    assert _compare(fewer, baseline).exit_code == 0
    assert _compare(fewer, baseline).notes == ("seed=2 on nrf52840: its seed is not in the baseline",)


def test_a_disturbed_line_leaves_times_undecided_but_not_counts(baseline: Path, tmp_path: Path) -> None:
    def edit(result: Result) -> None:
        result["perturbed"] = True

    comparison = _compare(baseline, edited(baseline, tmp_path / "new", edit))
    undecided = {finding.metric for finding in comparison.having(Verdict.UNDECIDED)}
    assert comparison.exit_code == 2
    assert "step_s" in undecided
    assert "step_j" in undecided
    assert not undecided & {"test_accuracy", "ram_bytes", "flash_bytes"}


def test_a_loss_that_is_no_number_any_more_is_a_regression(baseline: Path, tmp_path: Path) -> None:
    comparison = _compare(baseline, edited(baseline, tmp_path / "new", scaled(float("nan"), "step_s")))
    assert comparison.exit_code == 1
    assert "it is no number any more" in lines(comparison)[0]


# -- noisy metrics


@pytest.mark.parametrize(
    ("factor", "spread", "code", "verdict"),
    [
        (1.0, 0.001, 0, Verdict.FINE),
        (1.1, 0.001, 1, Verdict.REGRESSION),
        (0.9, 0.001, 0, Verdict.IMPROVEMENT),
        (1.03, 0.05, 2, Verdict.UNDECIDED),
    ],
)
def test_noisy_times_are_judged_over_replicates(
    noisy: Path, tmp_path: Path, factor: float, spread: float, code: int, verdict: Verdict
) -> None:
    current = edited(noisy, tmp_path / "new", _noise(np.random.default_rng(5), factor, spread))
    comparison = _compare(noisy, current)
    assert comparison.exit_code == code
    (step,) = [finding for finding in comparison.findings if finding.metric == "step_s"]
    assert (step.verdict, step.n_runs, step.exact, step.reason) == (verdict, (6, 6), False, "paired by seed")
    assert "99 % interval" in sentence(step)


def test_too_few_replicates_are_undecided_and_said(tmp_path: Path) -> None:
    few = folders.record(tmp_path, "measured", sweep={"seed": SEEDS[:5]})
    comparison = _compare(few, few)
    assert comparison.exit_code == 2
    (step,) = [finding for finding in comparison.having(Verdict.UNDECIDED) if finding.metric == "step_s"]
    assert "5 and 5 runs are too few: a verdict needs 6 a side" in sentence(step)


def test_runs_on_a_disturbed_line_do_not_count_and_that_is_said(noisy: Path, tmp_path: Path) -> None:
    def edit(result: Result) -> None:
        result["perturbed"] = result["identity"]["seed"] == 3

    comparison = _compare(noisy, edited(noisy, tmp_path / "new", edit))
    (step,) = [finding for finding in comparison.findings if finding.metric == "step_s"]
    assert (step.verdict, step.n_runs) == (Verdict.UNDECIDED, (6, 5))
    assert "1 runs left out, whose lines were disturbed" in step.reason
    assert comparison.exit_code == 2


def test_other_seeds_are_compared_unpaired(noisy: Path, tmp_path: Path) -> None:
    other = folders.record(tmp_path, "measured", sweep={"seed": [100 + seed for seed in SEEDS]})
    comparison = _compare(noisy, other)
    assert comparison.unusable == ()
    (step,) = [finding for finding in comparison.findings if finding.metric == "step_s"]
    assert (step.verdict, step.reason) == (Verdict.FINE, "seeds differ, so not paired (Welch)")

    def last_board(result: Result) -> None:
        if result["identity"]["seed"] == 105:
            result["identity"]["board"]["clock_hz"] = 32_000_000

    (found,) = _compare(noisy, edited(other, tmp_path / "last", last_board)).unusable
    assert found.startswith("board.clock_hz: 64000000, now 32000000")


def test_accuracy_is_noisy_where_the_weights_differ(baseline: Path, tmp_path: Path) -> None:
    """Another image trains other weights: two seeds say nothing of accuracy, and all of bytes."""
    current = edited(
        baseline, tmp_path / "new", other_firmware, lambda epochs: epochs.assign(checksum=epochs.checksum ^ 1)
    )
    comparison = _compare(baseline, current)
    assert {f.metric for f in comparison.having(Verdict.UNDECIDED)} == {
        "test_accuracy",
        "test_loss",
        "train_loss",
    }
    assert "its trained weights differ, and 2 and 2 runs are too few" in lines(comparison)[0]
    assert comparison.exit_code == 2


# -- hostile folders


def test_a_figure_that_was_edited_by_hand_is_refused(baseline: Path, tmp_path: Path) -> None:
    copy = edited(baseline, tmp_path / "new", lambda _: None)
    path = next(copy.glob(f"runs/*/*/{RESULT}"))
    path.write_text(path.read_text().replace('"value": ', '"value": 1'))
    with pytest.raises(ResultError, match="not what was recorded there"):
        load_side(copy)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (_set("metrics", "step_s", "value", value="fast"), "metrics.step_s: no value with origin"),
        (_set("metrics", "step_s", "origin", value=None), "metrics.step_s: no value with origin"),
        (_set("identity", "board", value=[]), "identity.board"),
        (_set("number", value="first"), "number"),
        (_set("perturbed", value={}), "perturbed"),
    ],
)
def test_a_result_that_makes_no_sense_is_one_line(
    baseline: Path, tmp_path: Path, edit: Callable[[Result], None], expected: str
) -> None:
    copy = edited(baseline, tmp_path / "new", edit)
    with pytest.raises(ResultError) as caught:
        load_side(copy)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "epochs",
    [
        lambda table: table.drop(columns="checksum"),
        lambda table: table.iloc[:0],
        lambda table: table.assign(checksum="crc"),
        lambda table: table.assign(energy_forward_j="much"),
    ],
)
def test_a_table_that_makes_no_sense_is_one_line(
    baseline: Path, tmp_path: Path, epochs: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    with pytest.raises(ResultError, match="no table of epochs; record the run anew"):
        load_side(edited(baseline, tmp_path / "new", other_firmware, epochs))
