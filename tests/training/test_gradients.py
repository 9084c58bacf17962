"""Promise: the reference's float32 gradients are the derivative of its loss."""

from typing import Any

import numpy as np
import pytest

from fqtbench.training.compile import Memory, compile_model
from fqtbench.training.reference import Trainer
from fqtbench.training.spec import NetworkSpec, TrainingSpec

_SHAPE = (8, 8, 4)
_N_CLASSES = 5
_LOSS_CHANGE = 2e-3  # large against float32's rounding of the loss, small against its curvature
_HEAD = {"type": "fully_connected", "units": _N_CLASSES, "activation": "linear"}
_BODIES: dict[str, list[dict[str, Any]]] = {
    "fully connected": [{"type": "flatten"}, {"type": "fully_connected", "units": 12}],
    "convolution": [{"type": "conv2d", "filters": 6}],
    "stride, padding, odd kernel": [{"type": "conv2d", "filters": 6, "kernel": [2, 3], "stride": [2, 1], "padding": 1}],
    "groups": [{"type": "conv2d", "filters": 6, "groups": 2, "activation": "linear"}],
    "depthwise and pointwise": [{"type": "depthwise_conv2d"}, {"type": "conv2d", "filters": 8, "kernel": 1}],
    "relu6": [{"type": "conv2d", "filters": 6, "activation": "relu6"}],
    "max pool": [{"type": "conv2d", "filters": 6, "activation": "linear"}, {"type": "max_pool"}],
    "average pool": [{"type": "conv2d", "filters": 6}, {"type": "average_pool"}],
    "global average pool": [{"type": "conv2d", "filters": 6}, {"type": "global_average_pool"}],
    "residual add": [
        {"type": "conv2d", "filters": 6, "name": "trunk"},
        {"type": "conv2d", "filters": 6, "activation": "linear"},
        {"type": "add", "with": "trunk", "activation": "relu"},
    ],
}  # fmt: skip


def _trainer(body: list[dict[str, Any]]) -> tuple[Trainer, bytes]:
    x = np.random.default_rng(3).integers(0, 256, (1, *_SHAPE)).astype(np.uint8)
    training = TrainingSpec(batch=2, configuration="float32", normalization="qas", learning_rate=1e-3)
    network = NetworkSpec.model_validate({"layers": [*body, _HEAD]})
    memory = Memory(1 << 20, 1 << 20)
    model = compile_model(network, training, x, np.zeros(1, np.uint16), _N_CLASSES, memory, seed=4, n_steps=2)
    return Trainer(model.image), x.tobytes()


def _loss(trainer: Trainer, sample: bytes) -> float:
    return float(trainer.evaluate(sample, 1).loss)


@pytest.mark.parametrize("name", _BODIES)
def test_the_loss_falls_along_each_layers_gradient_as_it_says(name: str) -> None:
    """Central differences of the loss along the gradient g of one layer's weights or biases: they give |g|²."""
    trainer, sample = _trainer(_BODIES[name])
    trainer.train(sample, 1)
    for parameters in trainer.state.parameters.values():
        assert parameters.gradient is not None
        for values, gradient in (
            (parameters.weights, parameters.gradient.copy()),
            (parameters.bias, parameters.bias_gradient.copy()),
        ):
            square = float((gradient.astype(np.float64) ** 2).sum())
            assert square > 0
            original, step = values.copy(), np.float32(_LOSS_CHANGE / square)
            values[...] = original + step * gradient
            above = _loss(trainer, sample)
            values[...] = original - step * gradient
            below = _loss(trainer, sample)
            values[...] = original
            assert (above - below) / (2 * float(step)) == pytest.approx(square, rel=0.02)
