"""One side of a comparison: the runs of a results folder, read as files that anybody may have written."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from fqtbench.errors import ResultError
from fqtbench.experiment.committed import CommittedRun, committed_runs
from fqtbench.experiment.metrics import BY_NAME, MetricValue
from fqtbench.experiment.record import EPOCHS, RESULT
from fqtbench.experiment.results import RunResult, load_results
from fqtbench.experiment.spec import canonical_json
from fqtbench.power import PHASES

SEED: Final = "seed"
Text = Annotated[str, Field(max_length=500)]
Object = dict[str, JsonValue]


class _Part(BaseModel):
    """What a comparison needs; a result holds more, and an older one may lack what has a default."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Identity(_Part):
    """What decides a run's numbers."""

    spec: Object
    seed: int
    image: Text
    firmware: Text
    samples: Text
    order: Text
    board: Object


class FirmwareFacts(_Part):
    """The firmware that ran."""

    sha256: Text
    build_id: Text
    manifest: Object = {}


class Description(_Part):
    """A run's result.json."""

    run_id: Text
    number: int
    label: Text
    assignment: Object
    perturbed: bool
    identity: Identity
    firmware: FirmwareFacts
    metrics: dict[str, Object]
    device: Object = {}
    timing_model_id: Text | None = None
    power_model_id: Text | None = None
    environment: Object = {}


@dataclass(frozen=True)
class RunSide:
    """A recorded run with what it says of itself, checked."""

    facts: Description
    result: RunResult

    @property
    def name(self) -> str:
        """What tells it from the suite's other runs on its board model."""
        return self.facts.label.removesuffix(f" on {self.board_model}")

    @property
    def board_model(self) -> str:
        """The kind of board that it ran on."""
        return str(self.facts.identity.board.get("name"))

    @property
    def group(self) -> tuple[str, bytes]:
        """Its place in the suite, but for the seed: runs of one group are replicates."""
        swept = {key: value for key, value in self.facts.assignment.items() if key != SEED}
        return self.board_model, canonical_json(swept)

    @property
    def seed(self) -> int:
        """What tells it from its replicates."""
        return self.facts.identity.seed

    @property
    def metrics(self) -> dict[str, MetricValue]:
        """Its metrics by name."""
        return self.result.metrics

    @cached_property
    def weights_checksum(self) -> int:
        """CRC-32 of what it trained, behind the last epoch."""
        return int(self.result.epochs.checksum.iloc[-1])

    def by_phase(self, metric: str) -> dict[str, float]:
        """Return a metric's parts by phase of a training step, in its unit; empty if it is no sum of phases."""
        epochs = self.result.epochs
        if metric == "step_s":
            parts = {phase: self.metrics.get(f"{phase}_s") for phase in PHASES}
            return {phase: value.value for phase, value in parts.items() if value is not None}
        columns = {phase: f"energy_{phase}_j" for phase in PHASES}
        if metric in ("step_j", "training_j") and all(name in epochs for name in columns.values()):
            rows = epochs if metric == "training_j" else epochs.iloc[-1:]
            return {phase: float(rows[name].sum()) for phase, name in columns.items()}
        return {}


@dataclass(frozen=True)
class Side:
    """A results folder: its suite's name, and its runs in the order of the plan."""

    folder: Path
    suite: str
    runs: tuple[RunSide, ...]

    def of(self, board_models: set[str]) -> "Side":
        """Return the part that ran on these kinds of board."""
        return Side(self.folder, self.suite, tuple(r for r in self.runs if r.board_model in board_models))


def load_side(folder: Path) -> Side:
    """Read a results folder; ResultError if it is none, or if a file is not what was recorded, or says no figures."""
    described = {run.run_id: _describe(folder, run) for run in committed_runs(folder)}
    results = load_results(folder)
    runs = tuple(RunSide(described[run.description["run_id"]], run) for run in results.runs)
    seen = set()
    for run in runs:
        _check_epochs(run)
        if (run.group, run.seed) in seen:
            raise ResultError(f"{folder}: {run.facts.label} is there twice; record the suite anew")
        seen.add((run.group, run.seed))
    return Side(folder, results.name, runs)


def _describe(folder: Path, run: CommittedRun) -> Description:
    where = f"{folder}: run {run.run_id[:12]}: {RESULT}"
    try:
        found = Description.model_validate(json.loads(run.files[RESULT]))
        for name, fields in found.metrics.items():
            _check_metric(name, fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ResultError(f"{where}: {place}: {first['msg']}; record the run anew") from error
    except (KeyError, ValueError, RecursionError) as error:
        raise ResultError(f"{where}: {error}; record the run anew") from error
    if found.run_id != run.run_id:
        raise ResultError(f"{where}: it is of run {found.run_id[:12]}; record the run anew")
    return found


def _check_epochs(run: RunSide) -> None:
    """Raise ResultError unless the table of epochs says what was trained; every other column may be missing."""
    from pandas.api.types import is_integer_dtype, is_numeric_dtype  # noqa: PLC0415  (half a second)

    epochs = run.result.epochs
    energies = [epochs[name] for name in epochs.columns if str(name).startswith("energy_")]
    if (
        epochs.empty
        or "checksum" not in epochs
        or not is_integer_dtype(epochs["checksum"])
        or not all(is_numeric_dtype(column) for column in energies)
    ):
        raise ResultError(f"{run.result.folder / EPOCHS}: no table of epochs; record the run anew")


def _check_metric(name: str, fields: dict[str, Any]) -> None:
    value, exact = fields.get("value"), fields.get("exact")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    known = fields.get("origin") in ("measured", "modelled", "published")
    if name in BY_NAME and not (number and known and isinstance(exact, bool)):
        raise ValueError(f"metrics.{name}: no value with origin and `exact`")
