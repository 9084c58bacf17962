"""Small networks trained by the reference on real images, for the tests of export."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fqtbench import datasets
from fqtbench.exchange.from_image import quantized_network
from fqtbench.exchange.quantized import QuantizedNetwork
from fqtbench.training.compile import CompiledModel, Memory, compile_model
from fqtbench.training.reference import Trainer
from fqtbench.training.spec import NetworkSpec, TrainingSpec

ROOMY = Memory(flash_bytes=1 << 20, arena_bytes=1 << 20)
N_STEPS = 200
N_CLASSES = 10

HEAD: dict[str, Any] = {"type": "fully_connected", "units": N_CLASSES, "activation": "linear"}
NETWORKS: dict[str, list[dict[str, Any]]] = {
    "pooled": [
        {"type": "conv2d", "filters": 8},
        {"type": "max_pool"},
        {"type": "conv2d", "filters": 12, "stride": 2, "padding": 1},
        {"type": "max_pool", "size": 3},
        {"type": "flatten"},
        {"type": "fully_connected", "units": 24},
        HEAD,
    ],
    "residual": [
        {"type": "conv2d", "filters": 8, "stride": 2, "activation": "relu6", "name": "stem"},
        {"type": "depthwise_conv2d"},
        {"type": "conv2d", "filters": 8, "kernel": 1, "activation": "linear"},
        {"type": "add", "with": "stem"},
        {"type": "conv2d", "filters": 12, "kernel": [2, 3], "stride": [2, 1], "groups": 4},
        {"type": "average_pool"},
        HEAD,
    ],
    "global": [
        {"type": "conv2d", "filters": 8, "stride": 2},
        {"type": "conv2d", "filters": 16, "stride": 2, "activation": "linear"},
        {"type": "global_average_pool"},
        HEAD,
    ],
    "series": [
        {"type": "conv1d", "filters": 8, "kernel": 5, "stride": 4},
        {"type": "max_pool", "size": [1, 2]},
        {"type": "conv1d", "filters": 8, "kernel": 4, "stride": 2},
        {"type": "flatten"},
        HEAD,
    ],
}


@dataclass(frozen=True)
class Trained:
    """A trained network, the bytes of its trained tensors, and test samples (n, h, w, c)."""

    model: CompiledModel
    trainer: Trainer
    samples: NDArray[np.uint8]

    @property
    def tensors(self) -> dict[int, bytes]:
        """Trained tensors by number, as a board's are read out."""
        return {entry.index: self.trainer.tensor_bytes(entry.index) for entry in self.model.trained_tensors}

    def network(self) -> QuantizedNetwork:
        """Return the network as training left it."""
        return quantized_network(self.model.image, self.tensors, self.trainer.state.tensor_state)

    def evaluate(self, sample: NDArray[np.uint8]) -> tuple[int, NDArray[np.float32]]:
        """Return the reference's prediction and its logits in real units."""
        predicted = self.trainer.evaluate(sample.tobytes(), 0).predicted
        state = self.trainer.state
        source = int(state.image.layers[-1]["in"])
        logits = state.activation[source].reshape(-1)
        return predicted, logits if state.is_float(source) else logits * state.scale(source)


@cache
def trained(name: str, configuration: str, n_samples: int) -> Trained:
    """Train network `name` for 200 steps on Fashion-MNIST; the series reads an image row by row."""
    data = datasets.load("fashion-mnist-12k").subset(400, n_samples)
    train_x, test_x = (
        (x.reshape(-1, 1, 28 * 28, 1) if name == "series" else x[:, :27]) for x in (data.train_x, data.test_x)
    )
    order = np.random.default_rng(1).permutation(len(train_x))[:N_STEPS]
    spec = NetworkSpec.model_validate({"layers": NETWORKS[name]})
    training = TrainingSpec.model_validate({"configuration": configuration, "learning_rate": 0.05})
    first = order[:16]
    model = compile_model(spec, training, train_x[first], data.train_y[first], N_CLASSES, ROOMY, 1, N_STEPS)
    trainer = Trainer(model.image)
    for index in order:
        trainer.train(train_x[index].tobytes(), int(data.train_y[index]))
    return Trained(model, trainer, test_x)
