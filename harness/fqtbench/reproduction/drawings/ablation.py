"""What batch size, learning rate and rounding do to accuracy."""

from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from fqtbench.report import style
from fqtbench.report.drawing import Drawing
from fqtbench.reproduction.drawings.bars import spread

_PANELS: Final = (
    ("ablation-batch", "batch", "configuration", "Batch size (samples)"),
    ("ablation-rate", "learning_rate", "configuration", "Learning rate at the start"),
    ("ablation-rounding", "batch", "rounding", "Batch size (samples)"),
)


def draw_ablations(runs: pd.DataFrame) -> Drawing:
    """A panel each."""
    figure, panels = style.new_figure(len(_PANELS), 3.6, 12.5)
    tables = []
    best = runs.recipe == "best"
    named = runs.assign(
        configuration=runs.configuration.where(best, runs.configuration + ", recipe " + runs.recipe)
    )
    for axes, (suite, x, series, label) in zip(panels, _PANELS, strict=True):
        table = spread(named[named.suite == suite], (x, series), "test_accuracy").sort_values(x)
        _draw_panel(axes, table, x, series)
        axes.set_xlabel(label)
        axes.set_title(suite.removeprefix("ablation-").capitalize())
        tables.append(
            table.rename(columns={x: "x", series: "series"}).assign(suite=suite, varied=x, origin="measured")
        )
    panels[0].set_ylabel("Test accuracy (%, measured)")
    own = runs[runs.suite.isin([suite for suite, *_ in _PANELS])]
    caption = (
        f"Fashion-MNIST, {own.n_train.max():,} images, epochs: {own.epochs.max()}; mean and standard deviation over "
        f"{own.seed.nunique()} seeds."
    )
    return Drawing("ablations", caption, figure, pd.concat(tables))


def _draw_panel(axes: Axes, table: pd.DataFrame, x: str, series: str) -> None:
    for number, value in enumerate(dict.fromkeys(table[series])):
        own = table[table[series] == value]
        axes.errorbar(
            own[x],
            100 * own["mean"],
            100 * own["std"],
            color=style.colour(number),
            linestyle=style.LINES[number],
            marker="o",
            capsize=2,
            label=str(value),
        )
    axes.set_xscale("log")
    ticks = sorted(set(table[x]))
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.legend(loc="lower center")
