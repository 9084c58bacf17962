"""Ranges before the first step: found by the reference itself on a few samples, so the same on every host."""

import itertools
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.training import arithmetic as ar
from fqtbench.training.arithmetic import F32
from fqtbench.training.forward import forward_layer
from fqtbench.training.geometry import Values
from fqtbench.training.image import ErrorRanges, LayerFlag, TensorType
from fqtbench.training.reference import Trainer
from fqtbench.training.state import ACC_MAX_UNSET, ACC_MIN_UNSET, State

_ERROR_PASSES: Final = 2
_EXPONENT_TRIES: Final = 12
_EXPONENT_JUMP: Final = 5

Samples = NDArray[np.uint8]  # (n, h, w, c)
Labels = NDArray[np.uint16]  # (n,)


def calibrate(
    trainer: Trainer, samples: Samples, labels: Labels, activation_limit: float | None = None
) -> None:
    """Set activation ranges, error ratios and gradient exponents of `trainer` from `samples`.

    With `activation_limit` the activations' ranges are that instead: −limit to limit, 0 to limit behind a ReLU. The
    image must have every range tracked; the weights stay as they are.
    """
    pairs = [(sample.tobytes(), int(label)) for sample, label in zip(samples, labels, strict=True)]
    state = trainer.state
    state.learning = False
    if activation_limit is None:
        _calibrate_activations(state, [sample.astype(np.int64) for sample in samples])
    else:
        _fix_activations(state, F32(activation_limit))
    if state.header["error_ranges"] == ErrorRanges.TRACKED:
        _calibrate_errors(trainer, pairs)
    _calibrate_gradients(trainer, pairs)


def _ranged_layers(state: State) -> list[int]:
    return [number for number, layer in enumerate(state.image.layers) if state.has_range(layer)]


def _calibrate_activations(state: State, samples: list[Values]) -> None:
    """Layer by layer from the input, set the range to the extremes of the accumulators."""
    walk = _Walk(state, samples)
    for number in _ranged_layers(state):
        _forget_ranges(state)
        walk.to(number)
        _adopt_range(state, number)
        state.settle()
        walk.again(number)
    state.settle()  # of a network that is nothing but a head, too
    _forget_ranges(state)


class _Walk:
    """All samples on their way through the layers, so that none is computed for each layer above it again.

    Of a sample only the activations are kept that a layer further on reads; integers of 0..255 as bytes.
    """

    def __init__(self, state: State, samples: list[Values]) -> None:
        self._state = state
        layers = state.image.layers
        self._next = 0
        self._last_reader = {
            int(layer[name]): number for number, layer in enumerate(layers) for name in ("in", "other")
        }
        self._kept: list[dict[int, NDArray[Any]]] = [{int(layers[0]["in"]): sample} for sample in samples]

    def to(self, number: int) -> None:
        """Compute the layers up to `number`, ranges observed."""
        self._compute(range(self._next, number + 1), track=True)
        self._next = number + 1

    def again(self, number: int) -> None:
        """Compute layer `number` with the range that it has now."""
        self._compute(range(number, number + 1), track=False)

    def _compute(self, numbers: range, track: bool) -> None:
        self._state.tracking = track
        for kept in self._kept:
            self._state.activation = {t: _wide(values) for t, values in kept.items()}
            for number in numbers:
                forward_layer(self._state, number, 0)
            alive = self._state.activation.items()
            kept.clear()
            kept |= {t: self._narrow(t, v) for t, v in alive if self._last_reader.get(t, -1) >= numbers[-1]}

    def _narrow(self, tensor: int, values: NDArray[Any]) -> NDArray[Any]:
        return (
            values.astype(np.uint8) if self._state.image.tensors[tensor]["dtype"] == TensorType.U8 else values
        )


def _wide(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.int64) if values.dtype == np.uint8 else values


def _adopt_range(state: State, number: int) -> None:
    layer, extremes = state.image.layers[number], state.layer_state[number]
    unit, out = state.accumulator_unit(layer), state.tensor_state[layer["out"]]
    relu = bool(layer["flags"] & LayerFlag.RELU)
    out["range_min"] = F32(0) if relu else F32(int(extremes["acc_min"])) * unit
    out["range_max"] = F32(int(extremes["acc_max"])) * unit


def _fix_activations(state: State, limit: np.float32) -> None:
    for number in _ranged_layers(state):
        layer = state.image.layers[number]
        out = state.tensor_state[layer["out"]]
        out["range_min"] = F32(0) if layer["flags"] & LayerFlag.RELU else -limit
        out["range_max"] = limit
    state.settle()


def _forget_ranges(state: State) -> None:
    """Drop the accumulators tracked so far."""
    state.layer_state["acc_min"], state.layer_state["acc_max"] = ACC_MIN_UNSET, ACC_MAX_UNSET


def _calibrate_errors(trainer: Trainer, pairs: list[tuple[bytes, int]]) -> None:
    """Let the ratios follow from below: they rise by half the distance per sample."""
    trainer.state.layer_state["error_ratio"] = 0
    for _ in range(_ERROR_PASSES):
        for sample, label in pairs:
            trainer.forward(sample, label, track=True)
            trainer.backward()
    _forget_ranges(trainer.state)
    _drop_gradients(trainer.state)


def _drop_gradients(state: State) -> None:
    """Drop the gradients of the mini-batch in progress, and what those that saturated made of the residuals."""
    for parameters in state.parameters.values():
        if parameters.gradient is not None:
            parameters.gradient = np.zeros_like(parameters.gradient)
            parameters.residual = np.zeros_like(parameters.residual)
        parameters.bias_gradient = np.zeros_like(parameters.bias_gradient)


def _calibrate_gradients(trainer: Trainer, pairs: list[tuple[bytes, int]]) -> None:
    """Find exponents with which the largest 12-bit gradient of a mini-batch lies in 512..1023."""
    state = trainer.state
    numbers = [n for n in state.trained_layers() if state.parameters[n].plane_type == TensorType.I16]
    batch = list(itertools.islice(itertools.cycle(pairs), int(state.header["batch"])))
    for _ in range(_EXPONENT_TRIES if numbers else 0):
        _drop_gradients(state)
        for sample, label in batch:
            trainer.forward(sample, label, track=False)
            trainer.backward()
        moves = [_move_exponent(state, number) for number in numbers]
        if not any(moves):
            break
    _drop_gradients(state)


def _move_exponent(state: State, number: int) -> bool:
    gradient = state.parameters[number].gradient
    assert gradient is not None
    largest = int(np.abs(gradient).max())
    if 512 <= largest < 1024:
        return False
    if largest >= ar.GRADIENT_LIMIT:
        move = _EXPONENT_JUMP
    elif largest == 0:
        move = -_EXPONENT_JUMP
    else:
        move = largest.bit_length() - 10
    entry = state.layer_state[number]
    entry["gradient_exponent"] = min(max(int(entry["gradient_exponent"]) + move, -100), 100)
    return True
