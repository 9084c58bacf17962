"""The command `reproduce`."""

from pathlib import Path
from typing import Annotated

import typer

from fqtbench.board import load_instances, load_models
from fqtbench.cli_options import BenchOption, JsonOption, errors, interruptible, output, print_json
from fqtbench.console import Progress


def reproduce(
    figure: Annotated[list[str] | None, typer.Argument(help="Figures; all of them if none is named.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer samples and seeds: every kind of figure in minutes.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder [default: out/reproduction or out/reproduction-quick]"),
    ] = None,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Run nothing: draw from the tables that the folder has.")
    ] = False,
    bench: BenchOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the paper's experiments, draw its figures beside the published values; goes on where it was stopped."""
    from fqtbench.reproduction import reproduce as paper  # noqa: PLC0415 - draws

    folder = out or Path("out") / ("reproduction-quick" if quick else "reproduction")
    wanted = paper.check_figures(figure or ())
    if redraw:
        _tell(folder, paper.draw_from_tables(folder, wanted), as_json)
        return
    models = load_models()
    order = paper.Reproduction(wanted, folder, load_instances(models, bench), models, quick)

    def began(name: str, number: int, n_suites: int) -> None:
        if not as_json:
            errors.print(f"suite {number} of {n_suites}: {name}")

    with interruptible(f"interrupted; what was recorded in {folder} is safe, the same command goes on"):
        with Progress(errors, quiet=as_json) as progress:
            paper.run_suites(order, progress, began)
        paths = paper.draw(order)
    _tell(folder, paths, as_json)


def _tell(folder: Path, paths: list[Path], as_json: bool) -> None:
    if as_json:
        print_json({"folder": str(folder), "figures": [str(path) for path in paths]})
        return
    for path in paths:
        output.print(f"figure: {path}", markup=False, highlight=False)
