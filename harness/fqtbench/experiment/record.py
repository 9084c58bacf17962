"""What a run leaves behind: its events gathered into tables, metrics and a description."""

import base64
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fqtbench.board import Origin
from fqtbench.clock import now
from fqtbench.errors import BoardError
from fqtbench.experiment.energy import energy_record
from fqtbench.experiment.metrics import MetricValue, Source, metric_value
from fqtbench.experiment.plan import Run
from fqtbench.power import PHASES

if TYPE_CHECKING:
    import pandas as pd

Event = dict[str, Any]
STEPS: Final = "steps.parquet"
EVALUATIONS: Final = "evaluations.parquet"
EPOCHS: Final = "epochs.parquet"
WEIGHTS: Final = "weights.npz"
RESULT: Final = "result.json"
TRACE: Final = "trace.parquet"
_ENERGIES_OF: Final = {"step_energies": "steps", "evaluation_energies": "evaluations"}

_TYPES: Final = {
    "epoch": "uint16",
    "position": "uint32",
    "step": "uint32",
    "sample": "uint32",
    "label": "uint16",
    "predicted": "uint16",
    "updated": "bool",
    "loss": "float32",
    "forward_cycles": "uint32",
    "backward_cycles": "uint32",
    "update_cycles": "uint32",
    "checksum": "uint32",
    "idle_training_w": "float64",
    "idle_evaluation_w": "float64",
}


