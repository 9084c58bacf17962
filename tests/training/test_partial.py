"""Promise: sampled partial updates give the whole gradient on average; the largest alone don't."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fqtbench.training.compile import Memory, compile_model
from fqtbench.training.partial import select
from fqtbench.training.reference import Trainer
from fqtbench.training.spec import NetworkSpec, PartialUpdates, TrainingSpec

_FILTERS = 24
_DRAWS = 3000
_NETWORK = NetworkSpec.model_validate(
    {
        "layers": [
            {"type": "conv2d", "filters": _FILTERS},
            {"type": "global_average_pool"},
            {"type": "fully_connected", "units": 3, "activation": "linear"},
        ]
    }
)


def _trainer(rule: str) -> Trainer:
    x = np.random.default_rng(1).integers(0, 256, (4, 4, 4, 2)).astype(np.uint8)
    partial = PartialUpdates.model_validate({"rule": rule, "lambda_min": 0.2, "lambda_max": 0.2})
    training = TrainingSpec(configuration="float32", batch=8, partial=partial)
    memory = Memory(1 << 20, 1 << 20)
    return Trainer(
        compile_model(_NETWORK, training, x, np.zeros(4, np.uint16), 3, memory, seed=7, n_steps=8).image
    )


def _errors() -> NDArray[np.float32]:
    """One structure far larger than the others, one that is zero."""
    error = np.random.default_rng(2).normal(0, 1, (16, _FILTERS)).astype(np.float32)
    error[:, 3] *= 30
    error[:, 5] = 0
    return error


def _mean_selected(rule: str, error: NDArray[np.float32]) -> NDArray[np.float64]:
    trainer = _trainer(rule)
    total = np.zeros(error.shape, np.float64)
    trainer.state.error[int(trainer.state.image.layers[0]["error_out"])] = error
    for step in range(_DRAWS):
        trainer.state.step = step
        chosen, selected = select(trainer.state, 0, error.copy())
        assert len(chosen) == int(0.2 * _FILTERS)
        assert np.flatnonzero(np.abs(selected).sum(axis=0)).tolist() == chosen.tolist()
        total += selected
    return total / _DRAWS


def test_sampled_errors_are_all_errors_on_average() -> None:
    error = _errors()
    mean = _mean_selected("sampled", error)
    off = np.abs(mean - error).sum(axis=0) / np.abs(error).sum(axis=0).clip(1e-9)
    assert off.max() < 0.25  # the standard error of a structure drawn one time in eight
    projected = (mean.sum(axis=0) * np.sign(error.sum(axis=0))).sum() / np.abs(error.sum(axis=0)).sum()
    assert projected == pytest.approx(1, abs=0.03)


def test_the_largest_errors_are_not() -> None:
    error = _errors()
    mean = _mean_selected("dynamic", error)
    kept = np.flatnonzero(np.abs(mean).sum(axis=0))
    assert len(kept) == int(0.2 * _FILTERS)
    assert np.allclose(mean[:, kept], error[:, kept], rtol=1e-5)
