"""What the kernels cost, in the terminal and as a figure."""

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from fqtbench.kernels.call import Kernel
from fqtbench.kernels.shapes import CONVOLUTION, DENSITIES, SHAPES, title
from fqtbench.report import style

WIDTH: Final = 136  # characters that the table needs
_DASH: Final = "–"
_PASSES: Final = {
    "forward": (title(Kernel.FORWARD),),
    "gradient": tuple(map(title, (Kernel.GRADIENT_DENSE, Kernel.GRADIENT_PLANAR, Kernel.GRADIENT_SPARSE))),
    "error": tuple(map(title, (Kernel.ERROR_DENSE, Kernel.ERROR_PLANAR, Kernel.ERROR_SPARSE))),
}
_BAR_HEIGHT_IN: Final = 0.2
_LEAST_CYCLES: Final = 0.25  # a logarithmic axis has no zero


def kernels_table(rows: pd.DataFrame, board: str) -> Table:
    """Return a row for each shape and kernel: instructions and cycles per MAC, or per weight."""
    core, uncertainty = rows.core.iloc[0], rows.uncertainty.iloc[0]
    what = f"per MAC, those with zeros included; cycles modelled ±{uncertainty:.0%}, memory never waits"
    table = Table(box=box.SIMPLE_HEAD, title=f"{core} ({board}): {what}", title_justify="left")
    for column in ("shape", "kernel"):
        table.add_column(column, no_wrap=True)
    for column in (
        "instr.",
        "cycles",
        "limit",
        "reached",
        "at 25 %",
        "at 10 %",
        "float32",
        "code B",
        "scratch B",
    ):
        table.add_column(column, justify="right")
    previous = ""
    for (shape, kernel), group in rows.groupby(["shape", "kernel"], sort=False):
        if previous and shape != previous:
            table.add_section()
        table.add_row("" if shape == previous else str(shape), *_cells(str(kernel), group))
        previous = str(shape)
    table.caption = (
        "limit: cycles that multiplications or memory take at least; reached: its share of the cycles. at 25 %, at "
        "10 %: cycles with so many errors not zero. float32: its cycles ÷ these. The last rows are per weight."
    )
    return table


def _cells(kernel: str, group: pd.DataFrame) -> Iterator[str]:
    at = group.set_index("errors_per_cent")
    full = at.loc[100]
    limit = full[["multiply_limit", "memory_limit"]].max()
    yield kernel
    yield f"{full.instructions_per_unit:.2f}"
    yield f"{full.cycles_per_unit:.2f}"
    yield _figure(limit, "{:.2f}")
    yield _figure(full.share_of_limit, "{:.0%}")
    for density in DENSITIES[1:]:
        yield f"{at.cycles_per_unit[density]:.2f}" if density in at.index else _DASH
    yield _figure(full.float32_ratio, "{:.1f}×")
    yield f"{full.code_bytes:,.0f}"
    yield f"{full.scratch_bytes:,.0f}"


def _figure(value: Any, form: str) -> str:
    return _DASH if pd.isna(value) else form.format(value)


def draw(rows: pd.DataFrame) -> Figure:
    """Cycles per MAC of every shape and pass with its limit, and over the density of errors for one shape."""
    with style.house_style():
        figure, (left, right) = style.new_figure(2, 1.4 + 3 * _BAR_HEIGHT_IN * len(SHAPES), 10.5)
        label = f"modelled ±{rows.uncertainty.iloc[0]:.0%}"
        _draw_shapes(left, rows[rows.errors_per_cent == 100])
        left.set_xlabel(f"cycles per MAC ({label}, logarithmic); black: limit")
        left.set_title(f"{rows.core.iloc[0]}: dense errors")
        _draw_densities(right, rows[rows["shape"] == CONVOLUTION])
        right.set_xlabel("errors that are not zero (%)")
        right.set_ylabel(f"cycles per MAC ({label})")
        right.set_title(CONVOLUTION)
    return figure


def _draw_shapes(axes: Axes, rows: pd.DataFrame) -> None:
    """The faster of dense and zero-skipping kernel for each pass."""
    for number, (name, kernels) in enumerate(_PASSES.items()):
        best = rows[rows.kernel.isin(kernels)].sort_values("cycles").groupby("shape").first()
        found = best.reindex([shape for shape in SHAPES if shape in best.index])
        places = [list(SHAPES).index(shape) + (number - 1) * 0.27 for shape in found.index]
        axes.barh(places, found.cycles_per_unit, 0.25, color=style.colour(number), label=name)
        limits = found[["multiply_limit", "memory_limit"]].max(axis=1)
        axes.plot(limits, places, "|", color="black", markersize=7)
    axes.set_xscale("log")
    axes.set_xlim(left=_LEAST_CYCLES)
    axes.set_yticks(range(len(SHAPES)), list(SHAPES))
    axes.set_ylim(len(SHAPES) - 0.4, -0.6)  # the first shape on top
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower right")


def _draw_densities(axes: Axes, rows: pd.DataFrame) -> None:
    kernels = [kernel for kernels in list(_PASSES.values())[1:] for kernel in kernels]
    for number, kernel in enumerate(kernels):
        found = rows[rows.kernel == kernel].sort_values("errors_per_cent")
        if found.empty:
            continue
        line = "-" if kernel.endswith("dense") else "--"
        axes.plot(
            found.errors_per_cent,
            found.cycles_per_unit,
            line,
            marker="o",
            color=style.colour(number),
            label=kernel,
        )
    axes.set_xlim(0, 105)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left")
