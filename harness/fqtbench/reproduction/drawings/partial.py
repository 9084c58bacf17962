"""Accuracy and backward speed-up over λ_min."""

from typing import Final

import pandas as pd

from fqtbench.report import style
from fqtbench.report.figures import Drawing
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
    for number, (rule, label) in enumerate(_RULES.items()):
        own = table[(table.rule.isin([rule, "whole"])) & (table.board == first_board)].sort_values(
            "lambda_min"
        )
        left.errorbar(
            own.lambda_min,
            100 * own.test_accuracy_mean,
            100 * own.test_accuracy_std,
            color=style.colour(number),
            linestyle=style.LINES[number],
            marker="o",
            capsize=2,
            label=label,
        )
    left.errorbar(
        paper.lambda_min,
        100 * paper["mean"],
        100 * paper["std"],
        color=style.colour(2),
        linestyle=style.LINES[2],
        marker="o",
        capsize=2,
        label="recipe paper, the largest errors, λ_max = 1",
    )
    stated = _published("test_accuracy")
    left.scatter(
        stated.lambda_min, stated.value, marker="s", color=style.MUTED, label="published, 7 datasets"
    )
    left.set_xlabel("λ_min")
    left.set_ylabel("Test accuracy (%, measured and published)")
    left.set_title("Accuracy")
    left.legend(loc="lower right")
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


def _shown(
    table: pd.DataFrame, paper: pd.DataFrame, accuracies: pd.DataFrame, speedups: pd.DataFrame
) -> pd.DataFrame:
    """Return everything drawn, ours first, accuracies as shares of 1."""
    means = {"mean": "test_accuracy_mean", "std": "test_accuracy_std"}
    ours = {"accuracy.origin": "measured"}
    stated = accuracies.assign(test_accuracy_mean=accuracies.value / 100, **{"accuracy.origin": "published"})
    faster = speedups.rename(columns={"value": "speedup"}).assign(**{"cycles.origin": "published"})
    parts = [
        table.assign(**ours),
        paper.rename(columns=means).assign(rule="dynamic, recipe paper", **ours),
        stated.drop(columns=["value", "unit"]),
        faster.drop(columns="unit"),
    ]
    return pd.concat(parts, ignore_index=True)


def paper_accuracy(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy in recipe paper by λ_min: mean, std, count over the seeds."""
    own = runs[runs.suite == "partial-paper"]
    return spread(own, ("lambda_min", "lambda_max"), "test_accuracy").sort_values("lambda_min")


def _published(metric: str) -> pd.DataFrame:
    theirs = published("partial", metric)
    return theirs.assign(lambda_min=theirs.configuration.str.extract(r"=([\d.]+)")[0].astype(float))
