"""Forward pass of the reference, layer by layer."""

from typing import Any, NamedTuple

import numpy as np

from fqtbench.training import arithmetic as ar
from fqtbench.training import image as im
from fqtbench.training.arithmetic import F32
from fqtbench.training.geometry import Values, pool_windows
from fqtbench.training.state import RELU6_LIMIT, Parameters, State


class Prediction(NamedTuple):
    """Cross-entropy in nats, and the class of the largest logit."""

    loss: np.float32
    predicted: int


def forward(state: State, sample: Values, label: int) -> Prediction:
    """Forward pass of one sample; `sample` has the shape of the input tensor."""
    prediction = Prediction(F32(0), 0)
    state.activation[int(state.image.layers[0]["in"])] = sample
    for number in range(len(state.image.layers)):
        prediction = forward_layer(state, number, label) or prediction
    return prediction


def forward_layer(state: State, number: int, label: int) -> Prediction | None:
    """Forward pass of layer `number`, its inputs in `state.activation`; only the last one returns a prediction."""
    layer = state.image.layers[number]
    match layer["type"]:
        case im.LayerType.CONVOLUTION | im.LayerType.FULLY_CONNECTED:
            _weighted(state, number, layer)
        case im.LayerType.MAX_POOL:
            windows = pool_windows(state.activation[int(layer["in"])], _kernel(layer))
            state.activation[int(layer["out"])] = windows.max(axis=2)
        case im.LayerType.AVERAGE_POOL:
            windows = pool_windows(state.activation[int(layer["in"])], _kernel(layer))
            state.activation[int(layer["out"])] = _mean(windows)
        case im.LayerType.FLATTEN:
            state.activation[int(layer["out"])] = state.activation[int(layer["in"])].reshape(1, 1, -1)
        case im.LayerType.ADD:
            _add(state, number, layer)
        case im.LayerType.DEQUANTIZE:
            source = int(layer["in"])
            centred = (state.activation[source] - state.zero_point(source)).astype(np.float32)
            state.activation[int(layer["out"])] = centred * state.scale(source)
        case im.LayerType.SOFTMAX_CROSS_ENTROPY:
            return _softmax(state, layer, label)
        case im.LayerType.FORK:
            pass
        case _:
            raise AssertionError(f"layer type {layer['type']}")
    return None


def _kernel(layer: Any) -> tuple[int, int]:
    return int(layer["kernel_h"]), int(layer["kernel_w"])


def _mean(windows: Values) -> Values:
    """Mean of each window (h, w, n, c); of integers halves up, of floats the sum in index order divided by n."""
    n = windows.shape[2]
    if windows.dtype == np.float32:
        return ar.sum_in_order(windows.transpose(2, 0, 1, 3)) / F32(n)
    mean: Values = (2 * windows.sum(axis=2) + n) // (2 * n)
    return mean


def _weighted(state: State, number: int, layer: Any) -> None:
    parameters = state.parameters[number]
    x = state.activation[int(layer["in"])]
    if layer["type"] == im.LayerType.FULLY_CONNECTED:
        x = x.reshape(1, 1, -1)
    if parameters.is_float:
        y = _float_outputs(state, number, x, parameters, layer)
    else:
        y = _integer_outputs(state, number, x, parameters, layer)
    geometry = parameters.geometry
    y = y.reshape(geometry.out_h, geometry.out_w, geometry.filters)
    if layer["argmax"] != im.NONE:
        windows = pool_windows(y, (2, 2))
        state.argmax[number] = windows.argmax(axis=2)
        y = windows.max(axis=2)
    state.activation[int(layer["out"])] = y


def _integer_outputs(state: State, number: int, x: Values, parameters: Parameters, layer: Any) -> Values:
    """Return q = clamp(z + (acc·m + half) >> S), or acc itself where the output is int32; (windows, filters)."""
    geometry, source, out = parameters.geometry, int(layer["in"]), int(layer["out"])
    patches = geometry.patches((x - state.zero_point(source)).astype(np.float64))
    state.patches[number] = patches
    weights = (parameters.weights - state.zero_point(layer["weights"])).astype(np.float64)
    sums = patches @ geometry.grouped_rows(weights).transpose(0, 2, 1)
    acc = geometry.outputs(sums).astype(np.int64) + parameters.bias_folded
    if state.image.tensors[out]["dtype"] == im.TensorType.I32:
        return acc
    if state.tracking and layer["flags"] & im.LayerFlag.TRACKED:
        state.track(number, acc)
    factor = state.accumulator_unit(layer) / state.scale(out)
    q = state.zero_point(out) + ar.scale_rounded(acc, ar.requantize_multiplier(factor))
    return _clamp(state, q, layer)


def _clamp(state: State, q: Values, layer: Any) -> Values:
    out, flags = int(layer["out"]), layer["flags"]
    lowest = state.zero_point(out) if flags & im.LayerFlag.RELU else 0
    highest = min(state.relu6_clamp(out), 255) if flags & im.LayerFlag.RELU6 else 255
    return np.clip(q, lowest, highest)


def _float_outputs(state: State, number: int, x: Values, parameters: Parameters, layer: Any) -> Values:
    """Return bias + Σ w·x, tap by tap in row-major order, padding left out; (windows, filters)."""
    geometry = parameters.geometry
    patches = geometry.patches(x)
    inside = geometry.patches(np.ones(x.shape, np.float32)) > 0
    state.patches[number] = patches
    rows = geometry.grouped_rows(parameters.weights)
    acc = np.broadcast_to(
        parameters.bias.reshape(geometry.groups, 1, -1),
        (geometry.groups, geometry.windows, geometry.group_filters),
    )
    for tap in range(geometry.taps):
        added = acc + patches[:, :, tap, None] * rows[:, None, :, tap]
        acc = np.where(inside[:, :, tap, None], added, acc)
    return _float_clamp(geometry.outputs(acc), layer)


def _float_clamp(y: Values, layer: Any) -> Values:
    if layer["flags"] & im.LayerFlag.RELU:
        y = np.where(y > 0, y, F32(0))
    if layer["flags"] & im.LayerFlag.RELU6:
        y = np.where(y < RELU6_LIMIT, y, RELU6_LIMIT)
    return y


def _add(state: State, number: int, layer: Any) -> None:
    a, b, out = int(layer["in"]), int(layer["other"]), int(layer["out"])
    if state.is_float(out):
        state.activation[out] = _float_clamp(state.activation[a] + state.activation[b], layer)
        return
    by = state.sum_multipliers(layer)
    acc = (state.activation[a] - state.zero_point(a)) * by.first
    acc = acc + (state.activation[b] - state.zero_point(b)) * by.second
    if state.tracking and layer["flags"] & im.LayerFlag.TRACKED:
        state.track(number, acc)
    q = state.zero_point(out) + ((acc + (1 << (by.shift - 1))) >> by.shift)
    state.activation[out] = _clamp(state, q, layer)


def _softmax(state: State, layer: Any, label: int) -> Prediction:
    """Loss and prediction; the error p − onehot goes to the layer's error_in in float32."""
    source = int(layer["in"])
    logits = state.activation[source].reshape(-1)
    predicted = int(logits.argmax())
    real = logits if state.is_float(source) else logits.astype(np.float32) * state.scale(source)
    shifted = real - real[predicted]
    powers = ar.exp_nonpositive(shifted)
    total = F32(ar.sum_in_order(powers))
    error = powers / total
    error[label] = error[label] - F32(1)
    state.head_error = error
    return Prediction(F32(ar.log_of(total) - shifted[label]), predicted)
