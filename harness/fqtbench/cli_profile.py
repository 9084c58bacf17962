"""The commands `profile` and `profile-diff`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fqtbench.board import load_instances, load_models
from fqtbench.cli_options import (
    BenchOption,
    JsonOption,
    OutOption,
    RootOption,
    SuiteArgument,
    boards_of,
    errors,
    interruptible,
    output,
    print_json,
)
from fqtbench.experiment.spec import find_suite, load_suite
from fqtbench.profile.diff import changes
from fqtbench.profile.folder import write_folder
from fqtbench.profile.model import read_profile
from fqtbench.profile.tables import WIDTH, changes_table, functions_table, layers_table, memory_line
from fqtbench.profile.take import Request, require_profiler, take_profile


def profile(
    suite: SuiteArgument,
    board: Annotated[
        str | None, typer.Option("--board", help="The board [default: the suite's first one]")
    ] = None,
    out: OutOption = None,
    run: Annotated[int, typer.Option("--run", min=1, help="Which of the suite's runs.")] = 1,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Training steps [default: a mini-batch]")
    ] = None,
    after: Annotated[int, typer.Option("--after", min=0, help="Train so many steps before.")] = 0,
    dataset_root: RootOption = None,
    bench: BenchOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a training step's cycles go: by layer and phase, by function, by basic block."""
    read = load_suite(find_suite(suite))
    models = load_models()
    instances = load_instances(models, bench)
    chosen = boards_of(read, [board] if board else None, instances)[0]
    require_profiler(chosen, instances.values())
    request = Request(read, chosen, models[chosen.model], run, after, steps, dataset_root)
    folder = out or Path("out") / read.spec.name / f"profile-{chosen.name}-run-{run}"
    with interruptible("interrupted; nothing was written"), errors.status(f"profiling {chosen.name}"):
        taken, firmware = take_profile(request)
        write_folder(taken, firmware, folder)
    if as_json:
        print_json(taken.model_dump(mode="json"))
        return
    for table in (layers_table(taken), functions_table(taken)):
        _print_table(table)
    output.print(memory_line(taken), highlight=False)
    output.print(
        f"files: {folder.resolve()}: flame.svg, blocks.txt, layers.csv, functions.csv", highlight=False
    )


def profile_diff(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="Folder of a profile.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="Folder of another one.")],
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many changes to show.")] = 25,
    as_json: JsonOption = False,
) -> None:
    """Show what changed from one profile to another, the largest change first."""
    old, new = read_profile(before), read_profile(after)
    found = changes(old, new)
    for name in ("board_model", "timing_model_id", "image_sha256", "after", "batch"):
        was, became = getattr(old.subject, name), getattr(new.subject, name)
        if was != became:
            errors.print(f"note: {name} differs: {was}, {became}", markup=False)
    if as_json:
        print_json([asdict(change) for change in found])
        return
    if not found:
        output.print("no difference")
        return
    _print_table(changes_table(found, rows))


def _print_table(table: Table) -> None:
    """Print it as wide as it must be: a narrow terminal breaks lines, but loses nothing."""
    Console(width=max(output.width, WIDTH)).print(table)
