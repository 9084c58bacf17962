"""The tables of docs/reproduction.md, from results/reference."""

import json
from collections.abc import Sequence

import pandas as pd

from benchmarks.reproduction import REFERENCE
from fqtbench.board import load_models
from fqtbench.reproduction.drawings.bars import spread
from fqtbench.reproduction.drawings.partial import paper_accuracy, summarize
from fqtbench.reproduction.published import published

_CONFIGURATIONS = ("uint8", "mixed", "float32")


def _runs() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "tables" / "runs.csv", keep_default_na=False, na_values=[""])


def accuracies() -> str:
    """Return accuracy by task, recipe and configuration, mean ± deviation over the seeds, as Markdown."""
    runs = _runs()
    lines = [
        "| task | recipe | training samples | uint8, % | mixed, % | float32, % |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for prefix in ("transfer-", "scratch-"):
        own = runs[runs.suite.str.startswith(prefix)]
        table = spread(own, ("suite", "recipe", "n_train", "configuration"), "test_accuracy")
        for (suite, recipe, n), rows in table.groupby(["suite", "recipe", "n_train"], sort=False):
            by = rows.set_index("configuration")
            cells = [f"{100 * by['mean'][c]:.1f} ± {100 * by['std'][c]:.1f}" for c in _CONFIGURATIONS]
            lines.append(f"| {suite} | {recipe} | {n:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def published_accuracies() -> str:
    """Return the paper's, as Markdown: `host baseline` is what its networks reach without a board's limits."""
    columns = (*_CONFIGURATIONS, "host baseline")
    lines = [
        "| published | uint8, % | mixed, % | float32, % | host baseline, % |",
        "|---|---:|---:|---:|---:|",
    ]
    for figure in ("transfer", "scratch"):
        lines += _accuracies(figure, f"{figure}: ", columns)
    return "\n".join(lines)


def published_mcunet() -> str:
    """Return accuracies of MCUNet-5FPS as the paper has them, its own and those it quotes, as Markdown."""
    columns = tuple(dict.fromkeys(published("mcunet", "test_accuracy").configuration))
    lines = [
        f"| published, MCUNet-5FPS | {' | '.join(f'{c}, %' for c in columns)} |",
        f"|---|{'---:|' * len(columns)}",
        *_accuracies("mcunet", "", columns),
    ]
    return "\n".join(lines)


def _accuracies(figure: str, prefix: str, columns: Sequence[str]) -> list[str]:
    """Return a line a task; – where the paper states none."""
    values = published(figure, "test_accuracy").set_index(["task", "configuration"]).value
    return [
        f"| {prefix}{task} | "
        + " | ".join(f"{values[task, c]:.1f}" if (task, c) in values.index else "–" for c in columns)
        + " |"
        for task in dict.fromkeys(values.index.get_level_values(0))
    ]


def costs() -> str:
    """Return what a step costs on each board, as Markdown."""
    runs = _runs()
    own = runs[runs.suite.str.startswith("boards-")]
    lines = [
        "| network | board | recipe | configuration, batch | forward, ms | backward, ms | update, ms | step, mJ "
        "| RAM, KB | flash, KB |",
        f"|---|---|---|---|{'---:|' * 6}",
    ]
    for row in own.to_dict("records"):
        times = " | ".join(f"{1e3 * row[f'{phase}_s']:,.2f}" for phase in ("forward", "backward", "update"))
        network = row["suite"].removeprefix("boards-")
        lines.append(
            f"| {network} | {row['board']} | {row['recipe']} | {row['configuration']}, {row['batch']} | {times} "
            f"| {1e3 * row['step_j']:,.3f} | {row['ram_bytes'] / 1024:.0f} | {row['flash_bytes'] / 1024:.0f} |"
        )
    return "\n".join(lines)


def published_costs() -> str:
    """Return the paper's, as Markdown; cycles follow from its times and the boards' clocks."""
    clocks = {name: model.clock_hz for name, model in load_models().items()}
    lines = [
        "| published | board | configuration | step, ms | step, M cycles (derived) | RAM, KB | flash, KB |",
        f"|---|---|---|{'---:|' * 4}",
    ]
    for figure in ("scratch", "transfer"):
        steps = published(figure, "step_s")
        tables = [published(figure, metric) for metric in ("ram_bytes", "flash_bytes")]
        others = [table.set_index(["task", "configuration"]).value for table in tables]
        for row in steps.to_dict("records"):
            clock = clocks[row["board"]]
            assert clock is not None
            cells = [_cell(other.get((row["task"], row["configuration"]))) for other in others]
            lines.append(
                f"| {figure}: {row['task']} | {row['board']} | {row['configuration']} | {row['value']:,.2f} "
                f"| {row['value'] * clock / 1e9:,.1f} | {' | '.join(cells)} |"
            )
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def partial_updates() -> str:
    """Return accuracy and backward cycles over λ_min, as Markdown; the paper's way has no cycles here."""
    table = summarize(pd.read_csv(REFERENCE / "tables" / "partial.csv"))
    boards = list(dict.fromkeys(table.board))
    columns = " | ".join(f"{board}: M cycles (times cheaper)" for board in boards)
    lines = [
        f"| recipe, rule | λ_min | λ_max | accuracy, % | points lost | {columns} |",
        f"|---|---|---|---:|---:|{'---:|' * len(boards)}",
    ]
    for (rule, lambda_min, lambda_max), rows in table.groupby(
        ["rule", "lambda_min", "lambda_max"], sort=False
    ):
        by = rows.set_index("board")
        first = by.iloc[0]
        cells = [f"{by.backward_cycles_mean[b] / 1e6:.2f} ({by.speedup[b]:.2f})" for b in boards]
        lines.append(
            f"| best, {rule} | {lambda_min:g} | {lambda_max:g} | {100 * first.test_accuracy_mean:.2f} ± "
            f"{100 * first.test_accuracy_std:.2f} | {100 * first.accuracy_lost:.2f} | {' | '.join(cells)} |"
        )
    paper = paper_accuracy(_runs())
    for row in paper.sort_values("lambda_min", ascending=False).to_dict("records"):
        lost = 100 * row["lost"]
        name = "whole" if row["lambda_min"] == 1.0 else "dynamic"
        accuracy = f"{100 * row['mean']:.2f} ± {100 * row['std']:.2f}"
        lines.append(
            f"| paper, {name} | {row['lambda_min']:g} | {row['lambda_max']:g} | {accuracy} "
            f"| {lost:.2f} | {' | '.join('–' for _ in boards)} |"
        )
    return "\n".join(lines)


def hours() -> str:
    """Return what the suites' runs took, one after the other, as Markdown."""
    found = json.loads((REFERENCE / "hours.json").read_text())
    lines = [
        "| suite | hours of runs |",
        "|---|---:|",
        *(f"| {name} | {value:.2f} |" for name, value in found.items()),
    ]
    return "\n".join([*lines, f"| **together** | **{sum(found.values()):.2f}** |"])
