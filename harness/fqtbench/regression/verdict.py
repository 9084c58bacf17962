"""What a comparison says: a finding a metric, what can't be compared, and the exit code that follows."""

import math
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict

from fqtbench.board import Origin
from fqtbench.experiment.metrics import BY_NAME, Metric

_BASE_UNITS: Final = {"%": "share of 1", "ms": "s", "mJ": "J", "KB": "bytes"}


class Verdict(StrEnum):
    """On one metric; `IRREPRODUCIBLE`: the same run again gave another exact figure."""

    REGRESSION = "regression"
    IRREPRODUCIBLE = "irreproducible"
    UNDECIDED = "undecided"
    IMPROVEMENT = "improvement"
    FINE = "fine"
    IGNORED = "ignored"


FAILURES: Final = (Verdict.REGRESSION, Verdict.IRREPRODUCIBLE)


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Finding(_Frozen):
    """A verdict on one metric of one run, or of all its replicates where `n_runs` says so.

    `baseline`, `current`: values (geometric means of noisy ones) in `unit`, a base unit. `change`: current ÷ baseline
    − 1; `interval`: its ends at the corrected 99 %, of a noisy metric. `limit`: the fraction by which it may get worse.
    `phase`: which part of a training step changed most. `run_ids`: of what was judged. `causes`: layers and functions
    of a profile. `confirmed`: whether a rerun found the same; None without one.
    """

    run: str
    board_model: str
    metric: str
    verdict: Verdict
    unit: str
    origin: Origin
    exact: bool
    baseline: float | None = None
    current: float | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None
    n_runs: tuple[int, int] = (1, 1)
    limit: float = 0.0
    phase: str | None = None
    reason: str = ""
    run_ids: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    confirmed: bool | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others."""
        return self.board_model, self.run, self.metric

    @property
    def place(self) -> str:
        """Which run on which kind of board, for people."""
        return f"{self.run} on {self.board_model}"

    @property
    def about(self) -> Metric:
        """The metric's row of the table of metrics."""
        return BY_NAME[self.metric]


class Comparison(_Frozen):
    """All findings of two results folders, in the baseline's order.

    `unusable`: why runs were not compared. `subject`: what was meant to differ, and does. `notes`: what else to know.
    """

    suite: str
    baseline: str
    current: str
    findings: tuple[Finding, ...]
    unusable: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def having(self, *verdicts: Verdict) -> list[Finding]:
        """Return the findings with one of these verdicts."""
        return [finding for finding in self.findings if finding.verdict in verdicts]

    def find(self, key: tuple[str, str, str]) -> Finding | None:
        """Return the finding of this key."""
        return next((finding for finding in self.findings if finding.key == key), None)

    @property
    def exit_code(self) -> int:
        """0 fine, 1 regression, 2 undecided or unusable. A regression is one whatever else can't be compared."""
        if self.having(*FAILURES):
            return 1
        compared = any(f.verdict is not Verdict.IGNORED for f in self.findings)
        return 2 if self.unusable or self.having(Verdict.UNDECIDED) or not compared else 0


def base_unit(metric: Metric) -> str:
    """Return the unit in which values are stored."""
    return _BASE_UNITS.get(metric.unit, metric.unit)


def relative(baseline: float, current: float) -> float | None:
    """Return current ÷ baseline − 1; None where that says nothing."""
    if baseline == 0 or not (math.isfinite(baseline) and math.isfinite(current)):
        return None
    return current / baseline - 1
