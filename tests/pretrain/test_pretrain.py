"""Promise: what PyTorch learns is what the engine starts from."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fqtbench import datasets
from fqtbench.datasets import Dataset
from fqtbench.exchange.import_onnx import import_onnx
from fqtbench.paths import share
from fqtbench.pretrain import networks
from fqtbench.training.compile import Memory, compile_model
from fqtbench.training.network import resolve
from fqtbench.training.reference import Trainer
from fqtbench.training.spec import NetworkSpec, TrainingSpec
from tests.tools import require_module

_ROOMY = Memory(1 << 26, 1 << 26)
_NETWORK: dict[str, Any] = {
    "layers": [
        {"type": "conv2d", "filters": 6, "stride": 2, "activation": "relu6", "name": "stem"},
        {"type": "depthwise_conv2d", "kernel": [3, 2], "activation": "linear"},
        {"type": "conv2d", "filters": 6, "kernel": 1, "activation": "relu"},
        {"type": "add", "with": "stem"},
        {"type": "conv2d", "filters": 4, "kernel": 2, "padding": 0},
        {"type": "max_pool"},
        {"type": "flatten"},
        {"type": "fully_connected", "units": 10, "activation": "linear"},
    ]
}


def _data(n: int = 64) -> Dataset:
    return datasets.load("fashion-mnist-12k").subset(n, 20)


def test_the_function_in_pytorch_is_the_engines() -> None:
    """Same losses in float32, strides, padding, residual adds and the order of flattened maps included."""
    torch = require_module("torch")
    from fqtbench.pretrain.module import TorchNetwork

    data, spec = _data(), NetworkSpec.model_validate(_NETWORK)
    layers = resolve(spec, (28, 28, 1), 10, "float32")
    model = TorchNetwork(layers, torch.Generator().manual_seed(3))
    model.fold()
    compiled = compile_model(
        spec, TrainingSpec(batch=1, configuration="float32"), data.train_x[:4], data.train_y[:4], 10, _ROOMY, 0, 1,
        weights=model.weights(),
    )  # fmt: skip
    trainer = Trainer(compiled.image)
    real = (data.test_x.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2)
    with torch.no_grad():
        logits = model(torch.from_numpy(np.ascontiguousarray(real)), learning=False)
        losses = torch.nn.functional.cross_entropy(
            logits, torch.from_numpy(data.test_y.astype(np.int64)), reduction="none"
        )
    ours = [
        float(trainer.evaluate(x.tobytes(), int(y)).loss)
        for x, y in zip(data.test_x, data.test_y, strict=True)
    ]
    assert np.allclose(losses.numpy(), ours, atol=2e-4)


def test_learning_is_repeatable_and_the_file_has_what_was_learned(tmp_path: Path) -> None:
    require_module("torch")
    from fqtbench.pretrain.fit import Schedule, fit
    from fqtbench.pretrain.save import save

    data, spec = _data(200), NetworkSpec.model_validate(networks.CNN_POOLED)
    schedule = Schedule(1, 1, batch=32)
    weights, accuracy = fit(spec, data, schedule, seed=5)
    again, _ = fit(spec, data, schedule, seed=5)
    assert all(np.array_equal(weights[i][0], again[i][0]) for i in weights)
    assert 0.1 < accuracy <= 1
    path = tmp_path / "net.onnx"
    save(spec, weights, data, path)
    imported = import_onnx(path)
    assert [layer.type for layer in imported.spec.layers] == [layer.type for layer in spec.layers]
    for index, (kernel, bias) in imported.weights.items():
        quantum = 1.25 * float(np.ptp(np.append(weights[index][0], 0))) / 255
        assert np.abs(kernel - weights[index][0]).max() <= quantum
        assert np.allclose(bias, weights[index][1], atol=1e-3)


@pytest.mark.parametrize("name", ["mobilenet_v2_32", "mcunet_scale_32"])
def test_networks_are_of_the_scale_that_the_paper_states(name: str) -> None:
    """MobileNetV2-like: 16 M MACs, 340 k parameters; MCUNet-5FPS: 23 M and 0.48 M; each within 5 %."""
    macs, parameters = {"mobilenet_v2_32": (16e6, 340e3), "mcunet_scale_32": (23e6, 480e3)}[name]
    layers = resolve(NetworkSpec.model_validate(getattr(networks, name)()), (32, 32, 3), 10)
    assert sum(layer.macs_forward for layer in layers) == pytest.approx(macs, rel=0.05)
    assert sum(layer.parameters for layer in layers) == pytest.approx(parameters, rel=0.05)


def test_the_models_that_are_there_are_those_that_were_listed() -> None:
    """Datasets and seeds as models.py has them, files as they were made."""
    require_module("torch")
    from fqtbench.pretrain.models import MODELS

    folder = share("experiments") / "models"
    listed = json.loads((folder / "models.json").read_text())
    assert {model.name for model in MODELS} == listed.keys() == {path.stem for path in folder.glob("*.onnx")}
    for model in MODELS:
        facts = listed[model.name]
        assert (facts["dataset"], facts["seed"]) == (model.dataset, model.seed)
        assert facts["sha256"] == hashlib.sha256((folder / f"{model.name}.onnx").read_bytes()).hexdigest()
