"""A regression is confirmed by a rerun; an exact figure that a rerun doesn't repeat is a failure of its own."""

from fqtbench.experiment.spec import Suite, Variant, canonical_json
from fqtbench.regression.side import Side
from fqtbench.regression.verdict import FAILURES, Comparison, Finding, Verdict


def to_repeat(comparison: Comparison, current: Side, suite: Suite) -> tuple[list[Variant], set[str]]:
    """Return the variants of `suite`, and the kinds of board, of the runs that got worse."""
    run_ids = {run_id for finding in comparison.having(*FAILURES) for run_id in finding.run_ids}
    runs = [run for run in current.runs if run.facts.run_id in run_ids]
    wanted = {canonical_json(run.facts.assignment) for run in runs}
    variants = [variant for variant in suite.variants if canonical_json(variant.assignment) in wanted]
    return variants, {run.board_model for run in runs}


def confirm(comparison: Comparison, against_first: Comparison, against_baseline: Comparison) -> Comparison:
    """Return `comparison` as a rerun leaves it, given the rerun's with the first run and with the baseline."""
    findings = [_confirmed(finding, against_first, against_baseline) for finding in comparison.findings]
    return comparison.model_copy(update={"findings": tuple(findings)})


def _confirmed(finding: Finding, against_first: Comparison, against_baseline: Comparison) -> Finding:
    if not finding.exact:
        return _noisy(finding, against_baseline.find(finding.key))
    again = against_first.find(finding.key)
    if again is not None and again.verdict is Verdict.IRREPRODUCIBLE:
        change = {
            "verdict": Verdict.IRREPRODUCIBLE,
            "reason": f"a rerun gave {again.current!r} {again.unit} instead of {again.baseline!r}",
        }
        return finding.model_copy(update=change)
    if finding.verdict is not Verdict.REGRESSION:
        return finding
    if again is None or again.verdict is Verdict.UNDECIDED:
        reason = again.reason if again is not None else "the rerun lacks it"
        return _open(finding, f"its rerun says nothing: {reason}")
    return finding.model_copy(update={"confirmed": True})


def _noisy(finding: Finding, again: Finding | None) -> Finding:
    if finding.verdict is not Verdict.REGRESSION:
        return finding
    if again is None or again.verdict is not Verdict.REGRESSION:
        return _open(finding, f"a rerun did not confirm it, but is {again.verdict if again else 'missing'}")
    return finding.model_copy(update={"confirmed": True})


def _open(finding: Finding, reason: str) -> Finding:
    reason = "; ".join(part for part in (finding.reason, reason) if part)
    return finding.model_copy(update={"verdict": Verdict.UNDECIDED, "reason": reason, "confirmed": False})
