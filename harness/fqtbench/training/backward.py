"""Backward pass of the reference: errors from the head down, gradients on the way."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.training import arithmetic as ar
from fqtbench.training import image as im
from fqtbench.training.arithmetic import F32
from fqtbench.training.geometry import Values, at_maximum, pool_windows, unpool
from fqtbench.training.partial import select
from fqtbench.training.state import HEADROOM, SUM_HEADROOM, Parameters, State, follow
from fqtbench.training.update import update_at_once

_SMALLEST_SCALE: Final = ar.power_of_two(-100)


def backward(state: State) -> None:
    """Backward pass of the sample just forwarded; adds its gradients to the mini-batch."""
    for number in range(len(state.image.layers) - 1, -1, -1):
        layer = state.image.layers[number]
        kind = layer["type"]
        if kind in im.WEIGHTED:
            _weighted(state, number, layer)
        elif layer["error_in"] == im.NONE:
            continue
        elif kind == im.LayerType.SOFTMAX_CROSS_ENTROPY:
            error_in = int(layer["error_in"])
            if state.is_float(error_in):
                state.error[error_in] = state.head_error.reshape(1, 1, -1)
            else:
                _quantize(state, error_in, state.head_error.reshape(1, 1, -1))
        elif kind == im.LayerType.DEQUANTIZE:
            error = state.error[int(layer["error_out"])]
            _quantize(state, int(layer["error_in"]), np.where(_clamped(state, layer), F32(0), error))
        elif kind == im.LayerType.FORK:
            _join(state, number, layer)
        elif kind == im.LayerType.ADD:
            _split(state, layer)
        else:
            _reshape(state, layer)


def _clamped(state: State, layer: Any) -> NDArray[np.bool_]:
    flags = layer["flags"]
    masked, high = flags & im.LayerFlag.MASK_INPUT, flags & im.LayerFlag.MASK_INPUT_HIGH
    return state.clamped(layer["in"], bool(masked), bool(high))


def _quantize(state: State, tensor: int, error: ar.Float32Array) -> None:
    """Quantize a float error with its exact range, or the fixed one."""
    if state.header["error_ranges"] != im.ErrorRanges.FIXED:
        largest = F32(np.abs(error).max())
        scale = largest / F32(127) if largest > 0 else F32(1)
        state.tensor_state[tensor]["scale"] = np.maximum(scale, _SMALLEST_SCALE)
    q = ar.round_to_int(error / state.scale(tensor))
    state.error[tensor] = np.clip(ar.ERROR_ZERO_POINT + q, 0, 255)


# -- layers with weights ---------------------------------------------------------------------------------


def _weighted(state: State, number: int, layer: Any) -> None:
    trained = layer["flags"] & (im.LayerFlag.TRAINED | im.LayerFlag.BIAS_TRAINED)
    if layer["error_out"] == im.NONE:
        return
    parameters = state.parameters[number]
    error = _window_errors(state, number, layer, parameters)
    selected = np.arange(parameters.geometry.filters)
    if trained:
        selected, error = select(state, number, error)
    if layer["error_in"] != im.NONE:
        if parameters.is_float:
            _propagate_float(state, layer, parameters, error)
        else:
            _propagate(state, number, layer, parameters, error)
    if trained:
        _accumulate(state, number, layer, error, selected)


def _window_errors(state: State, number: int, layer: Any, parameters: Parameters) -> Values:
    """Return the centred errors (windows, filters); behind a fused pool each at its window's maximum."""
    error = state.error[int(layer["error_out"])]
    if not parameters.is_float:
        error = error - ar.ERROR_ZERO_POINT
    geometry = parameters.geometry
    if layer["argmax"] != im.NONE:
        shape = (geometry.out_h, geometry.out_w, geometry.filters)
        windows = np.zeros((*error.shape[:2], 4, error.shape[2]), error.dtype)
        np.put_along_axis(windows, state.argmax[number][:, :, None], error[:, :, None], axis=2)
        error = unpool(windows, shape, (2, 2), 0)
    return error.reshape(geometry.windows, geometry.filters)


def _accumulate(state: State, number: int, layer: Any, error: Values, selected: NDArray[np.int64]) -> None:
    """Add the sample's gradient of the selected filters; at batch 1 without a buffer update them at once."""
    parameters = state.parameters[number]
    _accumulate_bias(state, layer, parameters, error, selected)
    if not layer["flags"] & im.LayerFlag.TRAINED:
        return
    if parameters.is_float:
        _add_float_gradient(state, number, parameters, error)
        return
    acc = _integer_gradient(state, number, parameters, error)
    unit = state.scale(layer["error_out"]) * state.scale(layer["in"])
    if parameters.gradient is None:
        if state.learning:
            update_at_once(state, number, acc, unit, selected)
    elif parameters.gradient.dtype == np.float32:
        added = parameters.gradient + unit * acc.astype(np.float32)
        parameters.gradient[selected] = added[selected]
    else:
        unit = unit * ar.power_of_two(-int(state.layer_state[number]["gradient_exponent"]))
        _fold(parameters, ar.scale_rounded(acc, ar.requantize_multiplier(unit)))


