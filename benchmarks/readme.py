"""Write the README's table of promises from results/promises: ``python -m benchmarks.readme [--check]``."""

import sys
from typing import Final

from benchmarks.promise import ROOT, load_all

README: Final = ROOT / "README.md"
_BEGIN: Final = "<!-- promises: made by benchmarks/readme.py -->"
_END: Final = "<!-- end of promises -->"


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| what | bound | reached | shown by |", "|---|---|---|---|"]
    for promise in load_all():
        value = promise.value if promise.kept else f"**{promise.value}, not kept**"
        lines.append(f"| {promise.what} | {promise.bound} | {value} | `{promise.command}` |")
    return "\n".join(lines)


def rendered(text: str) -> str:
    """Return the README `text` with its table made anew."""
    head, rest = text.split(_BEGIN)
    tail = rest.split(_END)[1]
    return f"{head}{_BEGIN}\n{table()}\n{_END}{tail}"


def main() -> None:
    """Write the table, or with --check say whether it is as it should be."""
    text = README.read_text()
    new = rendered(text)
    if "--check" in sys.argv:
        sys.exit(
            0
            if new == text
            else "README.md: its table differs from results/promises; python -m benchmarks.readme"
        )
    README.write_text(new)


if __name__ == "__main__":
    main()
