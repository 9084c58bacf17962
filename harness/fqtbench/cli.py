"""The command line: parse, call, print. What happens is elsewhere."""

import json
import os
import subprocess
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.table import Table

from fqtbench.__main__ import VERSION
from fqtbench.bench.firmware import load_firmware
from fqtbench.bench.job import AnyJob, Charge, FlashJob, RecoverJob, ResetJob
from fqtbench.bench.lock import PATIENCE_S
from fqtbench.bench.pool import Pool, Task
from fqtbench.board import BoardInstance, BoardModel, find_instance, load_instances, load_models
from fqtbench.cli_datasets import datasets, fetch
from fqtbench.cli_energy import energy
from fqtbench.cli_hosts import (
    SchedulerOption,
    TlsCaOption,
    TlsCertOption,
    TlsKeyOption,
    bench_or_lab,
    lab_commands,
    tls_files,
)
from fqtbench.cli_kernels import kernels
from fqtbench.cli_lab import boards, doctor
from fqtbench.cli_options import (
    BenchOption,
    BoardOption,
    InterruptError,
    JsonOption,
    OutOption,
    RecoverOption,
    ResumeOption,
    RootOption,
    SuiteArgument,
    WaitOption,
    boards_of,
    errors,
    interruptible,
    output,
    print_json,
)
from fqtbench.cli_power import power
from fqtbench.cli_profile import profile, profile_diff
from fqtbench.cli_regression import baseline_commands, compare, gate
from fqtbench.cli_reproduce import reproduce
from fqtbench.console import Progress, summary
from fqtbench.errors import BoardError, FqtbenchError, LabError, ResultError, UsageError
from fqtbench.exchange.export_onnx import export_onnx
from fqtbench.exchange.npz import save_npz
from fqtbench.exchange.onnx_file import require_onnx
from fqtbench.experiment.attempts import ATTEMPTS
from fqtbench.experiment.export import exported_network, find_run, read_run
from fqtbench.experiment.plan import plan_runs
from fqtbench.experiment.results import load_results, summary_table
from fqtbench.experiment.runner import Order, run_suite
from fqtbench.experiment.spec import find_suite, load_suite
from fqtbench.schema import nearest

_ACTION_DEADLINE_S: Final = 180.0

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train neural networks on Cortex-M microcontrollers, and measure them while they do it.",
)
BoardArgument = Annotated[str, typer.Argument(help="Name of a board; `fqtbench boards` lists them.")]


class ExportFormat(StrEnum):
    """What `export` writes."""

    ONNX = "onnx"
    NPZ = "npz"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show a traceback with every error.")
    ] = False,
) -> None:
    """Read by `main`, which sees the options before a command can fail."""


