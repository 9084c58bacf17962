"""Results folders for tests: recorded on stand-in boards, or copied with other figures by the project's own store."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from fqtbench.board import Origin, load_models
from fqtbench.experiment.committed import committed_runs, suite_entry
from fqtbench.experiment.record import EPOCHS, RESULT
from fqtbench.experiment.runner import Order, run_suite
from fqtbench.experiment.spec import canonical_json, load_suite
from fqtbench.experiment.store import Store
from tests.experiment import suites
from tests.experiment.standin_run import WORKER, Printer, boards

Result = dict[str, Any]
ANOTHER_FIRMWARE = hashlib.sha256(b"another firmware").hexdigest()


def record(folder: Path, cycles: Origin = "modelled", **changes: Any) -> Path:
    """Run the tiny suite, with these keys changed, on one stand-in board; returns the results folder."""
    folder.mkdir(parents=True, exist_ok=True)
    suite = load_suite(suites.write(folder, suites.tiny(**changes)))
    run_suite(Order(suite, boards(1, cycles), load_models(), folder / "out"), Printer(), WORKER)
    return folder / "out"


def edited(
    source: Path,
    target: Path,
    edit: Callable[[Result], None],
    epochs: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
) -> Path:
    """Copy a results folder as if it had been recorded with other results, and tables of epochs; returns `target`."""
    suite = suite_entry(source)
    with Store(target, suite["name"], suite["sha256"], resume=False) as store:
        for run in committed_runs(source):
            result = json.loads(run.files[RESULT])
            edit(result)
            result["run_id"] = hashlib.sha256(canonical_json(result["identity"])).hexdigest()
            files = run.files | {RESULT: json.dumps(result).encode()}
            if epochs is not None:
                files[EPOCHS] = _parquet(epochs(pd.read_parquet(io.BytesIO(run.files[EPOCHS]))))
            store.record(result["run_id"], files, run.facts)
            store.write("manifest.json", json.dumps({"runs": []}).encode())
    return target


def _parquet(table: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    return file.getvalue()


def other_firmware(result: Result) -> None:
    """Make it a result of another firmware."""
    result["identity"]["firmware"] = result["firmware"]["sha256"] = ANOTHER_FIRMWARE


def scaled(factor: float, *metrics: str) -> Callable[[Result], None]:
    """Return an edit: another firmware, with which these metrics are `factor` times what they were."""

    def edit(result: Result) -> None:
        other_firmware(result)
        for name in metrics:
            result["metrics"][name]["value"] *= factor

    return edit