def _fold(parameters: Parameters, scaled: NDArray[np.int64]) -> None:
    """Add a sample's share, clamped to 12 bits; a gradient that saturates makes its residual 0 or −1."""
    assert parameters.gradient is not None
    share = np.clip(scaled, -ar.GRADIENT_LIMIT - 1, ar.GRADIENT_LIMIT)
    folded = parameters.gradient + share
    parameters.gradient = np.clip(folded, -ar.GRADIENT_LIMIT - 1, ar.GRADIENT_LIMIT)
    residual = np.where(folded > ar.GRADIENT_LIMIT, -1, parameters.residual)
    parameters.residual = np.where(folded < -ar.GRADIENT_LIMIT - 1, 0, residual)


def _accumulate_bias(
    state: State, layer: Any, parameters: Parameters, error: Values, selected: NDArray[np.int64]
) -> None:
    gradient = parameters.bias_gradient
    if parameters.is_float:
        for window in error:
            gradient[selected] = gradient[selected] + window[selected]
    else:
        sums = state.scale(layer["error_out"]) * error.sum(axis=0).astype(np.float32)
        gradient[selected] = gradient[selected] + sums[selected]


def _integer_gradient(state: State, number: int, parameters: Parameters, error: Values) -> NDArray[np.int64]:
    """Σ (e − 128)(x − z_x), (filters, taps)."""
    geometry = parameters.geometry
    grouped = geometry.grouped_outputs(error).astype(np.float64)
    acc = grouped.transpose(0, 2, 1) @ state.patches[number]
    return acc.reshape(geometry.filters, geometry.taps).astype(np.int64)


def _add_float_gradient(state: State, number: int, parameters: Parameters, error: Values) -> None:
    """g ← g + e·x, window by window."""
    geometry = parameters.geometry
    grouped = geometry.grouped_outputs(error)
    assert parameters.gradient is not None
    gradient = geometry.grouped_rows(parameters.gradient)
    patches = state.patches[number]
    for window in range(geometry.windows):
        gradient = gradient + grouped[:, window, :, None] * patches[:, window, None, :]
    parameters.gradient = gradient.reshape(geometry.filters, geometry.taps)


def _propagate(state: State, number: int, layer: Any, parameters: Parameters, error: Values) -> None:
    """error_in = clamp(128 + (acc·m + half) >> S), acc = Σ (w − z_w)(e − 128)."""
    geometry, error_in = parameters.geometry, int(layer["error_in"])
    weights = (parameters.weights - state.zero_point(layer["weights"])).astype(np.float64)
    columns = geometry.grouped_outputs(error).astype(np.float64) @ geometry.grouped_rows(weights)
    acc = geometry.scatter(columns).astype(np.int64).reshape(state.activation[int(layer["in"])].shape)
    acc[_clamped(state, layer)] = 0
    weight_scale, mode = state.scale(layer["weights"]), state.header["error_ranges"]
    layer_state = state.layer_state[number]
    if mode == im.ErrorRanges.FIXED:
        ratio = state.scale(error_in) / state.scale(layer["error_out"])
    else:
        ratio = np.maximum(F32(layer_state["error_ratio"]), HEADROOM * weight_scale)
        state.tensor_state[error_in]["scale"] = ratio * state.scale(layer["error_out"])
    q = ar.ERROR_ZERO_POINT + ar.scale_rounded(acc, ar.requantize_multiplier(weight_scale / ratio))
    state.error[error_in] = np.clip(q, 0, 255)
    largest = int(np.abs(acc).max())
    if state.tracking and mode == im.ErrorRanges.TRACKED and largest > 0:
        layer_state["error_ratio"] = follow(ratio, F32(largest) * weight_scale / F32(127))


