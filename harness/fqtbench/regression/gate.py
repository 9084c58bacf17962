"""The gate: run a suite, compare it with its baseline, repeat what got worse."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fqtbench.bench.pool import WORKER
from fqtbench.experiment.runner import Observer, Order, run_suite
from fqtbench.profile.take import Request
from fqtbench.regression.compare import compare
from fqtbench.regression.confirm import confirm, to_repeat
from fqtbench.regression.profiles import baseline_profile, explain, profilable, take_current
from fqtbench.regression.rules import Gate
from fqtbench.regression.side import Side, load_side
from fqtbench.regression.verdict import FAILURES, Comparison

RERUN: Final = "rerun"


@dataclass(frozen=True)
class GateOrder:
    """What the caller wants: `order` says which suite on which boards into which folder."""

    order: Order
    baseline: Path
    gate: Gate
    profile: bool = False


def run_gate(
    wanted: GateOrder, observer: Observer, tell: Callable[[str], None], worker: Sequence[str] = WORKER
) -> Comparison:
    """Run, compare, confirm, and profile if that is wanted; `tell` hears what else to know.

    Only the baseline's runs on the boards' models count. Raises what `run_suite` and `load_side` do.
    """
    order = wanted.order
    whole = load_side(wanted.baseline)  # before an hour's work, not behind it
    models = {board.model for board in order.boards}
    baseline = whole.of(models)
    left = sorted({run.board_model for run in whole.runs} - models)
    run_suite(order, observer, worker)
    current = load_side(order.folder)
    comparison = compare(baseline, current, wanted.gate)
    if left:
        note = f"the baseline's runs on {', '.join(left)} are not compared: no such board was asked for"
        comparison = comparison.model_copy(update={"notes": (*comparison.notes, note)})
    if comparison.having(*FAILURES):
        rerun = _repeat(order, comparison, current, observer, worker)
        comparison = confirm(
            comparison, compare(current, rerun, wanted.gate), compare(baseline, rerun, wanted.gate)
        )
    if wanted.profile:
        comparison = _profiled(order, comparison, baseline, current, tell)
    return comparison


def _repeat(
    order: Order, comparison: Comparison, current: Side, observer: Observer, worker: Sequence[str]
) -> Side:
    """Run what got worse again, into a folder within the first one's."""
    variants, models = to_repeat(comparison, current, order.suite)
    again = replace(
        order,
        suite=replace(order.suite, variants=tuple(variants)),
        boards=[board for board in order.boards if board.model in models],
        folder=order.folder / RERUN,
    )
    run_suite(again, observer, worker)
    return load_side(again.folder)


def _profiled(
    order: Order, comparison: Comparison, baseline: Side, current: Side, tell: Callable[[str], None]
) -> Comparison:
    """Profile the first run on each kind of board; the baseline's, where it lacks one, if something got worse."""
    for board in profilable(order.boards):
        tell(f"profiling the first run on {board.name}")
        request = Request(order.suite, board, order.models[board.model], dataset_root=order.dataset_root)
        now = take_current(request, current)
        worse = any(finding.board_model == board.model for finding in comparison.having(*FAILURES))
        before = baseline_profile(request, baseline, current, tell) if worse else None
        if before is not None:
            comparison = explain(comparison, current, before, now)
    return comparison
