"""Update of weights, biases and ranges after a mini-batch, or of a layer's weights at once at batch 1."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.training import arithmetic as ar
from fqtbench.training import image as im
from fqtbench.training.arithmetic import F32
from fqtbench.training.geometry import Values
from fqtbench.training.state import Parameters, State

_WEIGHT_GROWTH: Final = F32(1.125)
_WEIGHT_SHRINK_Q15: Final = 29127  # 2^15 / 1.125
_BIAS_CLIP: Final = F32(3.0)
_VELOCITY_ONE: Final = 256  # a weight quantum in units of an integer velocity
_VELOCITY_LIMIT: Final = 32767
_WIDE_ONE: Final = 65536  # a weight quantum in units of a step that no residual keeps
_WIDE_LIMIT: Final = 1 << 30
_SMALLEST: Final = ar.power_of_two(-60)
_EXPONENT_LIMIT: Final = 100


@dataclass(frozen=True)
class _Rule:
    """Hyper-parameters of the update in hand."""

    rate: np.float32
    batch: np.float32
    momentum: np.float32
    normalization: int
    rounding: int

    @property
    def momentum_q15(self) -> int:
        """Momentum in units of 2^−15."""
        return int(ar.round_to_int(np.asarray(self.momentum * F32(32768))))


def _rule(state: State) -> _Rule:
    header, rates = state.header, state.image.rates
    index = int(np.searchsorted(rates["first_step"], state.step, side="right")) - 1
    rate = F32(rates[max(index, 0)]["rate"])
    return _Rule(
        rate,
        F32(int(header["batch"])),
        F32(header["momentum"]),
        int(header["normalization"]),
        int(header["rounding"]),
    )


def update(state: State) -> None:
    """Apply the mini-batch: ranges follow, weights and biases step, scales are settled."""
    rule = _rule(state)
    for number, layer in enumerate(state.image.layers):
        if layer["flags"] & im.LayerFlag.TRACKED:
            state.follow_range(number)
        if layer["type"] in im.WEIGHTED:
            _update_layer(state, number, layer, rule)
    state.settle()


def _update_layer(state: State, number: int, layer: Any, rule: _Rule) -> None:
    parameters = state.parameters[number]
    if layer["flags"] & im.LayerFlag.TRAINED:
        if parameters.gradient is None:
            _update_biases(state, layer, parameters, rule)
            if state.layer_state[number]["saturated"]:
                _grow(state, layer, parameters)
            state.layer_state[number]["saturated"] = 0
        elif parameters.gradient.dtype == np.float32:
            _update_from_floats(state, number, layer, parameters, rule)
        else:
            _update_from_integers(state, number, layer, parameters, rule)
    elif layer["flags"] & im.LayerFlag.BIAS_TRAINED:
        _update_biases(state, layer, parameters, rule)


# -- biases ----------------------------------------------------------------------------------------------


def _update_biases(state: State, layer: Any, parameters: Parameters, rule: _Rule) -> None:
    """b ← b − rate·g/batch; without normalization of integer layers by (s_w·s_x)² more."""
    factor = rule.rate / rule.batch
    if rule.normalization == im.Normalization.NONE and not parameters.is_float:
        unit = state.accumulator_unit(layer)
        factor = factor * (unit * unit)
    _step_biases(parameters, parameters.bias_gradient * factor, rule)


def _standardized_bias(gradient: np.float32, sigma: np.float32, rule: _Rule) -> np.float32:
    step = np.minimum(np.maximum(gradient / sigma, -_BIAS_CLIP), _BIAS_CLIP)
    return F32(rule.rate * step)


def _step_biases(parameters: Parameters, steps: ar.Float32Array, rule: _Rule) -> None:
    """Apply momentum to the biases that have a gradient, subtract, and clear the gradients."""
    moved = parameters.bias_gradient != 0
    if rule.momentum > 0:
        velocity = rule.momentum * parameters.bias_velocity + steps
        parameters.bias_velocity = np.where(moved, velocity, parameters.bias_velocity)
        steps = parameters.bias_velocity
    parameters.bias = np.where(moved, parameters.bias - steps, parameters.bias)
    parameters.bias_gradient = np.zeros_like(parameters.bias_gradient)


# -- integer gradients -----------------------------------------------------------------------------------


def _one(rule: _Rule) -> int:
    """Units of a step in a weight quantum: those of the velocity, of the residual, or fine ones to be rounded away."""
    if rule.momentum > 0:
        return _VELOCITY_ONE
    return ar.RESIDUAL_ONE if rule.rounding == im.Rounding.RESIDUAL else _WIDE_ONE


def _update_from_integers(state: State, number: int, layer: Any, parameters: Parameters, rule: _Rule) -> None:
    """The 12-bit gradients of a mini-batch."""
    gradient = parameters.gradient
    assert gradient is not None
    layer_state = state.layer_state[number]
    unit, one = ar.power_of_two(int(layer_state["gradient_exponent"])), _one(rule)
    weight_scale, taps = state.scale(layer["weights"]), gradient.shape[1]
    steps = np.zeros_like(gradient)
    bias_steps = np.zeros_like(parameters.bias)
    for row, g in enumerate(gradient):
        total = 0
        if rule.normalization == im.Normalization.STANDARDIZE:
            total = int(g.sum())
            spread = taps * int((g**2).sum()) - total * total
            # taps · σ, at least one unit
            deviation = np.maximum(np.sqrt(np.int64(spread).astype(np.float32)), F32(taps))
            sigma = deviation / F32(taps) * unit
            bias_steps[row] = _standardized_bias(parameters.bias_gradient[row], sigma, rule)
            factor = rule.rate * F32(taps * one) / (weight_scale * deviation)
        else:
            factor = _plain_factor(rule, unit, one, weight_scale)
        by = ar.multiplier(factor, ar.UPDATE_MIN_SHIFT, ar.UPDATE_MAX_SHIFT)
        mean = _divide_rounded(total * by.m, taps)
        steps[row] = (g * by.m - mean + (1 << (by.shift - 1))) >> by.shift
    moved = (gradient != 0).any(axis=1)
    if rule.normalization == im.Normalization.STANDARDIZE:
        _step_biases(parameters, bias_steps, rule)
    else:
        _update_biases(state, layer, parameters, rule)
    saturated = _step_weights(state, number, parameters, steps, np.flatnonzero(moved), rule)
    if saturated and state.header["weight_ranges"] != im.WeightRanges.FIXED:
        _grow(state, layer, parameters)
    _adapt_exponent(layer_state, int(np.abs(gradient).max()))
    parameters.gradient = np.zeros_like(gradient)


def _plain_factor(rule: _Rule, unit: np.float32, one: int, weight_scale: np.float32) -> np.float32:
    """Step units of a gradient unit: rate/batch·unit·one/s_w; without QAS that times s_w²."""
    factor = rule.rate / rule.batch * unit * F32(one)
    return factor * weight_scale if rule.normalization == im.Normalization.NONE else factor / weight_scale


def _divide_rounded(dividend: int, divisor: int) -> int:
    """Round to nearest, halves away from zero."""
    quotient = (abs(dividend) + divisor // 2) // divisor
    return quotient if dividend >= 0 else -quotient


def update_at_once(
    state: State, number: int, acc: NDArray[np.int64], unit: np.float32, selected: NDArray[np.int64]
) -> None:
    """Batch 1: apply the selected filters' Σ(e − 128)(x − z_x), (filters, taps), one unit of which is `unit`."""
    layer, parameters, rule = state.image.layers[number], state.parameters[number], _rule(state)
    weight_scale = state.scale(layer["weights"])
    if parameters.residual_bits:
        factor = _plain_factor(rule, unit, _VELOCITY_ONE, weight_scale)
        steps = ar.scale_rounded(acc, ar.requantize_multiplier(factor))
    else:
        factor = _plain_factor(rule, unit, _WIDE_ONE, weight_scale)
        by = ar.multiplier(factor, ar.WIDE_MIN_SHIFT, ar.WIDE_MAX_SHIFT)
        steps = np.clip(ar.scale_rounded(acc, by), -_WIDE_LIMIT, _WIDE_LIMIT)
        if rule.momentum > 0:
            steps = (steps + 128) >> 8
    if _step_weights(state, number, parameters, steps, selected, rule):
        state.layer_state[number]["saturated"] = int(state.header["weight_ranges"] != im.WeightRanges.FIXED)


