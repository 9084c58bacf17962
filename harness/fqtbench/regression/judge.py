"""The verdict on one metric: a function of its two samples, the rule, and nothing else."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fqtbench.experiment.metrics import Metric, MetricValue, Source
from fqtbench.power import PHASES
from fqtbench.regression.noise import MIN_REPLICATES, Interval, corrected, paired, welch
from fqtbench.regression.rules import Rule
from fqtbench.regression.side import RunSide
from fqtbench.regression.verdict import Finding, Verdict, base_unit, relative

LEARNED: Final = ("test_accuracy", "test_loss", "train_loss")  # what the trained weights decide
_ROUNDING: Final = 1e-12  # relative: the order in which NumPy sums floats differs between processors


@dataclass(frozen=True)
class Pair:
    """The two runs of one place in the suite, seed included."""

    baseline: RunSide
    current: RunSide

    @property
    def same_weights(self) -> bool:
        """Whether both trained the same bits."""
        return self.baseline.weights_checksum == self.current.weights_checksum

    def perturbed(self, metric: Metric) -> RunSide | None:
        """Return the run whose line was disturbed, if that matters to the metric: counts it doesn't change."""
        if metric.source is Source.COUNT:
            return None
        return next((run for run in (self.current, self.baseline) if run.facts.perturbed), None)


@dataclass(frozen=True)
class Sample:
    """A metric that varies, of all replicates of both sides; `pairs` are those that share a seed."""

    name: str
    metric: Metric
    baseline: tuple[RunSide, ...]
    current: tuple[RunSide, ...]
    pairs: tuple[Pair, ...]

    def values(self) -> tuple[list[float], list[float], bool]:
        """Return what is compared, of the baseline and of now, and whether it comes in pairs.

        Runs whose line was disturbed don't count for what that changes.
        """
        paired_runs = [p for p in self.pairs if p.perturbed(self.metric) is None]
        if len(paired_runs) >= MIN_REPLICATES:
            return (
                [self._of(p.baseline) for p in paired_runs],
                [self._of(p.current) for p in paired_runs],
                True,
            )
        old, new = ([self._of(run) for run in runs if self.counts(run)] for runs in self.sides)
        return old, new, False

    @property
    def sides(self) -> tuple[tuple[RunSide, ...], tuple[RunSide, ...]]:
        """Baseline and current."""
        return self.baseline, self.current

    @property
    def enough(self) -> bool:
        """Whether both sides have replicates enough for a verdict."""
        old, new, _ = self.values()
        return min(len(old), len(new)) >= MIN_REPLICATES

    @property
    def facts(self) -> MetricValue:
        """The metric of the baseline's first run: origin and kind."""
        return self.baseline[0].metrics[self.metric.name]

    def counts(self, run: RunSide) -> bool:
        """Whether a run says anything of the metric: a disturbed line changes its times."""
        return self.metric.source is Source.COUNT or not run.facts.perturbed

    def _of(self, run: RunSide) -> float:
        return run.metrics[self.metric.name].value


def n_intervals(samples: Iterable[Sample]) -> int:
    """Return how many verdicts share one confidence."""
    return sum(sample.enough for sample in samples)


def judge_exact(pair: Pair, metric: Metric, rule: Rule) -> Finding:
    """Compare two figures that come out the same whenever the same thing is run."""
    old, new = pair.baseline.metrics[metric.name], pair.current.metrics[metric.name]
    finding = Finding(
        run=pair.baseline.name,
        run_ids=(pair.current.facts.run_id,),
        board_model=pair.baseline.board_model,
        metric=metric.name,
        verdict=Verdict.FINE,
        unit=base_unit(metric),
        origin=old.origin,
        exact=True,
        baseline=old.value,
        current=new.value,
        change=relative(old.value, new.value),
        limit=rule.allowance,
        phase=_phase(metric, pair),
    )
    disturbed = pair.perturbed(metric)
    if disturbed is not None:
        where = disturbed.result.folder.parents[2]
        reason = f"its line was disturbed (perturbed) in {where}, so its times are not exact; run it again"
        return finding.model_copy(update={"verdict": Verdict.UNDECIDED, "reason": reason})
    verdict, reason = _exact_verdict(old.value, new.value, metric, rule.allowance)
    same_run = pair.baseline.facts.run_id == pair.current.facts.run_id
    if not _same(old.value, new.value) and (same_run or metric.name in LEARNED):
        verdict = Verdict.IRREPRODUCIBLE
        reason = "the same firmware, image and samples gave another exact figure"
        if not same_run:
            reason = (
                "the trained weights are the same bits, but not what they predict: the arithmetic changed"
            )
    return finding.model_copy(update={"verdict": verdict, "reason": reason})