@app.command()
def run(
    suite: SuiteArgument,
    board: BoardOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    wait: WaitOption = PATIENCE_S,
    erase: RecoverOption = False,
    dataset_root: RootOption = None,
    bench: BenchOption = None,
    scheduler: SchedulerOption = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Draw figures and report.html at the end.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Run a suite: flash, stream, train on the board, measure, report. With --scheduler on a lab's hosts."""
    read = load_suite(find_suite(suite))
    models = load_models()
    folder = out or Path("out") / read.spec.name
    with interruptible(f"interrupted; what was recorded in {folder} is safe, go on by --resume"):
        try:
            with bench_or_lab(
                models, bench, scheduler, tls_files(bench, tls_ca, tls_cert, tls_key)
            ) as source:
                boards = boards_of(read, board, source.instances)
                order = Order(
                    read, boards, models, folder, resume, dataset_root, wait, erase, source.executor_of
                )
                with Progress(errors, quiet=as_json) as progress:
                    run_suite(order, progress)
        except (BoardError, LabError):
            if _has_runs(folder):  # of the other boards, or from before it failed
                _show_results(folder, _draw(folder) if report else None, as_json)
            raise
        _show_results(folder, _draw(folder) if report else None, as_json)


@app.command()
def plan(
    suite: SuiteArgument,
    board: BoardOption = None,
    out: OutOption = None,
    dataset_root: RootOption = None,
    bench: BenchOption = None,
) -> None:
    """Show where a suite's networks lie in memory, as a table and a picture; needs no board."""
    from fqtbench.report.memory_plan import draw_plan  # noqa: PLC0415  (matplotlib takes a second to import)
    from fqtbench.report.page import write_drawing  # noqa: PLC0415

    read = load_suite(find_suite(suite))
    models = load_models()
    used = {b.model: models[b.model] for b in boards_of(read, board, load_instances(models, bench))}
    folder = out or Path("out") / read.spec.name
    seen: set[str] = set()
    for planned in plan_runs(read, used.values(), dataset_root):
        names = [layer.name for layer in planned.compiled.layers]
        table = planned.compiled.plan.table(names)
        if table in seen:
            continue
        seen.add(table)
        drawing = draw_plan(planned.compiled.plan, names, f"{planned.label} on {planned.model.name}")
        path = write_drawing(drawing, folder / "plans", f"run-{planned.number}")
        output.print(f"{planned.name} on {planned.model.name}\n{table}\npicture: {path}\n", markup=False)


app.command()(boards)
app.command()(doctor)
app.command()(datasets)
app.command()(fetch)
app.command()(kernels)
app.command()(power)
app.command()(energy)
app.command()(profile)
app.command(name="profile-diff")(profile_diff)
app.command()(reproduce)
app.command()(compare)
app.command()(gate)
app.add_typer(baseline_commands, name="baseline")
app.add_typer(lab_commands, name="lab")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Results folder.")],
    as_json: JsonOption = False,
) -> None:
    """Draw the tables and figures of a results folder again."""
    _show_results(folder, _draw(folder), as_json)


@app.command()
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN_FOLDER", help="A recorded run: runs/<run id>, or DIR with one run.")
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    to: Annotated[
        ExportFormat, typer.Option("--format", help="Quantized ONNX, or NumPy arrays.")
    ] = ExportFormat.ONNX,
) -> None:
    """Write the network that a run trained, for other programs."""
    writer = export_onnx if to == ExportFormat.ONNX else save_npz
    if to == ExportFormat.ONNX:
        require_onnx()
    if not out.resolve().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}; make it, or choose another")
    network = exported_network(read_run(find_run(folder)))
    try:
        writer(network, out)
    except OSError as error:
        raise UsageError(f"--out {out}: can't be written: {error.strerror or error}") from error
    output.print(
        f"{out}: {len(network.layers)} layers, {out.stat().st_size} bytes", markup=False, highlight=False
    )


@app.command()
def flash(
    board: BoardArgument,
    image: Annotated[
        Path | None, typer.Option("--image", help="Model image to program beside the firmware.")
    ] = None,
    bench: BenchOption = None,
) -> None:
    """Program and verify the firmware of a board; what is there already is left alone."""
    instance, model = _find(board, bench)
    if image is not None and not image.is_file():
        raise UsageError(f"--image {image}: no such file; a results folder has images in artifacts/")
    job = FlashJob(elf=load_firmware(model).path.resolve(), image=None if image is None else image.resolve())
    flashed = _act(instance, model, job).get("flashed", {})
    output.print(
        f"{board}: {flashed.get('programmed_bytes', 0)} bytes programmed and verified, "
        f"{flashed.get('skipped_bytes', 0)} were there already ({flashed.get('duration_s', 0.0):.1f} s)"
    )


@app.command()
def reset(board: BoardArgument, bench: BenchOption = None) -> None:
    """Reset a board and let it run."""
    _act(*_find(board, bench), ResetJob())
    output.print(f"{board}: reset")


