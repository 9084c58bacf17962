"""Findings in words, the same in the terminal, in JUnit, in Markdown and in annotations."""

from typing import Final

from fqtbench.regression.verdict import FAILURES, Comparison, Finding, Verdict

_DIGITS: Final = (3, 5, 8, 12, 17)  # significant ones: as many as it takes to tell two figures apart
_PHASES: Final = {"forward": "the forward pass", "backward": "the backward pass", "update": "the update"}


def sentence(finding: Finding) -> str:
    """Return run, metric, figures and reason of a finding, in one line."""
    parts = [_figures(finding)]
    if finding.about.name.split("_")[0] not in _PHASES and finding.phase and finding.change:
        parts.append(f"most of it in {_PHASES[finding.phase]}")
    if finding.interval is not None:
        low, high = map(percent, finding.interval)
        parts.append(f"99 % interval {low} to {high} over {finding.n_runs[0]} and {finding.n_runs[1]} runs")
    if finding.verdict is Verdict.REGRESSION:
        parts.append(f"allowed is {100 * finding.limit:g} %" if finding.limit else "none is allowed")
    if finding.reason:
        parts.append(finding.reason)
    parts += finding.causes
    if finding.confirmed:
        parts.append("confirmed by a rerun")
    return f"{finding.place}: {finding.about.title}: {'; '.join(part for part in parts if part)}"


def percent(fraction: float) -> str:
    """Return "+1.2 %"; small changes keep two digits."""
    value = 100 * fraction
    digits = 2 if abs(value) < 100 else 0
    text = f"{value:+.{digits}f}"
    return f"{text if float(text) else f'{value:+.2g}'} %"


def headline(comparison: Comparison) -> str:
    """Return the verdict on everything, in one line."""
    failed, undecided = comparison.having(*FAILURES), comparison.having(Verdict.UNDECIDED)
    improved, fine = comparison.having(Verdict.IMPROVEMENT), comparison.having(Verdict.FINE)
    counts = [
        (len(failed), "worse"),
        (len(undecided), "undecided"),
        (len(improved), "better"),
        (len(fine), "as before"),
    ]
    told = ", ".join(f"{n} {word}" for n, word in counts if n) or "nothing was compared"
    if comparison.unusable:
        told += f"; not comparable: {comparison.unusable[0]}"
        more = len(comparison.unusable) - 1
        told += f" and {more} more" if more else ""
    return f"{comparison.suite}: {told}"


def lines(comparison: Comparison) -> list[str]:
    """Return everything that somebody should see, the worst first; not what is as before."""
    found = [f"not comparable: {text}" for text in comparison.unusable]
    for verdict in (Verdict.REGRESSION, Verdict.IRREPRODUCIBLE, Verdict.UNDECIDED, Verdict.IMPROVEMENT):
        found += [f"{verdict}: {sentence(finding)}" for finding in comparison.having(verdict)]
    found += [f"changed: {text}" for text in comparison.subject]
    return [*found, *(f"note: {text}" for text in comparison.notes)]


def figure(finding: Finding, value: float | None) -> str:
    """Return one of a finding's values in the unit that tables use, told apart from the other one."""
    metric = finding.about
    values = [v for v in (finding.baseline, finding.current) if v is not None]
    for digits in _DIGITS:
        texts = {f"{v * metric.scale:.{digits}g}" for v in values}
        if len(texts) == len(set(values)):
            break
    return "–" if value is None else f"{_plain(value * metric.scale, digits)} {metric.unit}"


def _plain(value: float, digits: int) -> str:
    """Return so many significant digits, but no exponent, and all digits of the integer part."""
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text else text


def _figures(finding: Finding) -> str:
    if finding.baseline is None and finding.current is None:
        return finding.origin
    change = "" if finding.change is None else f"{percent(finding.change)}, "
    old, new = figure(finding, finding.baseline), figure(finding, finding.current)
    return f"{old} → {new} ({change}{finding.origin})"