def _step_weights(
    state: State,
    number: int,
    parameters: Parameters,
    steps: NDArray[np.int64],
    rows: NDArray[np.int64],
    rule: _Rule,
) -> bool:
    """Subtract `steps` (filters, taps) from `rows`, by way of the velocity; True if a weight left 0..255."""
    one = _VELOCITY_ONE if rule.momentum > 0 else _one(rule)
    if parameters.residual_bits == 8:
        one = _VELOCITY_ONE
    steps = steps[rows]
    if rule.momentum > 0:
        assert parameters.velocity is not None
        old = parameters.velocity[rows]
        decayed = np.sign(old) * ((np.abs(old) * rule.momentum_q15) >> 15)
        steps = np.clip(decayed + steps, -_VELOCITY_LIMIT, _VELOCITY_LIMIT)
        parameters.velocity[rows] = steps
    bits = parameters.residual_bits if rule.rounding == im.Rounding.RESIDUAL else 0
    if rule.rounding == im.Rounding.RESIDUAL:
        if one == _VELOCITY_ONE and bits == 4:
            steps = (steps + 8) >> 4
        value = (parameters.weights[rows] << bits) + parameters.residual[rows] - steps
    else:
        wide = steps << 8 if one == _VELOCITY_ONE else steps
        value = parameters.weights[rows] - ((wide + _dither(state, number, parameters, rows, rule)) >> 16)
    return _store(parameters, rows, value, bits)


