"""Accuracy per task and configuration: transfer learning, and training from scratch."""

import pandas as pd

from fqtbench.report import style
from fqtbench.report.drawing import Drawing
from fqtbench.reproduction.drawings import bars
from fqtbench.reproduction.published import SOURCE, published


def draw_transfer(runs: pd.DataFrame) -> Drawing:
    """Transfer learning: ours by task, configuration and recipe, the paper's by its own datasets."""
    return _draw(runs, "transfer", "accuracy", "Accuracy after transfer learning")


def draw_scratch(runs: pd.DataFrame) -> Drawing:
    """Training from scratch, likewise."""
    return _draw(runs, "scratch", "scratch", "Accuracy from scratch")


def _draw(runs: pd.DataFrame, kind: str, name: str, title: str) -> Drawing:
    prefix = f"{kind}-"
    own = runs[runs.suite.str.startswith(prefix)].copy()
    own["group"] = own.suite.str.removeprefix(prefix)
    own["test_accuracy"] *= 100
    ours = bars.spread(own, ("group", "configuration", "recipe"), "test_accuracy")
    ours["origin"] = "measured"
    theirs = published(kind, "test_accuracy").rename(columns={"task": "group", "value": "mean"})
    theirs = theirs[theirs.configuration.isin(bars.CONFIGURATIONS)].assign(
        recipe="published", std=0.0, count=0, origin="published"
    )
    figure, (left, right) = style.new_figure(2, 3.8, 11.0)
    bars.grouped(left, ours, list(dict.fromkeys(ours.group)))
    left.set_ylabel("Test accuracy (%, measured)")
    left.set_title(f"{title}: ours")
    bars.grouped(right, theirs, list(dict.fromkeys(theirs.group)))
    right.set_ylabel("Test accuracy (%, published)")
    right.set_title(f"The paper's, on its datasets ({SOURCE})", fontsize=9)
    lowest = min(ours["mean"].min(), theirs["mean"].min())
    for axes in (left, right):
        axes.set_ylim(max(0.0, lowest - 10), 100)
    bars.legend(right, pd.concat([ours, theirs]))
    n = f"{ours['count'].min()}" if ours["count"].min() == ours["count"].max() else "several"
    caption = f"Ours: mean and standard deviation over {n} seeds. The paper's datasets are others."
    columns = ["group", "configuration", "recipe", "mean", "std", "count", "origin"]
    return Drawing(name, caption, figure, pd.concat([ours, theirs])[columns])
