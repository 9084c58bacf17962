"""Write the tables of figures in the documents from results: ``python -m benchmarks.readme [--check]``."""

import json
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd

from benchmarks import kernel_tables, reliability_tables, reproduction_tables
from benchmarks.promise import ROOT, Promise, load_all
from fqtbench.datasets import ENTRIES

_NEAR: Final = 0.1  # deviations beyond which a reason is asked for
_CHIEF: Final = frozenset(
    (
        *(
            "demo",
            "demo_accuracy",
            "test",
            "first_gate_batch_1",
            "transfer",
            "disturbance",
            "kills",
            "gate_reruns",
        ),
        *("whole_step_paper", "whole_step_mobilenet", "kernel_3x3_forward_cycles", "mobilenet_boards"),
    )
)


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
    return _promises((promise, f": {promise.shortfall}") for promise in load_all().values())


def chief_promises() -> str:
    """Return those that a newcomer should know, and all that are not kept, as Markdown."""
    own = [promise for name, promise in load_all().items() if name in _CHIEF or not promise.kept]
    return _promises((promise, " ([why](docs/promises.md))") for promise in own)


def _promises(rows: Iterable[tuple[Promise, str]]) -> str:
    """Return a table of promises, each with what stands behind it if it is not kept."""
    lines = ["| what | bound | reached | shown by |", "|---|---|---|---|"]
    for promise, reason in rows:
        value = promise.value if promise.kept else f"**{promise.value}, not kept**{reason}"
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


