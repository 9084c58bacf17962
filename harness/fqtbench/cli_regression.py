"""The commands `compare`, `gate` and `baseline update`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from fqtbench.bench.lock import PATIENCE_S
from fqtbench.board import load_instances, load_models
from fqtbench.cli_options import (
    BenchOption,
    BoardOption,
    ResumeOption,
    RootOption,
    SuiteArgument,
    WaitOption,
    boards_of,
    errors,
    interruptible,
    output,
)
from fqtbench.console import Progress
from fqtbench.errors import RegressionError, ResultError, UndecidedError, UsageError
from fqtbench.experiment.runner import Order
from fqtbench.experiment.spec import find_suite, load_suite
from fqtbench.regression import outputs
from fqtbench.regression.baseline import HISTORY, update_baseline
from fqtbench.regression.compare import compare as compare_sides
from fqtbench.regression.gate import GateOrder, run_gate
from fqtbench.regression.rules import Gate, load_gate
from fqtbench.regression.side import load_side
from fqtbench.regression.verdict import Comparison, Verdict
from fqtbench.regression.words import headline, lines

GATE_FILE: Final = Path("gate.toml")
_STEP_SUMMARY: Final = "GITHUB_STEP_SUMMARY"

baseline_commands = typer.Typer(no_args_is_help=True, help="Replace what the gate compares with.")

GateOption = Annotated[
    Path | None, typer.Option("--gate", help="Rules [default: gate.toml, where there is one]")
]
JUnitOption = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML to this file.")]
JsonFileOption = Annotated[Path | None, typer.Option("--json", help="Write JSON to this file.")]
MarkdownOption = Annotated[Path | None, typer.Option("--markdown", help="Write a summary to this file.")]
GithubOption = Annotated[
    bool,
    typer.Option("--github", help="Print annotations, and add to the step's summary, of GitHub Actions."),
]


@dataclass(frozen=True)
class _Wanted:
    """Where a comparison is to be written to."""

    junit: Path | None
    json: Path | None
    markdown: Path | None
    github: bool

    def check(self) -> None:
        """UsageError before the work, not behind it, if a file's folder isn't there."""
        for option in ("junit", "json", "markdown"):
            path: Path | None = getattr(self, option)
            if path is not None and not path.resolve().parent.is_dir():
                raise UsageError(f"--{option} {path}: there is no folder {path.parent}; make it first")

    def write(self, comparison: Comparison) -> None:
        """Write and print what is wanted."""
        summary = outputs.markdown(comparison)
        for path, data in (
            (self.junit, outputs.junit(comparison)),
            (self.json, comparison.model_dump_json(indent=1).encode() + b"\n"),
            (self.markdown, summary.encode()),
        ):
            if path is not None:
                _write(path, data, "wb")
        if self.github:
            for line in outputs.annotations(comparison):
                typer.echo(line)
            if os.environ.get(_STEP_SUMMARY):
                _write(Path(os.environ[_STEP_SUMMARY]), summary.encode(), "ab")


def compare(
    baseline: Annotated[Path, typer.Argument(metavar="BASELINE", help="Results folder to compare with.")],
    current: Annotated[Path, typer.Argument(metavar="CURRENT", help="Results folder to judge.")],
    gate: GateOption = None,
    junit: JUnitOption = None,
    json: JsonFileOption = None,
    markdown: MarkdownOption = None,
    github: GithubOption = False,
) -> None:
    """Say what got worse: exit code 0 nothing, 1 something, 2 undecided or not comparable."""
    wanted = _Wanted(junit, json, markdown, github)
    wanted.check()
    rules = _rules(gate)
    with _usable():
        comparison = compare_sides(load_side(baseline), load_side(current), rules)
    _conclude(comparison, wanted)


def gate(
    suite: SuiteArgument,
    baseline: Annotated[Path, typer.Option("--baseline", help="Results folder to compare with.")],
    board: BoardOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Results folder [default: out/<suite name>-gate]")
    ] = None,
    resume: ResumeOption = False,
    wait: WaitOption = PATIENCE_S,
    profile: Annotated[
        bool, typer.Option("--profile", help="Name layer and function, on boards that have a profiler.")
    ] = False,
    gate: GateOption = None,
    junit: JUnitOption = None,
    json: JsonFileOption = None,
    markdown: MarkdownOption = None,
    github: GithubOption = False,
    dataset_root: RootOption = None,
    bench: BenchOption = None,
) -> None:
    """Run a suite, compare it with its baseline, confirm what got worse by a rerun; exit codes as of `compare`."""
    wanted = _Wanted(junit, json, markdown, github)
    wanted.check()
    rules = _rules(gate)
    read = load_suite(find_suite(suite))
    models = load_models()
    boards = boards_of(read, board, load_instances(models, bench))
    folder = out or Path("out") / f"{read.spec.name}-gate"
    order = Order(read, boards, models, folder, resume, dataset_root, wait)
    with (
        _usable(),
        interruptible(f"interrupted; what was recorded in {folder} is safe, go on by --resume"),
        Progress(errors, quiet=False) as progress,
    ):
        comparison = run_gate(GateOrder(order, baseline, rules, profile), progress, _tell)
    _conclude(comparison, wanted)


@baseline_commands.command(name="update")
def baseline_update(
    baseline: Annotated[Path, typer.Argument(metavar="BASELINE", help="Folder of the baseline.")],
    current: Annotated[Path, typer.Argument(metavar="CURRENT", help="Results that are to replace it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; its history keeps that.")],
) -> None:
    """Replace a baseline by other results, or begin one; its history says when, why, and by what."""
    replacement = update_baseline(baseline, current, reason)
    for text in replacement.accepted:
        output.print(f"accepted: {text}", markup=False, highlight=False)
    for text in replacement.incomparable:
        output.print(f"not comparable: {text}", markup=False, highlight=False)
    output.print(
        f"{baseline}: {replacement.n_runs} runs; {baseline / HISTORY} says why", markup=False, highlight=False
    )


def _rules(path: Path | None) -> Gate:
    return load_gate(path if path is not None or not GATE_FILE.exists() else GATE_FILE)


@contextmanager
def _usable() -> Iterator[None]:
    """Results that can't be read are no regression."""
    try:
        yield
    except ResultError as error:
        raise UndecidedError(str(error)) from error


def _conclude(comparison: Comparison, wanted: _Wanted) -> None:
    """Print, write, and end with the exit code of the verdict."""
    for line in lines(comparison):
        output.print(line, markup=False, highlight=False)
    wanted.write(comparison)
    match comparison.exit_code:
        case 0:
            output.print(headline(comparison), markup=False, highlight=False)
        case 1:
            raise RegressionError(f"{headline(comparison)}; {_what_to_do(comparison)}")
        case _:
            raise UndecidedError(headline(comparison))


def _what_to_do(comparison: Comparison) -> str:
    if comparison.having(Verdict.IRREPRODUCIBLE):
        return "what is exact must come out the same each time: find out why it does not, before all else"
    accept = f"fqtbench baseline update {comparison.baseline} {comparison.current} --reason WHY"
    return f"mend it, or accept it by `{accept}`"


def _tell(text: str) -> None:
    errors.print(text, markup=False)


def _write(path: Path, data: bytes, mode: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(data)
    except OSError as error:
        raise UndecidedError(f"{path}: can't be written: {error.strerror or error}") from error