def _dither(
    state: State, number: int, parameters: Parameters, rows: NDArray[np.int64], rule: _Rule
) -> NDArray[np.int64]:
    """What is added before 16 bits are dropped: a half, or random bits."""
    filters, taps = parameters.weights.shape
    if rule.rounding == im.Rounding.NEAREST:
        return np.full((len(rows), taps), 1 << 15, np.int64)
    words = ar.random_rows(int(state.header["seed"]), state.step, number, filters, taps)
    return (words[rows] >> 16).astype(np.int64)


def _store(parameters: Parameters, rows: NDArray[np.int64], value: NDArray[np.int64], bits: int) -> bool:
    """Split values of 2^bits units a quantum into weights and residuals, clamped; True if a clamp changed one."""
    half = (1 << bits) >> 1
    clipped = np.clip(value, -half, (255 << bits) + half - (1 if bits else 0))
    parameters.weights[rows] = (clipped + half) >> bits
    parameters.residual[rows] = clipped - (parameters.weights[rows] << bits)
    return bool((clipped != value).any())


def _grow(state: State, layer: Any, parameters: Parameters) -> None:
    """The same weights at 1.125 times the scale."""
    tensor = int(layer["weights"])
    state.tensor_state[tensor]["scale"] = state.scale(tensor) * _WEIGHT_GROWTH
    bits = parameters.residual_bits if state.header["rounding"] == im.Rounding.RESIDUAL else 0
    rows = np.arange(len(parameters.weights))
    zero = state.zero_point(tensor) << bits
    distance = (parameters.weights << bits) + parameters.residual - zero
    _store(parameters, rows, _shrunk(distance) + zero, bits)
    if parameters.velocity is not None:
        parameters.velocity = _shrunk(parameters.velocity)


def _shrunk(values: Values) -> Values:
    return (values * _WEIGHT_SHRINK_Q15 + (1 << 14)) >> 15


def _adapt_exponent(layer_state: Any, largest: int) -> None:
    """Keep the largest gradient of a mini-batch within 256..1023: 2 to 8 times headroom."""
    exponent = int(layer_state["gradient_exponent"])
    if largest >= ar.GRADIENT_LIMIT:
        exponent += 2
    elif largest >= 1024:
        exponent += 1
    elif largest == 0:
        exponent -= 4
    elif largest < 256:
        exponent -= 1
    layer_state["gradient_exponent"] = min(max(exponent, -_EXPONENT_LIMIT), _EXPONENT_LIMIT)


