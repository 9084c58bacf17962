"""Loss over training, and the trade-off: accuracy against energy and latency, with the Pareto front."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fqtbench.report import style
from fqtbench.report.drawing import Drawing
from fqtbench.report.pareto import pareto_front
from fqtbench.reproduction.drawings.bars import CONFIGURATIONS

_BOARD_MARKERS = ("o", "s", "^", "v")
_KB = 1024


def draw_loss(loss: pd.DataFrame) -> Drawing:
    """Mean over seeds, a panel a suite; the band is one standard deviation."""
    suites = list(dict.fromkeys(loss.suite))
    figure, panels = style.new_figure(len(suites), 3.6, 4.4 * len(suites))
    by = ["suite", "recipe", "configuration", "samples"]
    table = loss.groupby(by, sort=False).loss_nats.agg(["mean", "std"]).fillna(0.0).reset_index()
    for axes, suite in zip(panels, suites, strict=True):
        own = table[table.suite == suite]
        for number, configuration in enumerate(CONFIGURATIONS):
            for recipe, line in (("best", "-"), ("paper", "--")):
                curve = own[(own.configuration == configuration) & (own.recipe == recipe)]
                if curve.empty:
                    continue
                axes.plot(
                    curve.samples,
                    curve["mean"],
                    line,
                    color=style.colour(number),
                    label=f"{configuration}, recipe {recipe}",
                )
                axes.fill_between(
                    curve.samples,
                    curve["mean"] - curve["std"],
                    curve["mean"] + curve["std"],
                    color=style.colour(number),
                    alpha=0.12,
                    linewidth=0,
                )
        axes.set_title(suite)
        axes.set_xlabel("Training samples seen")
        axes.set_ylabel("Cross-entropy (nats, measured)")
        axes.set_ylim(bottom=0)
    panels[-1].legend(loc="upper right", fontsize=8)
    caption = "Training loss, mean over seeds of 60 pieces of the training; bands: one standard deviation."
    return Drawing("loss", caption, figure, table.assign(origin="measured"))


def trade_off_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy (from scratch, mean over seeds) joined with the costs of the same network on each board."""
    accuracy = runs[runs.suite == "scratch-fashion"].groupby(["recipe", "configuration"]).test_accuracy
    table = accuracy.agg(["mean", "std"]).fillna(0.0).reset_index()
    costs = runs[runs.suite == "boards-cnn"][
        [
            "board",
            "recipe",
            "configuration",
            "step_j",
            "step_j.origin",
            "step_s",
            "step_s.origin",
            "ram_bytes",
        ]
    ]
    return costs.merge(table, on=["recipe", "configuration"]).sort_values(
        ["board", "configuration", "recipe"]
    )


def draw_trade_off(runs: pd.DataFrame, cost: str, name: str, title: str, scale: float, unit: str) -> Drawing:
    """Accuracy against `cost`, a mark a board, configuration and recipe; the size is RAM."""
    table = trade_off_table(runs).reset_index(drop=True)
    boards = list(dict.fromkeys(table.board))
    figure, (axes,) = style.new_figure(height_in=4.2, width_in=8.0)
    sizes = 40 + 300 * (table.ram_bytes - table.ram_bytes.min()) / max(np.ptp(table.ram_bytes), 1.0)
    for index, row in table.iterrows():
        axes.scatter(
            row[cost] * scale,
            100 * row["mean"],
            s=sizes[index],
            marker=_BOARD_MARKERS[boards.index(row.board)],
            color=style.colour(CONFIGURATIONS.index(row.configuration)),
            alpha=1.0 if row.recipe == "best" else 0.45,
            edgecolor="white",
            linewidth=0.8,
            zorder=2,
        )
    axes.errorbar(
        table[cost] * scale,
        100 * table["mean"],
        100 * table["std"],
        linestyle="none",
        color=style.MUTED,
        zorder=1,
    )
    axes.set_xscale("log")
    _draw_front(axes, list(table[cost] * scale), list(100 * table["mean"]))
    axes.set_xlabel(f"{title} ({unit}, {style.origins(table[f'{cost}.origin'])})")
    axes.set_ylabel("Test accuracy (%, measured)")
    axes.set_title(f"Accuracy against {title[0].lower()}{title[1:]}")
    _legend(axes, boards)
    caption = (
        "Fashion-MNIST from scratch. Size: RAM. Pale: recipe paper. Dashed: Pareto front. Bars: over seeds."
    )
    return Drawing(name, caption, figure, table)


def _draw_front(axes: Axes, x: list[float], y: list[float]) -> None:
    front = pareto_front(list(zip(x, y, strict=True)))
    axes.plot(
        [x[i] for i in front],
        [y[i] for i in front],
        drawstyle="steps-post",
        color=style.MUTED,
        linestyle="--",
        linewidth=1.2,
        zorder=1,
    )


def _legend(axes: Axes, boards: list[str]) -> None:
    handles = [
        Line2D([], [], linestyle="none", marker="o", color=style.colour(number), label=configuration)
        for number, configuration in enumerate(CONFIGURATIONS)
    ]
    handles += [
        Line2D([], [], linestyle="none", marker=_BOARD_MARKERS[number], color=style.MUTED, label=board)
        for number, board in enumerate(boards)
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
