"""What figures are drawn from: one row a run, loss curves in pieces, partial updates with their cycles."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fqtbench.experiment.results import RunResult, SuiteResults

_KIND: Final = "ram.{}"
_LOSS_PIECES: Final = 60


def runs_table(suites: Mapping[str, SuiteResults]) -> pd.DataFrame:
    """Return one row a run of every suite, values in base units with the origin of each."""
    return pd.DataFrame([_row(name, run) for name, results in suites.items() for run in results.runs])


def _row(suite: str, run: RunResult) -> dict[str, Any]:
    training = run.description["identity"]["spec"]["training"]
    rate, partial = training["learning_rate"], training["partial"] or {}
    return {
        "suite": suite,
        "board": run.description["identity"]["board"]["name"],
        "recipe": training["recipe"],
        "configuration": training["configuration"],
        "batch": training["batch"],
        "learning_rate": rate["start"] if isinstance(rate, dict) else rate,
        "rounding": training["rounding"] or "",
        "rule": partial.get("rule") or "whole",
        "lambda_min": partial.get("lambda_min", 1.0),
        "lambda_max": partial.get("lambda_max", 1.0),
        "epochs": training["epochs"],
        "seed": run.description["identity"]["seed"],
        "dataset": run.description["dataset"]["name"],
        "n_train": run.description["dataset"]["n_train"],
        "n_test": run.description["dataset"]["n_test"],
        "macs_forward": run.description["image"]["macs_forward"],
        "parameters": run.description["image"]["parameters"],
        "verified_steps": run.description["verified_steps"],
        "perturbed": run.description["perturbed"],
        **{_KIND.format(kind): n for kind, n in run.description["image"]["ram_by_kind"].items()},
        **{metric.name: metric.value for metric in run.metrics.values()},
        **{f"{metric.name}.origin": metric.origin for metric in run.metrics.values()},
    }


def loss_table(suites: Mapping[str, SuiteResults]) -> pd.DataFrame:
    """Return the training loss in 60 pieces a run, each the mean over its samples."""
    return pd.DataFrame(
        [row for name, results in suites.items() for run in results.runs for row in _losses(name, run)]
    )


def _losses(suite: str, run: RunResult) -> list[dict[str, Any]]:
    training = run.description["identity"]["spec"]["training"]
    return [
        {
            "suite": suite,
            "recipe": training["recipe"],
            "configuration": training["configuration"],
            "seed": run.description["identity"]["seed"],
            "samples": int(piece[-1]) + 1,
            "loss_nats": float(run.steps.loss.to_numpy(np.float64)[piece].mean()),
        }
        for piece in np.array_split(np.arange(len(run.steps)), _LOSS_PIECES)
        if len(piece)
    ]


def partial_table(accuracy: SuiteResults, boards: SuiteResults) -> pd.DataFrame:
    """Return accuracy and backward cycles by rule, λ_min, seed and board.

    Accuracy is that of long runs, cycles those of short ones: a least-squares line through a board's steps, cycles over
    structures updated a layer, is taken at the long run's mean counts. Where nothing is left out, the mean will do.
    """
    rows = []
    for run in accuracy.runs:
        for on_board in boards.runs:
            if _rule(run) == _rule(on_board):
                rule, lambda_min, lambda_max = _rule(run)
                rows.append(
                    {
                        "board": on_board.description["identity"]["board"]["name"],
                        "rule": rule,
                        "lambda_min": lambda_min,
                        "lambda_max": lambda_max,
                        "seed": run.description["identity"]["seed"],
                        "test_accuracy": run.metrics["test_accuracy"].value,
                        "structures_updated": float(_updated(run.steps).sum(axis=1).mean()),
                        "backward_cycles": _cycles(on_board.steps, run.steps),
                        "line_deviation": _deviation(on_board.steps),
                        "cycles.origin": on_board.metrics["step_s"].origin,
                    }
                )
    return pd.DataFrame(rows)


def _rule(run: RunResult) -> tuple[str, float, float]:
    partial = run.description["identity"]["spec"]["training"]["partial"]
    if partial is None:
        return "whole", 1.0, 1.0
    return str(partial["rule"]), float(partial["lambda_min"]), float(partial["lambda_max"])


def _updated(steps: pd.DataFrame) -> NDArray[np.float64]:
    """Structures updated a step and layer (steps, layers)."""
    columns: Sequence[str] = sorted(name for name in steps.columns if name.startswith("updated."))
    return steps[list(columns)].to_numpy(np.float64)


def _cycles(board: pd.DataFrame, long_run: pd.DataFrame) -> float:
    line = _line(board)
    return float(line[0] + _updated(long_run).mean(axis=0) @ line[1:])


def _line(board: pd.DataFrame) -> NDArray[np.float64]:
    """Return cycles without any structure, and those of one more in each layer; least squares over the steps."""
    line, *_ = np.linalg.lstsq(_terms(board), board["backward_cycles"].to_numpy(np.float64), rcond=None)
    found: NDArray[np.float64] = line
    return found


def _terms(board: pd.DataFrame) -> NDArray[np.float64]:
    counts = _updated(board)
    return np.column_stack([np.ones(len(counts)), counts])


def _deviation(board: pd.DataFrame) -> float:
    """Return the standard deviation of the steps' cycles from the line, as a fraction of their mean."""
    cycles = board["backward_cycles"].to_numpy(np.float64)
    return float((cycles - _terms(board) @ _line(board)).std() / cycles.mean())
