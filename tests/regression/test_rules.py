"""Promise: gate.toml is read strictly, and the most special of its rules holds."""

from pathlib import Path

import pytest

from fqtbench.errors import UsageError
from fqtbench.regression.rules import DEFAULT_THRESHOLD, Rule, load_gate

GATE = """\
[default]
threshold = 0.05
[metrics.step_s]
threshold = 0.02
[metrics.train_loss]
ignore = true
[suites.slow.default]
allowance = 0.001
[suites.slow.metrics.step_s]
allowance = 0.01
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "gate.toml"
    path.write_text(text)
    return path


def test_the_most_special_rule_holds(tmp_path: Path) -> None:
    gate = load_gate(_write(tmp_path, GATE))
    assert gate.rule("any", "forward_s") == Rule(threshold=0.05)
    assert gate.rule("any", "step_s") == Rule(threshold=0.02)
    assert gate.rule("slow", "step_s") == Rule(threshold=0.02, allowance=0.01)
    assert gate.rule("slow", "train_loss") == Rule(threshold=0.05, allowance=0.001, ignore=True)


def test_without_a_file_no_exact_metric_may_get_worse() -> None:
    assert load_gate(None).rule("any", "step_s") == Rule(
        allowance=0.0, threshold=DEFAULT_THRESHOLD, ignore=False
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[metrics.step_ms]\nignore = true", "unknown metric step_ms; did you mean step_s?"),
        ("[metrics.step_s]\nthreshhold = 0.1", "did you mean threshold?"),
        ("[metrics.step_s]\nthreshold = 0", "metrics.step_s.threshold"),
        ("[metrics.step_s]\nthreshold = nan", "metrics.step_s.threshold"),
        ("[metrics.step_s]\nallowance = -0.1", "metrics.step_s.allowance"),
        ("[suites.slow.metrics.nothing]\nignore = true", "unknown metric nothing"),
        ("[sutes.slow]", "unknown key sutes; did you mean suites?"),
        ("a = [", "not TOML"),
        ("#" + "x" * (1 << 20), "too many for a gate"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_gate(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
