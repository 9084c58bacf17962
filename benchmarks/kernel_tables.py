"""Tables of docs/kernels.md, made from results/kernels: bounds and what was reached, and what each kernel costs."""

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from benchmarks.kernel_bounds import BOUNDS, CORES, ERROR, FOLDER, FORWARD, GRADIENT, Bound, least, rows_of
from fqtbench.kernels.shapes import CONVOLUTION, DENSITIES, DEPTHWISE, FULLY_CONNECTED, POINTWISE_32

_FOLD: Final = ("fold outer",)  # a fully connected layer's gradient, added to the mini-batch's
_DASH: Final = "–"
_LEAST_FLOAT_RATIO: Final = {"cortex-m4": 1.7, "cortex-m7": 1.7, "cortex-m0plus": 40.0}
_PASSES: Final = {"∂X": ERROR, "∂W": GRADIENT}


def bounds() -> str:
    """Return what must be reached, and what is, as Markdown; what is not is bold."""
    names = " | ".join(CORES.values())
    lines = [
        f"| per MAC | M4 and M7: at most | M0+: at most | {names} | what stands in the way |",
        "|---|" + "---:|" * (2 + len(CORES)) + "---|",
    ]
    lines += [f"| {' | '.join(_bound_cells(bound))} |" for bound in BOUNDS]
    return "\n".join(lines)


def _bound_cells(bound: Bound) -> Iterator[str]:
    yield f"{bound.what}, {bound.unit}"
    yield from (_figure(bound.most.get(core), "{:g}") for core in ("cortex-m4", "cortex-m0plus"))
    reached = bound.reached()
    for core in CORES:
        if core not in reached:
            yield _DASH
        elif reached[core] <= bound.most[core]:
            yield f"{reached[core]:.2f}"
        else:
            yield f"**{reached[core]:.2f}**"
    yield bound.shortfall


def densities() -> str:
    """Return cycles per MAC of dense kernels and of those that skip zeros, by the share of errors, as Markdown."""
    shares = " | ".join(f"skipping, {density} %" for density in DENSITIES)
    lines = [
        f"| cycles per MAC | core | dense, planar | {shares} |",
        "|---|---|" + "---:|" * (1 + len(DENSITIES)),
    ]
    for shape in (CONVOLUTION, POINTWISE_32, DEPTHWISE, FULLY_CONNECTED):
        for what, (*others, sparse) in _PASSES.items():
            for core, name in CORES.items():
                cells = [least(core, shape, tuple(others), "cycles_per_unit")]
                cells += [least(core, shape, (sparse,), "cycles_per_unit", density) for density in DENSITIES]
                figures = " | ".join(_figure(cell, "{:.2f}") for cell in cells)
                lines.append(f"| {shape}, {what} | {name} | {figures} |")
    return "\n".join(lines)


def float_ratios() -> str:
    """Return float32's cycles divided by uint8's, errors all other than zero, as Markdown; what falls short is bold."""
    needed = ", ".join(f"{CORES[core]} {ratio:g}" for core, ratio in _LEAST_FLOAT_RATIO.items())
    lines = [
        f"| float32 ÷ uint8, cycles (at least {needed}) | pass | {' | '.join(CORES.values())} |",
        "|---|---|" + "---:|" * len(CORES),
    ]
    for shape in dict.fromkeys(bound.shape for bound in BOUNDS):
        for what, kernels in (("forward", FORWARD), ("∂X", ERROR), ("∂W", (*GRADIENT, *_FOLD))):
            cells = []
            for core in CORES:
                twin = f"float {kernels[0].split()[0]}"
                ratio = least(core, shape, (twin,), "cycles") / least(core, shape, kernels, "cycles")
                cells.append(f"{ratio:.1f}" if ratio >= _LEAST_FLOAT_RATIO[core] else f"**{ratio:.1f}**")
            lines.append(f"| {shape} | {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def costs(core: str) -> str:
    """Return what every kernel costs on `core`, as Markdown: per MAC, in the last rows per weight."""
    titles = "shape | kernel | instructions | cycles | limit | reached | at 25 % | at 10 % | code | scratch"
    lines = [f"| {titles} |", "|---|---|" + "---:|" * 8]
    groups = rows_of(core).groupby(["shape", "kernel"], sort=False)
    lines += [f"| {' | '.join(_cells(*names, group))} |" for names, group in groups]
    return "\n".join(lines)


def _cells(shape: str, kernel: str, group: pd.DataFrame) -> Iterator[str]:
    at = {row["errors_per_cent"]: row for row in group.to_dict("records")}
    full = at[100]
    limit = max(full["multiply_limit"], full["memory_limit"])
    yield from (shape, kernel, f"{full['instructions_per_unit']:.2f}", f"{full['cycles_per_unit']:.2f}")
    yield from (_figure(limit, "{:.2f}"), _figure(full["share_of_limit"], "{:.0%}"))
    yield from (f"{at[d]['cycles_per_unit']:.2f}" if d in at else _DASH for d in (25, 10))
    yield from (f"{full['code_bytes']:,} B", f"{full['scratch_bytes']:,} B")


def _figure(value: Any, form: str) -> str:
    return _DASH if pd.isna(value) else form.format(value)


def crossovers() -> str:
    """Return from which share of errors dense kernels pay, as Markdown."""
    table = pd.read_csv(FOLDER / "crossovers.csv").set_index(["shape", "core"])
    lines = ["| dense from … % of errors | ∂W M4 | M7 | M0+ | ∂X M4 | M7 | M0+ |", "|---|" + "---:|" * 6]
    for shape in table.index.unique(0):
        cells = [
            table.loc[(shape, core), f"{what}_per_cent"] for what in ("gradient", "error") for core in CORES
        ]
        if not all(pd.isna(cell) for cell in cells):
            lines.append(f"| {shape} | {' | '.join(_share(cell) for cell in cells)} |")
    return "\n".join(lines)


def _share(value: Any) -> str:
    if pd.isna(value):
        return _DASH
    return f"{value:.0f}" if value <= 100 else "never"