@app.command()
def recover(
    board: BoardArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Erase without asking.")] = False,
    bench: BenchOption = None,
) -> None:
    """Erase a board's whole chip, which also opens a locked one."""
    instance, model = _find(board, bench)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"recover {board} erases the whole chip; say --yes if that is meant")
        typer.confirm(f"Erase the whole chip of {board}?", abort=True)
    _act(instance, model, RecoverJob())
    output.print(f"{board}: erased; `fqtbench flash {board}` programs the firmware again")


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def virtual(
    context: typer.Context, model: Annotated[str, typer.Argument(help="Board model, e.g. nrf52840.")]
) -> None:
    """Serve a virtual board until standard input closes or Ctrl-C; its addresses are the first line of output.

    Options go to the virtual board: --probe-port N, --uart PATH|tcp, --flash FILE, and --power ppk2|otii|lpm01a with
    --power-faults LIST for an emulated power monitor (docs/power.md).
    """
    known = [name for name, candidate in load_models().items() if candidate.virtual]
    if model not in known:
        raise UsageError(f"no virtual chip for board model {model}{nearest(model, known)}")
    argv = [sys.executable, "-m", "fqtbench.virtual", model, *context.args]
    if os.name == "posix":
        os.execv(sys.executable, argv)
    raise typer.Exit(subprocess.call(argv))


def main() -> NoReturn:
    """Entry point: every error of ours is one line on standard error, and its exit code."""
    verbose = "--verbose" in sys.argv or "-v" in sys.argv
    try:
        app()
    except FqtbenchError as error:
        if verbose:
            traceback.print_exception(error)
        errors.print(f"fqtbench: {error}", markup=False)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == InterruptError.exit_code:  # where no command had more to say
            errors.print("fqtbench: interrupted")
        raise
    sys.exit(0)


def _find(name: str, bench: Path | None) -> tuple[BoardInstance, BoardModel]:
    models = load_models()
    instance = find_instance(name, load_instances(models, bench))
    return instance, models[instance.model]


def _act(instance: BoardInstance, model: BoardModel, job: AnyJob) -> dict[str, dict[str, Any]]:
    """Do one job on one board in a worker, under a deadline; returns its events by kind."""
    seen: dict[str, dict[str, Any]] = {}

    def keep(task: Task, board: str, event: dict[str, Any]) -> None:
        seen[event["event"]] = event

    charge = Charge(instance=instance, model=model)
    with (
        interruptible(f"{job.kind} of {instance.name} interrupted; run it again before the board is used"),
        Pool([charge]) as pool,
        errors.status(f"{job.kind} {instance.name}"),
    ):
        pool.run([Task(job.kind, model.name, job, _ACTION_DEADLINE_S)], keep)
    return seen


def _draw(folder: Path) -> Path:
    from fqtbench.report import write_report  # noqa: PLC0415  (matplotlib takes a second to import)

    with (
        interruptible(f"interrupted; the results are safe, `fqtbench report {folder}` draws them again"),
        errors.status(f"drawing {folder}"),
    ):
        return write_report(folder)


def _has_runs(folder: Path) -> bool:
    try:
        return bool(load_results(folder).runs)
    except ResultError:
        return False


def _show_results(folder: Path, page: Path | None, as_json: bool) -> None:
    """Print what a folder holds; `page` is its report, if it was drawn."""
    results = load_results(folder)
    if as_json:
        rows = json.loads(summary_table(results).to_json(orient="records"))
        drawn = None if page is None else str(page)
        print_json({"suite": results.name, "folder": str(folder), "report": drawn, "runs": rows})
        return
    table: Table = summary(results)
    output.print(table)
    for run_result in results.runs:
        if run_result.description["perturbed"]:
            output.print(
                f"{run_result.label}: perturbed, frames were sent again on its line; its times are not exact"
            )
        if run_result.attempts > 1:
            failed = f"{run_result.attempts - 1} failed before; {folder / ATTEMPTS} says why"
            output.print(
                f"{run_result.label}: recorded at attempt {run_result.attempts}, {failed}", markup=False
            )
    where = (
        f"report: {page.resolve()}" if page else f"results: {folder.resolve()}; `fqtbench report` draws them"
    )
    output.print(where, highlight=False)


if __name__ == "__main__":
    main()
