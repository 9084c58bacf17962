"""What a person sees in the terminal: progress while a suite runs, tables when it is done."""

from typing import Any, Final, Self

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table

from fqtbench.experiment.metrics import BY_NAME, show, show_number, show_uncertainty
from fqtbench.experiment.plan import Run
from fqtbench.experiment.results import RunResult, SuiteResults

HEADLINE: Final = (
    "test_accuracy",
    "forward_s",
    "backward_s",
    "update_s",
    "step_j",
    "ram_bytes",
    "flash_bytes",
)

_SHORT: Final = {"test_accuracy": "Accuracy", "step_j": "Energy"}


class Progress:
    """Progress bars of a suite: one for its runs, one for each run in flight. Implements `runner.Observer`."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )
        self._quiet = quiet
        self._suite: TaskID | None = None
        self._compiling = False
        self._runs: dict[str, TaskID] = {}
        self._stages: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def planned(self, run: Run, n_runs: int) -> None:
        """Count a run whose image was compiled."""
        if not self._compiling:
            self._start_bar("compiling model images", n_runs, 0)
        self._compiling = True
        assert self._suite is not None
        self._bars.advance(self._suite)
        for warning in run.compiled.warnings:
            self._say(f"{run.name}: warning: {warning}")

    def began(self, n_runs: int, n_recorded: int) -> None:
        """Show the suite's own bar."""
        self._start_bar("runs", n_runs, n_recorded)
        self._compiling = False  # what is planned next belongs to another suite
        if n_recorded:
            self._say(f"{n_recorded} of {n_runs} runs are recorded already")

    def event(self, run: Run, board: str, event: dict[str, Any]) -> None:
        """Move the bar of a run."""
        if run.run_id not in self._runs:
            epochs = run.identity["spec"]["training"]["epochs"]
            total = epochs * (run.n_train + run.n_test)
            self._runs[run.run_id] = self._bars.add_task(f"{run.label} · {board}", total=total)
            self._say(f"{run.name} on {board}: started")
        bar = self._runs[run.run_id]
        match event["event"]:
            case "steps" | "evaluations":
                self._bars.advance(bar, len(event["columns"]["sample"]))
                what = "training" if event["event"] == "steps" else "testing"
                self._bars.update(
                    bar, description=f"{run.label} · {board} · {what}, epoch {event['epoch'] + 1}"
                )
            case "waiting":
                self._say(f"{board}: {event['text']}")
            case "stage":
                self._bars.update(bar, description=f"{run.label} · {board} · {event['text']}")
            case "epoch":
                self._say(
                    f"{run.name} on {board}: epoch {event['epoch'] + 1}: test accuracy {event['test_accuracy']:.1%}, "
                    f"training loss {event['train_loss']:.3f}"
                )
            case "retry":
                self._bars.reset(bar)
                first = f"{event['rung']} first" if event["rung"] else "on another board"
                self._say(
                    f"{run.name} on {board}: attempt {event['attempt']}, {first}, because: {event['reason']}"
                )
            case "lost":
                self._bars.remove_task(self._runs.pop(run.run_id))
                self._say(f"failed: {event['reason']}; the other boards go on")

    def recorded(self, run: Run, board: str, result: dict[str, Any]) -> None:
        """Count a recorded run."""
        if self._suite is not None:
            self._bars.advance(self._suite)
        self._bars.remove_task(self._runs.pop(run.run_id))

    def _start_bar(self, text: str, total: int, completed: int) -> None:
        if self._suite is not None:
            self._bars.remove_task(self._suite)
        self._suite = self._bars.add_task(text, total=total, completed=completed)

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, markup=False, highlight=False)


def summary(results: SuiteResults) -> Table:
    """Return the summary table: a row a metric, a column a run (the other way round for many), origins shown."""
    if len(results.runs) <= 3:
        table = Table("metric", box=box.SIMPLE_HEAD, title=results.name, title_justify="left")
        for run in results.runs:
            table.add_column(run.label, justify="right")
        table.add_column("origin")
        for name in results.present(HEADLINE):
            cells = [_cell(run, name) for run in results.runs]
            table.add_row(BY_NAME[name].title, *cells, _origins(results, name))
        return table
    table = Table(
        "run", box=box.SIMPLE_HEAD, title=results.name, title_justify="left", caption_justify="left"
    )
    by_origin: dict[str, list[str]] = {}
    names = results.present(HEADLINE)
    for name in names:
        metric = BY_NAME[name]
        table.add_column(f"{_SHORT.get(name, metric.title)}\n{metric.unit}", justify="right", no_wrap=True)
        by_origin.setdefault(_origins(results, name), []).append(metric.title)
    table.caption = "; ".join(f"{origin}: {', '.join(titles)}" for origin, titles in by_origin.items())
    for run in results.runs:
        table.add_row(run.label, *(_short_cell(run, name) for name in names))
    return table


def _cell(run: RunResult, name: str) -> str:
    return show(run.metrics[name]) if name in run.metrics else "–"


def _short_cell(run: RunResult, name: str) -> str:
    """Without the unit, which stands above."""
    value = run.metrics.get(name)
    return "–" if value is None else show_number(value) + show_uncertainty(value)


def _origins(results: SuiteResults, name: str) -> str:
    values = [run.metrics[name] for run in results.having(name).runs]
    return " and ".join(sorted({value.origin for value in values}))