def judge_noisy(sample: Sample, rule: Rule, n: int) -> Finding:
    """Compare figures that vary from run to run, as one of `n` such verdicts."""
    metric = sample.metric
    old, new, in_pairs = sample.values()
    finding = Finding(
        run=sample.name,
        run_ids=tuple(run.facts.run_id for run in sample.current),
        board_model=sample.baseline[0].board_model,
        metric=metric.name,
        verdict=Verdict.UNDECIDED,
        unit=base_unit(metric),
        origin=sample.facts.origin,
        exact=False,
        n_runs=(len(old), len(new)),
        limit=rule.threshold,
    )
    positive = all(math.isfinite(value) and value > 0 for value in (*old, *new))
    if positive and old and new:
        middles = [math.exp(math.fsum(map(math.log, sorted(v))) / len(v)) for v in (old, new)]
        change = relative(*middles)
        finding = finding.model_copy(update={"baseline": middles[0], "current": middles[1], "change": change})
    if not sample.enough:
        return finding.model_copy(update={"reason": _too_few(sample, len(old), len(new))})
    if not positive:
        return finding.model_copy(
            update={"reason": "a figure is zero, negative or no number; look at the runs"}
        )
    interval = (paired if in_pairs else welch)(old, new, corrected(n))
    how = "paired by seed" if in_pairs else "seeds differ, so not paired (Welch)"
    return finding.model_copy(
        update={
            "verdict": noisy_verdict(interval, metric, rule.threshold),
            "interval": (math.expm1(interval.low), math.expm1(interval.high)),
            "reason": how + _left_out(sample),
        }
    )


def noisy_verdict(interval: Interval, metric: Metric, threshold: float) -> Verdict:
    """Return the verdict on an interval: it must lie wholly on one side of what the threshold allows."""
    if metric.better == "lower":
        worst, best, limit, gain = interval.high, interval.low, math.log1p(threshold), math.log1p(-threshold)
        improved = worst < gain
    else:
        worst, best, limit, gain = (
            -interval.low,
            -interval.high,
            -math.log1p(-threshold),
            math.log1p(threshold),
        )
        improved = interval.low > gain
    if best > limit:
        return Verdict.REGRESSION
    if worst > limit:
        return Verdict.UNDECIDED
    return Verdict.IMPROVEMENT if improved else Verdict.FINE


def unjudged(name: str, metric: Metric, run: RunSide, verdict: Verdict, reason: str) -> Finding:
    """Return the finding on a metric that is not compared; `run` has it."""
    value = run.metrics[metric.name]
    return Finding(
        run=name,
        board_model=run.board_model,
        metric=metric.name,
        verdict=verdict,
        unit=base_unit(metric),
        origin=value.origin,
        exact=value.exact,
        reason=reason,
    )


def _exact_verdict(old: float, new: float, metric: Metric, allowance: float) -> tuple[Verdict, str]:
    if _same(old, new):
        return Verdict.FINE, ""
    if not math.isfinite(new):
        return Verdict.REGRESSION, "it is no number any more"
    if not math.isfinite(old):
        return Verdict.IMPROVEMENT, "it was no number"
    worse = (new - old) * (1 if metric.better == "lower" else -1)
    if worse <= 0:
        return Verdict.IMPROVEMENT, ""
    if worse <= allowance * abs(old) * (1 + _ROUNDING):
        return Verdict.FINE, "worse, but within its allowance"
    return Verdict.REGRESSION, ""


def _same(old: float, new: float) -> bool:
    if math.isnan(old) or math.isnan(new):
        return math.isnan(old) and math.isnan(new)
    return math.isclose(old, new, rel_tol=_ROUNDING)


def _phase(metric: Metric, pair: Pair) -> str | None:
    """Return the phase that a metric is of, or the one that changed most of its sum."""
    name = metric.name.removesuffix("_s")
    if metric.name.endswith("_s") and name in PHASES:
        return name
    if metric.name.startswith("inference"):
        return PHASES[0]
    old, new = pair.baseline.by_phase(metric.name), pair.current.by_phase(metric.name)
    changes = {phase: abs(new[phase] - old[phase]) for phase in old if phase in new}
    largest = max(changes, key=changes.__getitem__, default=None)
    return largest if largest is not None and changes[largest] > 0 else None


def _too_few(sample: Sample, n_old: int, n_new: int) -> str:
    why = "it varies from run to run"
    if not sample.pairs:
        why = "no seed is on both sides"
    elif sample.facts.exact:
        why = "its trained weights differ"
    return (
        f"{why}, and {n_old} and {n_new} runs are too few: a verdict needs {MIN_REPLICATES} a side; "
        f"give the suite's sweep more seeds{_left_out(sample)}"
    )


def _left_out(sample: Sample) -> str:
    """Say how many runs don't count; a noisy result is never hidden."""
    n = sum(not sample.counts(run) for side in sample.sides for run in side)
    return f"; {n} runs left out, whose lines were disturbed" if n else ""
