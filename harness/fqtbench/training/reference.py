"""The arithmetic of training, written down once.

`Trainer` runs a model image exactly as the device does: same weights, ranges, losses and checksum after any number of
steps. Integer sums are computed in float64, where they are exact (|sum| < 2^53; the compiler bounds them by
2^31); every float result is single precision, in the order stated in docs/arithmetic.md.
"""

import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fqtbench.training import arithmetic as ar
from fqtbench.training import image as im
from fqtbench.training.backward import backward
from fqtbench.training.forward import forward
from fqtbench.training.geometry import Values
from fqtbench.training.state import Parameters, State
from fqtbench.training.update import update


class Outcome(NamedTuple):
    """What one training sample gave: cross-entropy in nats, the class predicted, whether an update followed."""

    loss: np.float32
    predicted: int
    updated: bool


class Trainer:
    """One network in training, from a model image."""

    def __init__(self, image: bytes) -> None:
        self.state = State(image)
        source = self.state.image.tensors[int(self.state.image.layers[0]["in"])]
        self._shape = tuple(int(source[name]) for name in "hwc")

    @property
    def step(self) -> int:
        """Samples trained since the image was loaded."""
        return self.state.step

    def evaluate(self, sample: bytes | NDArray[np.uint8], label: int) -> Outcome:
        """Forward pass of one sample (sample_bytes of uint8); changes nothing that is learned."""
        return self.forward(sample, label, track=False)

    def train(self, sample: bytes | NDArray[np.uint8], label: int) -> Outcome:
        """Forward and backward pass of one sample, and the update when the mini-batch is full."""
        state = self.state
        outcome = self.forward(sample, label, track=state.step % int(state.header["track_period"]) == 0)
        self.backward()
        due = state.in_batch == int(state.header["batch"])
        if due:
            update(state)
            state.in_batch = 0
        return Outcome(outcome.loss, outcome.predicted, due)

    def forward(self, sample: bytes | NDArray[np.uint8], label: int, track: bool) -> Outcome:
        """Forward pass of one sample; `track` observes ranges."""
        flat = np.frombuffer(sample, np.uint8) if isinstance(sample, bytes) else sample
        self.state.tracking = track
        prediction = forward(self.state, flat.reshape(self._shape).astype(np.int64), label)
        return Outcome(prediction.loss, prediction.predicted, False)

    def backward(self) -> None:
        """Backward pass of the sample just forwarded; adds its gradients to the mini-batch."""
        backward(self.state)
        self.state.step += 1
        self.state.in_batch += 1

    def structures_updated(self) -> tuple[int, ...]:
        """Filters or rows that the last sample updated, for each trained layer in the image's order."""
        return tuple(int(self.state.layer_state[number]["updated"]) for number in self.state.trained_layers())

    def checksum(self) -> int:
        """CRC-32 of the trained state: ranges, then every tensor flagged so, in the image's order."""
        crc = zlib.crc32(self.state.tensor_state.tobytes())
        crc = zlib.crc32(self.state.layer_state.tobytes(), crc)
        for tensor in np.flatnonzero(self.state.image.tensors["flags"] & im.TRAINED_STATE):
            crc = zlib.crc32(self.tensor_bytes(int(tensor)), crc)
        return crc

    def tensor_bytes(self, tensor: int) -> bytes:
        """Return a trained tensor, or one of the two tables of states, as it lies in the device's arena."""
        states = {im.TENSOR_STATES: self.state.tensor_state, im.LAYER_STATES: self.state.layer_state}
        if tensor in states:
            return states[tensor].tobytes()
        for number, parameters in self.state.parameters.items():
            layer = self.state.image.layers[number]
            for name in ("weights", "plane", "velocity"):
                if tensor == layer[name]:
                    return self._padded(tensor, _rows_of(parameters, name))
            flat = {
                "bias": parameters.bias.tobytes(),
                "bias_folded": parameters.bias_folded.astype("<i4").tobytes(),
                "bias_step": parameters.bias_gradient.tobytes() + parameters.bias_velocity.tobytes(),
            }
            for name, data in flat.items():
                if tensor == layer[name]:
                    return data[: int(self.state.image.tensors[tensor]["bytes"])]
        raise KeyError(tensor)

    def _padded(self, tensor: int, values: Values) -> bytes:
        entry = self.state.image.tensors[tensor]
        dtype: Any = {0: np.uint8, 1: np.int16, 3: np.float32, 4: np.int8}[int(entry["dtype"])]
        initial = np.frombuffer(self.state.image.initial(tensor), dtype)
        rows = initial.reshape(int(entry["h"]), int(entry["c"])).copy()
        rows[:, : int(entry["w"])] = values
        return rows.tobytes()


def _rows_of(parameters: Parameters, name: str) -> Values:
    """Return a tensor of rows as its elements are stored: of a plane, gradient and residual in one word."""
    values = {"weights": parameters.weights, "plane": parameters.gradient, "velocity": parameters.velocity}[
        name
    ]
    if name == "plane" and parameters.plane_type == im.TensorType.I8:
        values = parameters.residual
    assert values is not None
    if name == "plane" and parameters.plane_type == im.TensorType.I16:
        words: Values = values * ar.RESIDUAL_ONE + (parameters.residual & (ar.RESIDUAL_ONE - 1))
        return words
    return values
