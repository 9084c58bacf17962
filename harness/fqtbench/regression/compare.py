"""Compare two results folders: match their runs, check the environment, judge each metric.

Runs are matched by their place in the suite: board model, sweep, seed. Exact metrics are compared run by run. Those
that vary are compared over replicates, runs that differ in nothing but the seed: figures that were measured, and what
was learned, wherever the trained weights are not the same bits.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from fqtbench.experiment.metrics import METRICS, Metric
from fqtbench.regression.environment import differences, subject
from fqtbench.regression.judge import LEARNED, Pair, Sample, judge_exact, judge_noisy, n_intervals, unjudged
from fqtbench.regression.rules import Gate, Rule
from fqtbench.regression.side import SEED, RunSide, Side
from fqtbench.regression.verdict import Comparison, Finding, Verdict

_MISSING: Final = "some of the runs lack it; is the monitor connected?"


@dataclass(frozen=True)
class _Group:
    """The replicates of one place in the suite, of both sides; `pairs` share a seed."""

    name: str
    baseline: tuple[RunSide, ...]
    current: tuple[RunSide, ...]

    @property
    def pairs(self) -> list[Pair]:
        found = {run.seed: run for run in self.current}
        return [Pair(run, found[run.seed]) for run in self.baseline if run.seed in found]

    @property
    def comparable(self) -> list[Pair]:
        """Return pairs in which every run is compared with one of the other side, of its seed if there is one."""
        paired = {pair.baseline.seed for pair in self.pairs}
        old = [Pair(run, self.current[0]) for run in self.baseline if run.seed not in paired]
        new = [Pair(self.baseline[0], run) for run in self.current if run.seed not in paired]
        return [*self.pairs, *old, *new]

    def metrics(self) -> list[Metric]:
        """Return the metrics of the baseline's runs, in the order of the table."""
        present = {name for run in self.baseline for name in run.metrics}
        return [metric for metric in METRICS if metric.name in present]


def compare(baseline: Side, current: Side, gate: Gate) -> Comparison:
    """Judge `current` against `baseline`."""
    unusable: list[str] = []
    notes: list[str] = []
    if baseline.suite != current.suite:
        unusable.append(f"suite: {baseline.suite}, now {current.suite}")
    groups = _groups(baseline, current, unusable, notes)
    strange = [[(pair, differences(pair.baseline, pair.current)) for pair in g.comparable] for g in groups]
    unusable += _listed(item for items in strange for item in items)
    usable = [g for g, items in zip(groups, strange, strict=True) if not any(found for _, found in items)]
    return Comparison(
        suite=baseline.suite,
        baseline=str(baseline.folder),
        current=str(current.folder),
        findings=tuple(_judge(usable, gate, baseline.suite)),
        unusable=tuple(unusable),
        subject=tuple(_subject(usable)),
        notes=tuple(notes),
    )


def _groups(baseline: Side, current: Side, unusable: list[str], notes: list[str]) -> list[_Group]:
    """Match the runs; says what has no counterpart. Seeds that only one side has are replicates all the same."""
    old, new = _by_group(baseline), _by_group(current)
    notes += [f"{_place(run)}: not in the baseline" for key in new if key not in old for run in new[key]]
    groups = []
    for key, runs in old.items():
        group = _Group(_name(runs), tuple(runs), tuple(new.get(key, [])))
        if not group.current or group.pairs:  # without a shared seed, replicates stand for each other
            paired = {pair.baseline.seed for pair in group.pairs}
            lost = [run for run in group.baseline if run.seed not in paired]
            extra = [run for run in group.current if run.seed not in paired]
            unusable += [f"{_place(run)}: not in {current.folder}; run the whole suite" for run in lost]
            notes += [f"{_place(run)}: its seed is not in the baseline" for run in extra]
        if group.current:
            groups.append(group)
    return groups


def _by_group(side: Side) -> dict[tuple[str, bytes], list[RunSide]]:
    groups: defaultdict[tuple[str, bytes], list[RunSide]] = defaultdict(list)
    for run in side.runs:
        groups[run.group].append(run)
    return groups


def _listed(strange: Iterable[tuple[Pair, dict[str, str]]]) -> Iterator[str]:
    """Say what differs of the environment, once for all the runs that it differs for."""
    said: dict[str, str] = {}
    places: defaultdict[str, list[str]] = defaultdict(list)
    for pair, found in strange:
        for key, text in found.items():
            said.setdefault(key, text)
            places[key].append(_place(pair.baseline))
    for key, text in said.items():
        more = f" and {len(places[key]) - 1} more" if len(places[key]) > 1 else ""
        yield f"{text} ({places[key][0]}{more})"


def _subject(groups: Iterable[_Group]) -> Iterator[str]:
    seen = set()
    for group in groups:
        for pair in group.comparable:
            old, new = subject(pair.baseline), subject(pair.current)
            for key in old:
                text = f"{key} on {pair.baseline.board_model}: {old[key]}, now {new[key]}"
                if old[key] != new[key] and text not in seen:
                    seen.add(text)
                    yield text


def _judge(groups: Iterable[_Group], gate: Gate, suite: str) -> Iterator[Finding]:
    """Judge the exact metrics at once; the noisy ones when it is known how many share the confidence."""
    later: list[tuple[Sample, Rule] | Finding] = []
    for group in groups:
        for metric in group.metrics():
            rule = gate.rule(suite, metric.name)
            if rule.ignore:
                run = next(run for run in group.baseline if metric.name in run.metrics)
                later.append(unjudged(group.name, metric, run, Verdict.IGNORED, "gate.toml ignores it"))
            elif _exact(group, metric.name):
                later += [judge_exact(pair, metric, rule) for pair in group.pairs]
            elif _present(group, metric.name):
                pairs = tuple(group.pairs)
                later.append((Sample(group.name, metric, group.baseline, group.current, pairs), rule))
            else:
                run = next(run for run in group.baseline if metric.name in run.metrics)
                later.append(unjudged(group.name, metric, run, Verdict.UNDECIDED, _MISSING))
    n = n_intervals(item[0] for item in later if isinstance(item, tuple))
    for item in later:
        yield item if isinstance(item, Finding) else judge_noisy(*item, n)


def _present(group: _Group, name: str) -> bool:
    return all(name in run.metrics for run in (*group.baseline, *group.current))


def _exact(group: _Group, name: str) -> bool:
    """Whether each run's figure is what it will be again, and has a counterpart."""
    pairs = group.pairs
    if not pairs or not _present(group, name):
        return False
    if not all(side.metrics[name].exact for pair in pairs for side in (pair.baseline, pair.current)):
        return False
    return name not in LEARNED or all(pair.same_weights for pair in pairs)


def _name(runs: list[RunSide]) -> str:
    """Return the name of a group of replicates: that of its one run, or what they share."""
    if len(runs) == 1:
        return runs[0].name
    shared = [part for part in runs[0].name.split(", ") if not part.startswith(f"{SEED}=")]
    return ", ".join([*shared, f"{len(runs)} seeds"])


def _place(run: RunSide) -> str:
    return f"{run.name} on {run.board_model}"
