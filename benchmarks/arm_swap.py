"""Adaptation to a new domain: ``python -m benchmarks.arm_swap``.

A 1-D CNN learns shoulder exercises from watches on left arms (float32, this computer), loses accuracy on right arms,
and is adapted to them: in uint8 with the engine's bits, and in float32 for comparison. The test subjects are unseen.
"""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import yaml

from benchmarks.promise import ROOT, Promise, keep
from benchmarks.suite_runs import fqtbench, run_suite
from fqtbench import datasets
from fqtbench.datasets import Dataset
from fqtbench.experiment.results import load_results
from fqtbench.training.image import Image
from fqtbench.training.reference import Trainer

_SEEDS: Final = (1, 2, 3)
_RATE: Final = {"start": 0.02, "end": 0.001}
_TRAINING: Final = {"batch": 16, "normalization": "qas", "momentum": 0.9, "learning_rate": _RATE}
_PRETRAINING: Final = {**_TRAINING, "epochs": 15, "configuration": "float32"}
_ADAPTATION: Final = {**_TRAINING, "epochs": 10}


def _network() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "experiments" / "seglearn-transfer.yaml").read_text())["network"]


def _accuracy_before(results: Path, data: Dataset) -> float:
    """Accuracy of a run's image as it was compiled, before its first step."""
    (run,) = load_results(results).runs
    image = (results / "artifacts" / run.description["image"]["sha256"]).read_bytes()
    assert Image.parse(image).header["sample_bytes"] == data.test_x[0].size
    trainer = Trainer(image)
    hits = [
        trainer.evaluate(x.tobytes(), int(y)).predicted == y
        for x, y in zip(data.test_x, data.test_y, strict=True)
    ]
    return float(np.mean(hits))


def _last(results: Path) -> float:
    (run,) = load_results(results).runs
    return float(run.metrics["test_accuracy"].value)


def _seed(folder: Path, seed: int, right: Dataset) -> dict[str, float]:
    folder.mkdir()
    left = run_suite(
        folder,
        "left",
        dataset={"name": "seglearn-left"},
        network=_network(),
        training=_PRETRAINING,
        seed=seed,
    )
    fqtbench("export", str(left), "--format", "onnx", "--out", str(folder / "left.onnx"))
    adapted = {
        configuration: run_suite(
            folder, configuration, dataset={"name": "seglearn-right"}, network={"onnx": "left.onnx"},
            training={**_ADAPTATION, "configuration": configuration}, seed=seed,
        )
        for configuration in ("uint8", "float32")
    }  # fmt: skip
    return {
        "seed": seed,
        "left": _last(left),
        "right_before_uint8": _accuracy_before(adapted["uint8"], right),
        "right_after_uint8": _last(adapted["uint8"]),
        "right_before_float32": _accuracy_before(adapted["float32"], right),
        "right_after_float32": _last(adapted["float32"]),
    }


def main() -> None:
    """Adapt for each seed; keep the table and the mean."""
    right = datasets.load("seglearn-right")
    with tempfile.TemporaryDirectory() as folder:
        table = pd.DataFrame([_seed(Path(folder) / f"seed-{seed}", seed, right) for seed in _SEEDS])
    kept = ROOT / "results" / "arm-swap"
    kept.mkdir(parents=True, exist_ok=True)
    table.to_csv(kept / "summary.csv", index=False)
    mean = 100 * table.drop(columns="seed").mean()
    print(json.dumps(mean.round(1).to_dict()))
    regained = {
        kind: mean[f"right_after_{kind}"] - mean[f"right_before_{kind}"] for kind in ("uint8", "float32")
    }
    what = (
        "watch moved from the left arm to the right: accuracy regained by training all layers, "
        "unseen subjects, 3 seeds"
    )
    value = (
        f"uint8 {mean['right_before_uint8']:.1f} → {mean['right_after_uint8']:.1f} %, "
        f"float32 {mean['right_before_float32']:.1f} → {mean['right_after_float32']:.1f} %"
    )
    bound = "uint8 within 2 points of float32"
    within = bool(regained["uint8"] > regained["float32"] - 2.0)
    keep("arm_swap", Promise(13, what, bound, value, within,
                             "python -m benchmarks.arm_swap"))  # fmt: skip


if __name__ == "__main__":
    main()
