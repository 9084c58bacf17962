"""Make the pretrained networks again: ``python -m fqtbench.pretrain [NAME ...]`` (extra `pretrain`)."""

import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import Any, Final

import torch

from fqtbench.bench.job import DatasetRef
from fqtbench.errors import FqtbenchError, UsageError
from fqtbench.paths import share
from fqtbench.pretrain.fit import fit
from fqtbench.pretrain.models import MODELS, Model
from fqtbench.pretrain.save import save
from fqtbench.schema import nearest
from fqtbench.training.spec import NetworkSpec

_FOLDER: Final = share("experiments") / "models"
_LIST: Final = _FOLDER / "models.json"


def main() -> None:
    """Make those named, or all; models.json says what came of each."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    known = {model.name: model for model in MODELS}
    wanted = sys.argv[1:] or list(known)
    for name in wanted:
        if name not in known:
            raise UsageError(f"no pretrained network {name}{nearest(name, known)}")
    _FOLDER.mkdir(exist_ok=True)
    for name in wanted:
        _keep(name, _make(known[name], _FOLDER / f"{name}.onnx"))


def _make(model: Model, path: Path) -> dict[str, Any]:
    data = DatasetRef(**model.dataset).load()
    network = NetworkSpec.model_validate(model.network)
    logging.info("%s: %d samples of %s", model.name, len(data.train_x), data.name)
    weights, accuracy = fit(network, data, model.schedule, model.seed)
    save(network, weights, data, path)
    return {
        "dataset": model.dataset,
        "samples": data.sha256,
        "licence": data.licence,
        "source": data.source,
        "seed": model.seed,
        "test_accuracy": accuracy,
        "torch": torch.__version__,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _keep(name: str, facts: dict[str, Any]) -> None:
    listed = json.loads(_LIST.read_text()) if _LIST.exists() else {}
    listed[name] = facts
    _LIST.write_text(json.dumps(dict(sorted(listed.items())), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    try:
        main()
    except FqtbenchError as error:
        sys.exit(f"fqtbench.pretrain: {error}")
