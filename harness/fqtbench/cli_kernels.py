"""The command `kernels`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fqtbench.board import load_models
from fqtbench.cli_options import errors, interruptible, output
from fqtbench.errors import UsageError
from fqtbench.schema import nearest


def kernels(
    board: Annotated[str, typer.Option("--board", help="A board model; its core decides.")] = "nrf52840",
    out: Annotated[Path | None, typer.Option("--out", help="Write kernels.csv, .svg and .pdf here.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for programs.")] = False,
) -> None:
    """Show what every kernel costs on a table of shapes: instructions, cycles, share of the core's limit, code size."""
    if find_spec("unicorn") is None:
        raise UsageError("kernels run on a virtual core: pip install 'fqtbench[virtual]'")
    from fqtbench.kernels.folder import write_files  # noqa: PLC0415 - needs Unicorn
    from fqtbench.kernels.measure import measure, to_csv  # noqa: PLC0415
    from fqtbench.kernels.tables import WIDTH, kernels_table  # noqa: PLC0415

    core = core_of(board)
    with interruptible("interrupted; nothing was written"), errors.status(f"kernels on {core}"):
        rows = measure(core)
        paths = write_files(rows, out, "kernels") if out else []
    if as_csv:
        typer.echo(to_csv(rows), nl=False)
    else:
        Console(width=max(output.width, WIDTH)).print(kernels_table(rows, board))
    if paths:
        errors.print(f"files: {out}: {', '.join(path.name for path in paths)}")


def core_of(board: str) -> str:
    """Return the core of a board model; UsageError if there is none of this name, or it has no Cortex-M."""
    models = load_models()
    if board not in models:
        raise UsageError(f"unknown board model {board}{nearest(board, models)}")
    if models[board].link == "library":
        raise UsageError(f"board model {board} has no Cortex-M core, whose kernels could be counted")
    return models[board].core
