"""Promise: a freshly compiled network begins near chance, whatever its layers: ranges and scales are sound."""

import math
from typing import Any

import numpy as np
import pytest

from fqtbench.datasets import load
from fqtbench.training.calibrate import _adopt_range, _ranged_layers
from fqtbench.training.compile import Memory, compile_model
from fqtbench.training.reference import Trainer
from fqtbench.training.spec import NetworkSpec, TrainingSpec
from fqtbench.training.state import ACC_MAX_UNSET
from tests.engine.networks import Case, named

_HEAD = {"type": "fully_connected", "units": 10, "activation": "linear"}


@pytest.mark.parametrize(
    "layers",
    [
        [_HEAD],
        [{"type": "max_pool", "size": 4}, {"type": "flatten"}, _HEAD],
        [{"type": "conv2d", "filters": 4}, {"type": "global_average_pool"}, _HEAD],
        [{"type": "conv2d", "filters": 4, "activation": "linear"}, {"type": "max_pool"}, _HEAD],
        [{"type": "fully_connected", "units": 16}, {"type": "fully_connected", "units": 16}, _HEAD],
    ],
)
def test_it_begins_near_chance_and_learns(layers: list[dict[str, Any]]) -> None:
    data = load("fashion-mnist-12k").subset(400, 20)
    network = NetworkSpec.model_validate({"layers": layers})
    model = compile_model(
        network, TrainingSpec(), data.train_x[:32], data.train_y[:32], 10, Memory(1 << 20, 1 << 20), 0, 400
    )
    trainer = Trainer(model.image)
    losses = [
        float(trainer.train(x.tobytes(), int(y)).loss)
        for x, y in zip(data.train_x, data.train_y, strict=True)
    ]
    assert np.mean(losses[:16]) < 2 * math.log(10)
    assert np.mean(losses[-100:]) < np.mean(losses[:100])


def _calibrated() -> list[Case]:
    return [c for c in named() if c.training.ranges is None or c.training.ranges.activations != "fixed"]


@pytest.mark.parametrize(
    "case", _calibrated(), ids=lambda case: "-".join(layer.type for layer in case.network.layers)
)
def test_every_range_is_that_of_the_samples_under_the_ranges_below_it(case: Case) -> None:
    """Whole passes observe what the walk from layer to layer did, where layers still observe."""
    trainer = Trainer(case.compile().image)
    state = trainer.state
    for sample, label in zip(case.x[:8], case.y[:8], strict=True):
        trainer.forward(sample.tobytes(), int(label), track=True)
    calibrated = state.tensor_state.copy()
    observed = [n for n in _ranged_layers(state) if state.layer_state[n]["acc_max"] != ACC_MAX_UNSET]
    assert observed
    for number in observed:
        _adopt_range(state, number)
    state.settle()
    for field in ("scale", "zero_point"):
        assert np.array_equal(state.tensor_state[field], calibrated[field])