def _propagate_float(state: State, layer: Any, parameters: Parameters, error: Values) -> None:
    """error_in += w·e, for each element in the order of windows, then of filters."""
    geometry = parameters.geometry
    errors = error.reshape(geometry.out_h, geometry.out_w, geometry.groups, geometry.group_filters)
    shape = (
        *(geometry.groups, geometry.group_filters),
        *(geometry.kernel_h, geometry.kernel_w, geometry.group_channels),
    )
    weights = parameters.weights.reshape(shape)
    padded = geometry.zeros()
    for y in range(geometry.kernel_h - 1, -1, -1):
        for x in range(geometry.kernel_w - 1, -1, -1):
            for f in range(geometry.group_filters):
                added = errors[:, :, :, f, None] * weights[:, f, y, x]
                padded[geometry.reached(y, x)] += added.reshape(geometry.out_h, geometry.out_w, geometry.c)
    error_in = geometry.cropped(padded).reshape(state.activation[int(layer["in"])].shape)
    state.error[int(layer["error_in"])] = np.where(_clamped(state, layer), F32(0), error_in)


# -- layers without weights ------------------------------------------------------------------------------


def _reshape(state: State, layer: Any) -> None:
    """Max pool, average pool and flatten."""
    source, error_in, error_out = (int(layer[name]) for name in ("in", "error_in", "error_out"))
    x = state.activation[source]
    error = state.error[error_out].reshape(state.activation[int(layer["out"])].shape)
    kernel = int(layer["kernel_h"]), int(layer["kernel_w"])
    rest = F32(0) if state.is_float(error_in) else ar.ERROR_ZERO_POINT
    scale = state.scale(error_out)
    match layer["type"]:
        case im.LayerType.MAX_POOL:
            windows = at_maximum(pool_windows(x, kernel), error, rest)
            state.error[error_in] = unpool(windows, x.shape, kernel, rest)
        case im.LayerType.AVERAGE_POOL:
            n = F32(kernel[0] * kernel[1])
            share = error / n if state.is_float(error_in) else error
            windows = np.repeat(share[:, :, None], kernel[0] * kernel[1], axis=2)
            spread = unpool(windows, x.shape, kernel, rest)
            state.error[error_in] = np.where(_clamped(state, layer), rest, spread)
            scale = scale / n
        case _:
            state.error[error_in] = error.reshape(x.shape)
    if not state.is_float(error_in):
        state.tensor_state[error_in]["scale"] = scale


def _split(state: State, layer: Any) -> None:
    """Both inputs of an add get its error."""
    flags = layer["flags"]
    other_masked = bool(flags & im.LayerFlag.MASK_OTHER), bool(flags & im.LayerFlag.MASK_OTHER_HIGH)
    hidden = {"in": _clamped(state, layer), "other": state.clamped(layer["other"], *other_masked)}
    for name, error_name in (("in", "error_in"), ("other", "error_other")):
        tensor = int(layer[error_name])
        if tensor == im.NONE:
            continue
        rest = F32(0) if state.is_float(tensor) else ar.ERROR_ZERO_POINT
        error = state.error[int(layer["error_out"])]
        state.error[tensor] = np.where(hidden[name], rest, error)
        if not state.is_float(tensor):
            state.tensor_state[tensor]["scale"] = state.scale(layer["error_out"])


def _join(state: State, number: int, layer: Any) -> None:
    """Add the errors of an activation's two readers; the sum's range is tracked as a ratio to the larger one's."""
    a, b, tensor = (int(layer[name]) for name in ("error_out", "error_other", "error_in"))
    shape = state.activation[int(layer["in"])].shape
    hidden = _clamped(state, layer)
    if state.is_float(tensor):
        joined = state.error[a].reshape(shape) + state.error[b].reshape(shape)
        state.error[tensor] = np.where(hidden, F32(0), joined)
        return
    layer_state, mode = state.layer_state[number], state.header["error_ranges"]
    base = np.maximum(state.scale(a), state.scale(b))
    ratio = np.maximum(F32(layer_state["error_ratio"]), SUM_HEADROOM)
    if mode != im.ErrorRanges.FIXED:
        state.tensor_state[tensor]["scale"] = ratio * base
    scale = state.scale(tensor)
    by = ar.common_multipliers(state.scale(a) / scale, state.scale(b) / scale)
    acc = (state.error[a].reshape(shape) - ar.ERROR_ZERO_POINT) * by.first
    acc = acc + (state.error[b].reshape(shape) - ar.ERROR_ZERO_POINT) * by.second
    acc = np.where(hidden, 0, acc)
    q = ar.ERROR_ZERO_POINT + ((acc + (1 << (by.shift - 1))) >> by.shift)
    state.error[tensor] = np.clip(q, 0, 255)
    largest = int(np.abs(acc).max())
    if state.tracking and mode == im.ErrorRanges.TRACKED and largest > 0:
        observed = F32(largest) * ar.power_of_two(-by.shift) * ratio / F32(127)
        layer_state["error_ratio"] = follow(ratio, observed)