def _timing_result(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((ROOT / "results" / "timing" / f"{name}.json").read_text())
    return result


def m7_loops() -> str:
    """Return the M7's model beside llvm-mca on the engine's hottest loops, as Markdown."""
    lines = [
        "| loop in | instructions | of all cycles | model | llvm-mca | deviation "
        "| llvm-mca less its order of writes | deviation | from the model's cycles to llvm-mca's |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    deviations = []
    for loop in _timing_result("m7-loops")["loops"]:
        ours, theirs, unordered = loop["model_cycles"], loop["mca_cycles"], loop["llvm_rules_cycles"]
        reasons = dict(loop["reasons"])
        rest = theirs - ours - sum(reasons.values())
        if rest:
            reasons["not explained"] = rest
        deviations.append((ours / theirs - 1, ours / unordered - 1))
        cells = (
            f"`{loop['function']}` {loop['address']:#x}",
            f"{loop['instructions']}",
            f"{loop['per_cent_of_engine']:.1f} %",
            f"{ours}",
            f"{theirs:g}",
            f"{deviations[-1][0]:+.0%}",
            f"{unordered:g}",
            f"{deviations[-1][1]:+.0%}",
            ", ".join(f"{name} {cycles:+g}" for name, cycles in reasons.items()),
        )
        lines.append(f"| {' | '.join(cells)} |")
    near = [sum(abs(one[i]) <= _NEAR for one in deviations) for i in range(2)]
    total = len(deviations)
    lines.append(f"| **within {_NEAR:.0%}** | | | | | {near[0]} of {total} | | {near[1]} of {total} | |")
    return "\n".join(lines)


def m7_differences() -> str:
    """Return what the words of m7_loops mean, as Markdown."""
    result = _timing_result("m7-loops")
    used = {name for loop in result["loops"] for name in loop["reasons"]}
    lines = ["| word | what LLVM has instead |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in result["differences"].items() if name in used]
    return "\n".join(lines)


def m7_trace() -> str:
    """Return what the M7's model can't know, on one training step, as Markdown."""
    result = _timing_result("m7-trace")
    lines = ["| cause | times in a step | of all cycles |", "|---|---|---|"]
    lines += [f"| {row['cause']} | {row['times']:,} | {row['per_cent']:+.1f} % |" for row in result["causes"]]
    total = sum(abs(row["per_cent"]) for row in result["causes"])
    lines.append(
        f"| **together**, without signs; stated: {result['stated_per_cent']:.0f} % | | **{total:.1f} %** |"
    )
    return "\n".join(lines)


def whole_steps() -> str:
    """Return what whole training steps cost, as Markdown."""
    lines = [
        "| network | board | | MACs forward | arena | forward | backward | update | step "
        "| cycles per MAC | backward + update, of forward |",
        f"|---|---|---|{'---:|' * 8}",
    ]
    for row in pd.read_csv(ROOT / "results" / "whole-step" / "summary.csv").to_dict("records"):
        cells = (
            *(row["network"], row["board"], f"{row['configuration']}, batch {row['batch']}"),
            *(f"{row['macs_forward']:,}", f"{row['arena_bytes']:,} B"),
            *(f"{row[phase]:,}" for phase in ("forward_cycles", "backward_cycles", "update_cycles")),
            f"{row['step_ms']:,.2f} ms",
            f"{row['cycles_per_mac']:.2f}",
            f"{row['backward_and_update_over_forward']:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def datasets() -> str:
    """Return the table of datasets, as Markdown, from the one in the code."""
    lines = [
        "| name | samples | source | licence | where it comes from | options |",
        "|---|---|---|---|---|---|",
    ]
    for entry in ENTRIES.values():
        shape = "×".join(map(str, entry.shape)) if entry.shape else "any"
        classes = f", {entry.n_classes} classes" if entry.n_classes else ""
        options = ", ".join(f"`{option}`" for option in sorted(entry.options))
        lines.append(
            f"| `{entry.name}` | {shape}{classes} | {entry.source} | {entry.licence} | {entry.origin} | {options} |"
        )
    return "\n".join(lines)


_KERNELS: Final = ROOT / "docs" / "kernels.md"
_RELIABILITY: Final = ROOT / "docs" / "reliability.md"
_REPRODUCTION: Final = ROOT / "docs" / "reproduction.md"
TABLES: Final = (
    Table(ROOT / "docs" / "datasets.md", "datasets", datasets),
    Table(_KERNELS, "kernel bounds", kernel_tables.bounds),
    Table(_KERNELS, "errors of zero", kernel_tables.densities),
    Table(_KERNELS, "float32 and uint8", kernel_tables.float_ratios),
    Table(_KERNELS, "crossovers", kernel_tables.crossovers),
    *(
        Table(_KERNELS, f"kernels on {core}", partial(kernel_tables.costs, core))
        for core in kernel_tables.CORES
    ),
    Table(ROOT / "docs" / "timing.md", "M7 loops", m7_loops),
    Table(ROOT / "docs" / "timing.md", "M7 differences", m7_differences),
    Table(ROOT / "docs" / "timing.md", "M7 trace", m7_trace),
    Table(ROOT / "README.md", "promises", chief_promises),
    Table(ROOT / "docs" / "promises.md", "promises", promises),
    Table(ROOT / "docs" / "timing.md", "timing bounds", timing_bounds),
    Table(ROOT / "docs" / "whole-step.md", "whole steps", whole_steps),
    Table(_RELIABILITY, "faults", reliability_tables.faults),
    Table(_RELIABILITY, "what the user is told", reliability_tables.told),
    Table(_RELIABILITY, "faults without a test", reliability_tables.not_covered),
    Table(_REPRODUCTION, "accuracies", reproduction_tables.accuracies),
    Table(_REPRODUCTION, "published accuracies", reproduction_tables.published_accuracies),
    Table(_REPRODUCTION, "published MCUNet", reproduction_tables.published_mcunet),
    Table(_REPRODUCTION, "costs", reproduction_tables.costs),
    Table(_REPRODUCTION, "published costs", reproduction_tables.published_costs),
    Table(_REPRODUCTION, "partial updates", reproduction_tables.partial_updates),
    Table(_REPRODUCTION, "hours", reproduction_tables.hours),
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