# -- float gradients -------------------------------------------------------------------------------------


def _update_from_floats(state: State, number: int, layer: Any, parameters: Parameters, rule: _Rule) -> None:
    """The float32 gradients of a mini-batch, of float32 weights or of uint8 ones (recipe `paper`)."""
    gradient = parameters.gradient
    assert gradient is not None
    steps = np.zeros_like(gradient)
    bias_steps = np.zeros_like(parameters.bias)
    factor = rule.rate / rule.batch
    if rule.normalization == im.Normalization.NONE and not parameters.is_float:
        factor = factor * (state.scale(layer["weights"]) * state.scale(layer["weights"]))
    for row, g in enumerate(gradient):
        if rule.normalization == im.Normalization.STANDARDIZE:
            mean, sigma = _moments(g)
            steps[row] = (g - mean) * (rule.rate / sigma)
            bias_steps[row] = _standardized_bias(parameters.bias_gradient[row], sigma, rule)
        else:
            steps[row] = g * factor
    moved = (gradient != 0).any(axis=1)[:, None]
    if rule.momentum > 0:
        assert parameters.velocity is not None
        velocity = rule.momentum * parameters.velocity + steps
        parameters.velocity = np.where(moved, velocity, parameters.velocity)
        steps = parameters.velocity
    if parameters.is_float:
        parameters.weights = np.where(moved, parameters.weights - steps, parameters.weights)
    else:
        real = state.scale(layer["weights"]) * (
            parameters.weights - state.zero_point(layer["weights"])
        ).astype(np.float32)
        _requantize(state, number, layer, parameters, np.where(moved, real - steps, real), rule)
    if rule.normalization == im.Normalization.STANDARDIZE:
        _step_biases(parameters, bias_steps, rule)
    else:
        _update_biases(state, layer, parameters, rule)
    parameters.gradient = np.zeros_like(gradient)


def _moments(g: ar.Float32Array) -> tuple[np.float32, np.float32]:
    """Mean and standard deviation of a row, sums in index order; the deviation is at least 2^−60."""
    n = F32(len(g))
    mean = F32(ar.sum_in_order(g)) / n
    distance = g - mean
    sigma = np.sqrt(F32(ar.sum_in_order(distance * distance)) / n)
    return mean, np.maximum(sigma, _SMALLEST)


def _requantize(
    state: State, number: int, layer: Any, parameters: Parameters, real: ar.Float32Array, rule: _Rule
) -> None:
    """Write float weights back to uint8, after their range has changed as it may."""
    tensor = int(layer["weights"])
    low, high = F32(real.min()), F32(real.max())
    scale, zero_point = state.scale(tensor), state.zero_point(tensor)
    if state.header["weight_ranges"] == im.WeightRanges.DYNAMIC:
        low, high = np.minimum(low, F32(0)), np.maximum(high, F32(0))
        scale = np.maximum((high - low) / F32(255), _SMALLEST)
        zero_point = min(max(int(ar.round_to_int(-low / scale)), 0), 255)
    elif state.header["weight_ranges"] == im.WeightRanges.GROW and (
        low / scale + F32(zero_point) < F32(-0.5) or high / scale + F32(zero_point) > F32(255.5)
    ):
        scale = scale * _WEIGHT_GROWTH
    state.tensor_state[tensor]["scale"], state.tensor_state[tensor]["zero_point"] = scale, zero_point
    quanta = real / scale + F32(zero_point)
    if rule.rounding == im.Rounding.STOCHASTIC:
        words = ar.random_rows(int(state.header["seed"]), state.step, number, *real.shape)
        quanta = quanta + ((words >> 8).astype(np.float32) * ar.power_of_two(-24) - F32(0.5))
    parameters.weights = np.clip(ar.round_to_int(quanta), 0, 255)
