"""Rows of results: every kernel on every shape, on one core."""

import io
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd

from fqtbench.kernels.call import Result
from fqtbench.kernels.limits import limit
from fqtbench.kernels.prebuilt import Sizes, kernels_elf
from fqtbench.kernels.rig import CORES, OnCore
from fqtbench.kernels.shapes import FLOAT, FLOAT_TWIN, UPDATE, Entry, entries, title

_DECIMALS: Final = 4


class Measured(NamedTuple):
    """What a call of the table left and took; `code_bytes`: the functions that it entered."""

    entry: Entry
    result: Result
    code_bytes: int


def run_all(core: str, elf: Path) -> list[Measured]:
    """Run the whole table on a virtual `core` whose memory never waits."""
    run, sizes = OnCore(elf, core), Sizes(elf)
    measured = []
    for entry in entries():
        before = run.executed()
        result = run(entry.call)
        entered = (block for block, n in run.executed().items() if n > before.get(block, 0))
        measured.append(Measured(entry, result, sizes.of(entered)))
    return measured


def measure(core: str) -> pd.DataFrame:
    """Return the rows of the prebuilt kernels of `core`."""
    return rows_of(core, run_all(core, kernels_elf(core)))


def rows_of(core: str, measured: list[Measured]) -> pd.DataFrame:
    """Return a row for each kernel, shape and density of errors.

    `per` says what `units` are: MACs, those with padding and errors of zero included, or weights. Instructions and
    cycles are of the whole call; cycles are modelled, ± `uncertainty`. `multiply_limit` and `memory_limit` (limits.py)
    are cycles per unit. `float32_ratio`: cycles of the float32 kernel for the same, divided by the row's.
    """
    return _with_ratios(pd.DataFrame([_row(core, one) for one in measured])).round(_DECIMALS)


def _row(core: str, measured: Measured) -> dict[str, Any]:
    entry, result, code_bytes = measured
    call = entry.call
    bound = limit(core, call.kernel, call.shape, entry.density)
    return {
        "core": core,
        "shape": entry.name,
        "kernel": entry.title,
        "errors_per_cent": entry.density,
        "per": "weight" if call.kernel in UPDATE else "MAC",
        "units": call.n_filters if call.kernel in UPDATE else call.shape.macs,
        "instructions": result.instructions,
        "cycles": result.cycles,
        "origin": "modelled",
        "uncertainty": CORES[core].timing.uncertainty,
        "multiply_limit": bound.multiply if bound else None,
        "memory_limit": bound.memory if bound else None,
        "code_bytes": code_bytes,
        "scratch_bytes": call.scratch_bytes,
    }


def _with_ratios(table: pd.DataFrame) -> pd.DataFrame:
    table["instructions_per_unit"] = table.instructions / table.units
    table["cycles_per_unit"] = table.cycles / table.units
    table["share_of_limit"] = table[["multiply_limit", "memory_limit"]].max(axis=1) / table.cycles_per_unit
    titles = {title(kernel): title(twin) for kernel, twin in FLOAT_TWIN.items()}
    floats = table[table.kernel.isin([title(kernel) for kernel in FLOAT])]
    cycles = floats.set_index(["shape", "kernel", "errors_per_cent"]).cycles.to_dict()
    twins = table.kernel.str.removesuffix(" tracked").map(titles)
    keys = zip(table["shape"], twins, table.errors_per_cent, strict=True)
    table["float32_ratio"] = pd.Series([cycles.get(key) for key in keys], dtype=float) / table.cycles
    return table


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as CSV; the same figures give the same text."""
    file = io.StringIO()
    table.to_csv(file, index=False, lineterminator="\n")
    return file.getvalue()
