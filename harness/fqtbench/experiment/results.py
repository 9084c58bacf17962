"""Reading a results folder: what the journal commits, nothing else."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fqtbench.errors import ResultError
from fqtbench.experiment import journal
from fqtbench.experiment.metrics import BY_NAME, MetricValue
from fqtbench.experiment.record import EPOCHS, EVALUATIONS, RESULT, STEPS, TRACE
from fqtbench.experiment.store import JOURNAL
from fqtbench.power.excerpt import Excerpt

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunResult:
    """One recorded run.

    `steps` has a row a training sample, `evaluations` one a test sample and epoch, `epochs` one an epoch.
    """

    folder: Path
    description: dict[str, Any]
    metrics: dict[str, MetricValue]
    steps: "pd.DataFrame"
    evaluations: "pd.DataFrame"
    epochs: "pd.DataFrame"

    @property
    def label(self) -> str:
        """What distinguishes it from the other runs of its suite."""
        return str(self.description["label"])

    @property
    def attempts(self) -> int:
        """How many attempts it took; folders from before these were counted don't say."""
        stated = self.description.get("attempts")
        return stated if isinstance(stated, int) else 1

    @property
    def energy(self) -> dict[str, Any]:
        """What its record says of measured energies; empty where they are the model's (docs/power.md)."""
        return dict(self.description.get("energy", {}))

    def trace(self) -> Excerpt | None:
        """Return the samples of its first steps, if they were kept; ResultError if the file can't be read."""
        from fqtbench.power.recorded import read_excerpt  # noqa: PLC0415  (Arrow, as in `read_table`)

        path = self.folder / TRACE
        return read_excerpt(path) if path.is_file() else None

    @property
    def clock_hz(self) -> int:
        """The core clock that turns cycles into seconds."""
        return int(self.description["identity"]["board"]["clock_hz"])


@dataclass(frozen=True)
class SuiteResults:
    """All recorded runs of a folder, in the order of the plan."""

    folder: Path
    name: str
    runs: tuple[RunResult, ...]

    def having(self, metric: str) -> "SuiteResults":
        """Return the runs that have `metric`: a host has no latency."""
        return replace(self, runs=tuple(run for run in self.runs if metric in run.metrics))

    def present(self, names: Iterable[str]) -> list[str]:
        """Return those metrics that any run has."""
        return [name for name in names if any(name in run.metrics for run in self.runs)]


def load_results(folder: Path) -> SuiteResults:
    """Read a results folder; ResultError if it is none, or if a committed file is missing or unreadable."""
    path = folder / JOURNAL
    if not path.is_file():
        raise ResultError(
            f"{folder}: no results folder (it has no file `{JOURNAL}`); `fqtbench run` makes one"
        )
    entries = journal.read(path).entries
    if not entries or entries[0].get("kind") != "suite":
        raise ResultError(f"{folder}: its journal names no suite; nothing was recorded there yet")
    runs = [_load_run(folder / "runs" / entry["run_id"] / entry["attempt"]) for entry in entries[1:]]
    runs.sort(key=lambda run: run.description["number"])
    return SuiteResults(folder, str(entries[0]["name"]), tuple(runs))


def _load_run(folder: Path) -> RunResult:
    try:
        description = json.loads((folder / RESULT).read_text("utf-8"))
        tables = [read_table(folder / name) for name in (STEPS, EVALUATIONS, EPOCHS)]
        metrics = {
            name: MetricValue(name, **fields)
            for name, fields in description["metrics"].items()
            if name in BY_NAME
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultError(f"{folder}: a recorded file is missing or unreadable: {error}") from error
    return RunResult(folder, description, metrics, *tables)


def read_table(path: Path) -> "pd.DataFrame":
    """Read a Parquet file in this thread alone: Arrow's threads, alive at exit, abort some one exit in thirty."""
    import pyarrow  # noqa: PLC0415  (with pandas half a second, which most commands don't need)
    from pyarrow import parquet  # noqa: PLC0415

    file = parquet.ParquetFile(pyarrow.BufferReader(path.read_bytes()))
    frame: pd.DataFrame = file.read(use_threads=False).to_pandas(use_threads=False)
    return frame


def summary_table(results: SuiteResults) -> "pd.DataFrame":
    """Return one row a run: its sweep keys, its metrics in base units, the origin of each, and its uncertainty."""
    import pandas as pd  # noqa: PLC0415  (half a second, which most commands don't need)

    rows = []
    for run in results.runs:
        row: dict[str, Any] = {
            "run_id": run.description["run_id"],
            "run": run.description["number"],
            "label": run.label,
            "board": run.description["board"]["name"],
            "model": run.description["identity"]["board"]["name"],
            **{f"sweep.{key}": _cell(value) for key, value in run.description["assignment"].items()},
            "seed": run.description["identity"]["seed"],
            "perturbed": run.description["perturbed"],
            "attempts": run.attempts,
        }
        for metric in run.metrics.values():
            row[metric.name] = metric.value
            row[f"{metric.name}.origin"] = metric.origin
            if metric.uncertainty is not None:
                row[f"{metric.name}.uncertainty"] = metric.uncertainty
        rows.append(row)
    return pd.DataFrame(rows)


def _cell(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else json.dumps(value)
