"""Accuracy and backward speed-up over λ_min."""

from typing import Final

import pandas as pd

from fqtbench.report import style
from fqtbench.report.figures import Drawing
from fqtbench.reproduction.published import SOURCE, published

_RULES: Final = {
    "sampled": "drawn by their errors (recipe best)",
    "dynamic": "the largest errors (recipe paper)",
}


def summarize(partial: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy (share of 1) and backward cycles by board, rule and λ_min, with what they are against `whole`."""
    by = ["board", "rule", "lambda_min", "cycles.origin"]
    table = partial.groupby(by, sort=False)[["test_accuracy", "backward_cycles"]].agg(["mean", "std"])
    table.columns = pd.Index(["_".join(column) for column in table.columns])
    table = table.fillna(0.0).reset_index()
    whole = table[table.rule == "whole"].set_index("board")
    table["speedup"] = table.board.map(whole.backward_cycles_mean) / table.backward_cycles_mean
    table["accuracy_lost"] = table.board.map(whole.test_accuracy_mean) - table.test_accuracy_mean
    return table


def draw_partial(partial: pd.DataFrame) -> Drawing:
    """Both, for the two rules, and the speed-ups that the paper states."""
    table = summarize(partial)
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
    left.set_xlabel("λ_min")
    left.set_ylabel("Test accuracy (%, measured)")
    left.set_title("Accuracy")
    left.legend(loc="lower right")
    for number, board in enumerate(dict.fromkeys(table.board)):
        own = table[table.rule.isin(["sampled", "whole"]) & (table.board == board)].sort_values("lambda_min")
        right.plot(
            own.lambda_min, own.speedup, color=style.colour(number), marker="D", label=f"{board}, sampled"
        )
    theirs = published("partial", "backward_speedup")
    theirs = theirs.assign(lambda_min=theirs.configuration.str.extract(r"=([\d.]+)")[0].astype(float))
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
    rest = theirs.rename(columns={"value": "speedup"})[["task", "lambda_min", "board", "speedup"]]
    caption = "Last three layers trained; cycles by a line through the board's steps, at the long runs' mean counts."
    return Drawing(
        "partial", caption, figure, pd.concat([table, rest.assign(**{"cycles.origin": "published"})])
    )
