"""Promise: a verdict reads the same in every output, and no name in it can break out of its place."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fqtbench.regression.outputs import annotations, junit, markdown
from fqtbench.regression.verdict import Comparison, Finding, Verdict
from fqtbench.regression.words import figure, headline, lines, percent, sentence

SLOWER = Finding(
    run="seed=1",
    board_model="nrf52840",
    metric="backward_s",
    verdict=Verdict.REGRESSION,
    unit="s",
    origin="modelled",
    exact=True,
    baseline=0.001,
    current=0.00125,
    change=0.25,
    phase="backward",
    causes=("layer 2:conv2d ∂W: +1,234 cycles a step (+12.00 %)",),
    confirmed=True,
)
FINDINGS = tuple(SLOWER.model_copy(update={"verdict": verdict, "run": verdict}) for verdict in Verdict)


def _comparison(*findings: Finding, **more: tuple[str, ...]) -> Comparison:
    return Comparison(suite="tiny", baseline="old", current="new", findings=findings, **more)


def test_a_sentence_says_run_metric_figures_cause_and_confirmation() -> None:
    assert sentence(SLOWER) == (
        "seed=1 on nrf52840: Backward: 1 ms → 1.25 ms (+25.00 %, modelled); none is allowed; "
        "layer 2:conv2d ∂W: +1,234 cycles a step (+12.00 %); confirmed by a rerun"
    )


@pytest.mark.parametrize(
    ("verdicts", "unusable", "code"),
    [
        ((Verdict.FINE, Verdict.IMPROVEMENT, Verdict.IGNORED), (), 0),
        ((Verdict.FINE, Verdict.REGRESSION, Verdict.UNDECIDED), ("clock",), 1),
        ((Verdict.FINE, Verdict.IRREPRODUCIBLE), (), 1),
        ((Verdict.FINE, Verdict.UNDECIDED), (), 2),
        ((Verdict.FINE,), ("clock",), 2),
        ((Verdict.IGNORED,), (), 2),
        ((), (), 2),
    ],
)
def test_the_exit_code_follows_from_the_worst(
    verdicts: list[Verdict], unusable: tuple[str, ...], code: int
) -> None:
    findings = [finding for finding in FINDINGS if finding.verdict in verdicts]
    assert _comparison(*findings, unusable=unusable).exit_code == code


def test_junit_counts_what_failed_and_what_is_undecided() -> None:
    root = ElementTree.fromstring(junit(_comparison(*FINDINGS, unusable=("toolchain: 12, now 13",))))
    (suite,) = root
    assert suite.attrib == {"name": "tiny", "tests": "7", "failures": "2", "errors": "2", "skipped": "1"}
    cases = {case.attrib["name"]: case for case in suite}
    failure = cases["regression: backward_s"].find("failure")
    assert failure is not None
    assert failure.attrib["message"] == sentence(FINDINGS[0])
    assert cases["regression: backward_s"].attrib["classname"] == "tiny.nrf52840"
    error = cases["comparable"].find("error")
    assert error is not None
    assert error.text == "toolchain: 12, now 13"


def test_markdown_shows_what_stands_out() -> None:
    text = markdown(_comparison(*FINDINGS, notes=("a note",)))
    assert text.startswith("### fqtbench: regression\n")
    assert sum(line.startswith("| ") for line in text.splitlines()) == 1 + 4
    assert (
        "| **regression** | regression on nrf52840 | Backward | 1 ms | 1.25 ms | +25.00 % | modelled |"
        in text
    )
    assert "- a note" in text


def test_annotations_are_one_line_each() -> None:
    told = annotations(_comparison(*FINDINGS, unusable=("50 %\nlost",)))
    assert told[0] == "::error title=fqtbench%3A not comparable::50 %25%0Alost"
    assert [line.split(" ")[0] for line in told] == ["::error"] * 4 + ["::notice"]


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_name_breaks_out_of_its_place(run: str, reason: str) -> None:
    finding = SLOWER.model_copy(update={"run": run, "reason": reason})
    comparison = _comparison(finding, unusable=(reason,))
    (suite,) = ElementTree.fromstring(junit(comparison))
    assert len(suite) == 2
    rows = [line for line in markdown(comparison).split("\n") if line.startswith("| ")]
    assert len(rows) == 2
    assert rows[1].replace("\\\\", "").replace("\\|", "").count("|") == rows[0].count("|")
    assert all("\n" not in line and "\r" not in line for line in annotations(comparison))


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_two_figures_that_differ_are_shown_to_differ(old: float, new: float) -> None:
    finding = SLOWER.model_copy(update={"baseline": old, "current": new})
    assert (figure(finding, old) == figure(finding, new)) == (old * 1e3 == new * 1e3)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.25, "+25.00 %"), (-0.5, "-50.00 %"), (1e-6, "+0.0001 %"), (9.0, "+900 %"), (0, "+0 %")],
)
def test_a_change_keeps_its_sign_and_a_digit(fraction: float, text: str) -> None:
    assert percent(fraction) == text


def test_lines_begin_with_the_worst_and_leave_out_what_is_as_before() -> None:
    comparison = _comparison(*FINDINGS, subject=("firmware: a, now b",), notes=("a note",))
    assert [line.split(": ")[0] for line in lines(comparison)] == [
        *("regression", "irreproducible", "undecided", "improvement", "changed", "note")
    ]
    assert headline(comparison) == "tiny: 2 worse, 1 undecided, 1 better, 1 as before"
