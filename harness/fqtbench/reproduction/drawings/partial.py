"""Accuracy and backward speed-up over λ_min."""

from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from fqtbench.report import style
from fqtbench.report.drawing import Drawing
from fqtbench.reproduction.drawings.bars import spread
from fqtbench.reproduction.published import SOURCE, published

_RULES: Final = {
    "sampled": "recipe best, drawn by their errors",
    "dynamic": "recipe best, the largest errors",
}


def summarize(partial: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy (share of 1) and backward cycles by board, rule and λ_min, with what they are against `whole`."""
    by = ["board", "rule", "lambda_min", "lambda_max", "cycles.origin"]
    table = partial.groupby(by, sort=False)[["test_accuracy", "backward_cycles"]].agg(["mean", "std"])
    table.columns = pd.Index(["_".join(column) for column in table.columns])
    table = table.fillna(0.0).reset_index()
    whole = table[table.rule == "whole"].set_index("board")
    table["speedup"] = table.board.map(whole.backward_cycles_mean) / table.backward_cycles_mean
    table["accuracy_lost"] = table.board.map(whole.test_accuracy_mean) - table.test_accuracy_mean
    return table


def draw_partial(partial: pd.DataFrame, runs: pd.DataFrame) -> Drawing:
    """Both, for each way of choosing, and what the paper states."""
    table, paper = summarize(partial), paper_accuracy(runs)
    figure, (left, right) = style.new_figure(2, 3.9, 11.0)
    first_board = table.board.iloc[0]
    stated = _published("test_accuracy")
    stated["lost"] = stated.task.map(_whole(stated, "task", "value")) - stated.value
    left.scatter(
        stated.lambda_min,
        -stated.lost,
        marker="s",
        color=style.MUTED,
        zorder=1,
        label="published, 7 datasets, mixed",
    )
    for number, (rule, label) in enumerate(_RULES.items()):
        own = table[(table.rule.isin([rule, "whole"])) & (table.board == first_board)].sort_values(
            "lambda_min"
        )
        _curve(left, number, own.lambda_min, own.accuracy_lost, own.test_accuracy_std, label)
    label = "recipe paper, the largest errors, λ_max = 1"
    _curve(left, 2, paper.lambda_min, paper.lost, paper["std"], label)
    left.axhline(0, color=style.MUTED, linewidth=0.8, zorder=0)
    left.set_xlabel("λ_min")
    left.set_ylabel("Test accuracy less that of λ_min = 1\n(points, measured and published)")
    left.set_title("Accuracy")
    left.legend(loc="lower right", fontsize=8)
    for number, board in enumerate(dict.fromkeys(table.board)):
        own = table[table.rule.isin(["sampled", "whole"]) & (table.board == board)].sort_values("lambda_min")
        right.plot(
            own.lambda_min, own.speedup, color=style.colour(number), marker="D", label=f"{board}, sampled"
        )
    theirs = _published("backward_speedup")
    right.scatter(
        theirs.lambda_min,
        theirs.value,
        marker="s",
        color=style.MUTED,
        label=f"published, 7 datasets\n({SOURCE})",
    )
    right.set_xlabel("λ_min")
    right.set_ylabel(f"Backward pass, times cheaper ({style.origins(table['cycles.origin'])})")
    right.set_title("Speed-up")
    right.legend(loc="upper right", fontsize=8)
    caption = (
        "Last three layers trained; in recipe best λ_max falls along with λ_min (table). Cycles: by a line through the "
        "board's steps, at the long runs' mean counts."
    )
    return Drawing("partial", caption, figure, _shown(table, paper, stated, theirs))


def _curve(axes: Axes, number: int, x: pd.Series, lost: pd.Series, spread: pd.Series, label: str) -> None:
    """Draw what is lost, downwards; `lost` and `spread`: shares of 1."""
    axes.errorbar(
        x,
        -100 * lost,
        100 * spread,
        color=style.colour(number),
        linestyle=style.LINES[number],
        marker="o",
        capsize=2,
        label=label,
    )


def _whole(table: pd.DataFrame, by: str, value: str) -> pd.Series:
    """Return `value` where every structure is updated, by column `by`."""
    return table[table.lambda_min == 1].set_index(by)[value]


def _shown(
    table: pd.DataFrame, paper: pd.DataFrame, accuracies: pd.DataFrame, speedups: pd.DataFrame
) -> pd.DataFrame:
    """Return everything drawn, ours first, accuracies as shares of 1."""
    means = {"mean": "test_accuracy_mean", "std": "test_accuracy_std", "lost": "accuracy_lost"}
    ours = {"accuracy.origin": "measured"}
    stated = accuracies.assign(
        test_accuracy_mean=accuracies.value / 100,
        accuracy_lost=accuracies.lost / 100,
        **{"accuracy.origin": "published"},
    )
    faster = speedups.rename(columns={"value": "speedup"}).assign(**{"cycles.origin": "published"})
    parts = [
        table.assign(**ours),
        paper.rename(columns=means).assign(rule="dynamic, recipe paper", **ours),
        stated.drop(columns=["value", "unit", "lost"]),
        faster.drop(columns="unit"),
    ]
    return pd.concat(parts, ignore_index=True)


def paper_accuracy(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy in recipe paper by λ_min: mean, std, count over the seeds, and what λ_min = 1 is above it."""
    own = runs[runs.suite == "partial-paper"]
    table = spread(own, ("lambda_min", "lambda_max"), "test_accuracy").sort_values("lambda_min")
    return table.assign(lost=table.loc[table.lambda_min == 1, "mean"].max() - table["mean"])


def _published(metric: str) -> pd.DataFrame:
    theirs = published("partial", metric)
    return theirs.assign(lambda_min=theirs.configuration.str.extract(r"=([\d.]+)")[0].astype(float))
