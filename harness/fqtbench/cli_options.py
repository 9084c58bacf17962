"""What the commands share: options, consoles, Ctrl-C."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import typer
from rich.console import Console

from fqtbench.bench.job import MAX_PATIENCE_S
from fqtbench.board import BoardInstance, find_instance
from fqtbench.errors import FqtbenchError, UsageError
from fqtbench.experiment.spec import Suite
from fqtbench.schema import nearest

output: Final = Console(soft_wrap=True)
errors: Final = Console(stderr=True, soft_wrap=True, highlight=False)

BenchOption = Annotated[
    Path | None, typer.Option("--bench", help="Boards of this bench [default: bench.toml]")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
SuiteArgument = Annotated[
    str, typer.Argument(help="A suite's YAML file, or the name of a shipped one (quickstart).")
]
BoardOption = Annotated[
    list[str] | None, typer.Option("--board", help="Use this board, not the suite's; repeatable.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Results folder [default: out/<suite name>]")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with a results folder.")]
WaitOption = Annotated[
    float,
    typer.Option(
        "--wait", min=0, max=MAX_PATIENCE_S, help="Wait so many seconds for a board that somebody else uses."
    ),
]
RecoverOption = Annotated[
    bool, typer.Option("--recover", help="Erase the chip of a board that nothing else brings back.")
]
RootOption = Annotated[
    Path | None, typer.Option("--dataset-root", help="Folder of a dataset that isn't shipped.")
]


class InterruptError(FqtbenchError):
    """Ctrl-C. The exit code is what a shell reports for it."""

    exit_code: ClassVar[int] = 130


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Turn Ctrl-C into an error like every other: one line and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptError(message) from None


def boards_of(
    suite: Suite, names: list[str] | None, instances: dict[str, BoardInstance]
) -> list[BoardInstance]:
    """Return the boards asked for by --board or else by the suite, each once."""
    if names:
        return [find_instance(name, instances) for name in dict.fromkeys(names)]
    for number, name in enumerate(suite.spec.boards):
        if name not in instances:
            where = suite.where("boards", number)
            raise UsageError(f"{where}: boards: unknown board {name}{nearest(name, instances)}")
    return [instances[name] for name in dict.fromkeys(suite.spec.boards)]


def print_json(value: Any) -> None:
    """Print JSON, for programs."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))
