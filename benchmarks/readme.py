"""Write the tables of figures in the documents from results: ``python -m benchmarks.readme [--check]``."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.promise import ROOT, load_all


class Table(NamedTuple):
    """A table between two comments of a document."""

    document: Path
    name: str
    make: Callable[[], str]

    @property
    def _begin(self) -> str:
        return f"<!-- {self.name}: made by benchmarks/readme.py -->"

    @property
    def _end(self) -> str:
        return f"<!-- end of {self.name} -->"

    def rendered(self, text: str) -> str:
        """Return the document's `text` with this table made anew."""
        head, rest = text.split(self._begin)
        tail = rest.split(self._end)[1]
        return f"{head}{self._begin}\n{self.make()}\n{self._end}{tail}"


def promises() -> str:
    """Return the table of what was promised and reached, as Markdown."""
    lines = ["| what | bound | reached | shown by |", "|---|---|---|---|"]
    for promise in load_all():
        value = promise.value if promise.kept else f"**{promise.value}, not kept**"
        lines.append(f"| {promise.what} | {promise.bound} | {value} | `{promise.command}` |")
    return "\n".join(lines)


def timing_bounds() -> str:
    """Return the table of what the timing models can't know, as Markdown."""
    lines = ["| board | cause | times in 48 steps | at most, of all cycles |", "|---|---|---|---|"]
    for path in sorted((ROOT / "results" / "timing").glob("bounds-*.json")):
        result = json.loads(path.read_text())
        for row in result["causes"]:
            lines.append(
                f"| {result['board']} | {row['cause']} | {row['times']:,} | {row['per_cent']:.2f} % |"
            )
        total = sum(row["per_cent"] for row in result["causes"])
        lines.append(
            f"| {result['board']} | **together**; stated: {result['stated_per_cent']:.0f} % | | **{total:.2f} %** |"
        )
    return "\n".join(lines)


TABLES: Final = (
    Table(ROOT / "README.md", "promises", promises),
    Table(ROOT / "docs" / "timing.md", "timing bounds", timing_bounds),
)


def main() -> None:
    """Write the tables, or with --check say whether they are as they should be."""
    for table in TABLES:
        text = table.document.read_text()
        new = table.rendered(text)
        if "--check" in sys.argv and new != text:
            sys.exit(f"{table.document}: {table.name} differ from results; python -m benchmarks.readme")
        table.document.write_text(new)


if __name__ == "__main__":
    main()