class Recorder:
    """Gathers the events of one attempt at a run; `files` is what the results folder keeps of it."""

    def __init__(self, run: Run, board: str) -> None:
        self.run, self.board = run, board
        self._started = now()
        self._columns: dict[str, dict[str, list[Any]]] = {"steps": {}, "evaluations": {}}
        self._energies: dict[str, dict[str, list[Any]]] = {"steps": {}, "evaluations": {}}
        self._epochs: list[Event] = []
        self._facts: dict[str, Event] = {}
        self._weights, self._trace = b"", b""

    def add(self, event: Event) -> None:
        """Take in one event of the worker; those that leave nothing behind are ignored."""
        kind = event["event"]
        match kind:
            case "steps" | "evaluations":
                n_rows = len(event["columns"]["sample"])
                for name, values in {"epoch": [event["epoch"]] * n_rows, **event["columns"]}.items():
                    self._columns[kind].setdefault(name, []).extend(values)
            case "step_energies" | "evaluation_energies":  # they come later than the rows that they belong to
                for name, values in event["columns"].items():
                    self._energies[_ENERGIES_OF[kind]].setdefault(name, []).extend(values)
            case "epoch":
                self._epochs.append({key: value for key, value in event.items() if key != "event"})
            case "weights":
                self._weights = base64.b64decode(event["npz"])
            case "power_trace":
                self._trace = base64.b64decode(event["parquet"])
            case (
                "attached"
                | "flashed"
                | "hello"
                | "status"
                | "power"
                | "verified"
                | "energy_account"
                | "energy_procedure"
            ):
                self._facts[kind] = {key: value for key, value in event.items() if key != "event"}

    def files(self, environment: dict[str, Any], attempts: int = 1) -> dict[str, bytes]:
        """Return name → content of every file of the attempt, which is the run's `attempts`-th."""
        steps, evaluations = self._table("steps"), self._table("evaluations")
        epochs = _typed(self._epochs)
        result = self._describe(environment, attempts, self._metrics(steps, evaluations, epochs))
        clock_hz = self.run.model.clock_hz
        if clock_hz is not None:
            energy = energy_record(steps, evaluations, epochs, self._facts, clock_hz)
            result |= {"energy": energy} if energy else {}
        files = {
            STEPS: _parquet(steps),
            EVALUATIONS: _parquet(evaluations),
            EPOCHS: _parquet(epochs),
            WEIGHTS: self._weights,
            RESULT: json.dumps(result, indent=1, ensure_ascii=False).encode(),
        }
        return files | ({TRACE: self._trace} if self._trace else {})

    def _table(self, kind: str) -> "pd.DataFrame":
        columns = self._columns[kind]
        if not columns:
            raise BoardError(f"{self.run.name} on board {self.board}: the worker sent no {kind}")
        table, energies = _typed(columns), self._energies[kind]
        for name, values in energies.items():
            if len(values) != len(table):
                raise BoardError(
                    f"{self.run.name} on board {self.board}: the worker sent {len(values)} energies for "
                    f"{len(table)} {kind}"
                )
            table[name] = np.array(values, np.float64)  # None becomes NaN: a sample without that window
        return table

    def _metrics(
        self, steps: "pd.DataFrame", evaluations: "pd.DataFrame", epochs: "pd.DataFrame"
    ) -> list[MetricValue]:
        last = epochs.iloc[-1]
        values = {
            "test_accuracy": last.test_accuracy,
            "test_loss": last.test_loss,
            "train_loss": last.train_loss,
            "arena_bytes": self._facts["status"]["arena_peak_bytes"],
        }
        if self.run.model.clock_hz is not None:
            values |= self._costs(steps, evaluations, epochs, self.run.model.clock_hz)
        if "energy_procedure" in self._facts:
            values["mlperf_inference_j"] = self._facts["energy_procedure"]["inference_j"]
        origins, uncertainties = self._origins(), self._uncertainties()
        sampled = {Source.POWER} if "energy_account" in self._facts else set()
        return [
            metric_value(name, float(value), origins, uncertainties, sampled)
            for name, value in values.items()
        ]

    def _uncertainties(self) -> dict[Source, float]:
        """Return what a timing model states of its cycles, and an instrument of its windows' edges."""
        stated = {
            Source.CYCLES: self._facts["attached"].get("cycles_uncertainty"),
            Source.POWER: self._facts.get("energy_account", {}).get("edge_uncertainty_rel"),
        }
        return {source: fraction for source, fraction in stated.items() if fraction is not None}

    def _origins(self) -> dict[Source, Origin]:
        """Return the origin of each kind of figure; a host has neither cycle counter nor power monitor."""
        found: dict[Source, Origin | None] = {
            Source.COUNT: "measured",
            Source.CYCLES: self._facts["attached"].get("cycles"),
            Source.POWER: self._facts.get("power", {}).get("origin"),
        }
        return {source: origin for source, origin in found.items() if origin is not None}

    def _costs(
        self, steps: "pd.DataFrame", evaluations: "pd.DataFrame", epochs: "pd.DataFrame", per_s: int
    ) -> dict[str, float]:
        """Return what a chip's time, energy and memories make of it."""
        last = epochs.iloc[-1]
        final_steps = steps[steps.epoch == last.epoch]
        final_evaluations = evaluations[evaluations.epoch == last.epoch]
        phases = {name: float(final_steps[f"{name}_cycles"].mean()) / per_s for name in PHASES}
        energy_names = [f"energy_{name}_j" for name in phases]
        status, firmware = self._facts["status"], self.run.firmware
        variables_bytes = firmware.static_bytes - status["stack_bytes"]
        return {
            **{f"{name}_s": value for name, value in phases.items()},
            "step_s": sum(phases.values()),
            "inference_s": float(final_evaluations.forward_cycles.mean()) / per_s,
            "step_j": float(last[energy_names].sum()) / len(final_steps),
            "inference_j": last.energy_evaluation_j / len(final_evaluations),
            "training_j": float(epochs[energy_names].to_numpy().sum()),
            "ram_bytes": variables_bytes + status["stack_peak_bytes"] + status["arena_peak_bytes"],
            "stack_bytes": status["stack_peak_bytes"],
            "flash_bytes": firmware.flash_bytes + len(self.run.compiled.image),
        }

    def _describe(
        self, environment: dict[str, Any], attempts: int, metrics: list[MetricValue]
    ) -> dict[str, Any]:
        run, compiled = self.run, self.run.compiled
        return {
            "run_id": run.run_id,
            "number": run.number,
            "label": run.label,
            "assignment": run.assignment,
            "metrics": {m.name: {key: v for key, v in asdict(m).items() if key != "name"} for m in metrics},
            "perturbed": self._facts["status"]["perturbed"],
            "attempts": attempts,
            "verified_steps": self._facts.get("verified", {}).get("steps", 0),
            "board": {"name": self.board, **self._facts["attached"]},
            "device": self._facts["hello"],
            "status": self._facts["status"],
            "flash": self._facts.get("flashed"),
            "power_model_id": self._facts.get("power", {}).get("model_id"),
            "timing_model_id": self._facts["attached"].get("timing_model_id"),
            "image": {
                "sha256": compiled.sha256,
                "crc32": compiled.crc32,
                "bytes": len(compiled.image),
                "macs_forward": compiled.macs_forward,
                "parameters": compiled.parameters,
                "ram_by_kind": compiled.plan.by_kind(),
                "memory_plan": compiled.plan.table([layer.name for layer in compiled.layers]),
            },
            "firmware": {
                "sha256": run.firmware.sha256,
                "build_id": run.firmware.build_id,
                "manifest": run.firmware.manifest,
            },
            "dataset": run.dataset,
            "identity": run.identity,
            "environment": environment,
            "started": self._started,
            "ended": now(),
        }


def _typed(content: dict[str, list[Any]] | list[dict[str, Any]]) -> "pd.DataFrame":
    """Make a table of columns, or of rows."""
    import pandas as pd  # noqa: PLC0415  (half a second, which most commands don't need)

    table = pd.DataFrame(content)
    kinds = {name: "uint16" if name.startswith("updated.") else _TYPES.get(name) for name in table.columns}
    return table.astype({name: kind for name, kind in kinds.items() if kind is not None})


def _parquet(table: "pd.DataFrame") -> bytes:
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    return file.getvalue()
