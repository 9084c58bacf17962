"""The arithmetic of fully quantized training, written down once.

`Trainer` runs a model image exactly as the device does: same weights, ranges, losses and checksum after any number of
steps. Integer sums are computed in float64, where they are exact (|sum| < 2^53; the compiler bounds them by
2^31); every float result is single precision, in the order stated in docs/arithmetic.md.
"""

import zlib
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fqtbench.training import arithmetic as ar
from fqtbench.training import image as im
from fqtbench.training.arithmetic import F32
from fqtbench.training.geometry import Exact, Geometry, pool_windows, rounded_mean, unpool

_ACC_MIN_UNSET: Final = 2**31 - 1
_ACC_MAX_UNSET: Final = -(2**31)
_RANGE_UP: Final = F32(0.5)  # a tracked range follows a larger observation by half its distance
_RANGE_DOWN: Final = F32(0.05)  # and a smaller one by a twentieth
_WEIGHT_GROWTH: Final = F32(1.125)
_WEIGHT_SHRINK_Q16: Final = 58254  # 2^16 / 1.125
_BIAS_CLIP: Final = F32(3.0)
_HEADROOM: Final = F32(
    4.0
)  # an output quantum is at least 4 accumulator quanta: the multiplier stays below 1/4


class Outcome(NamedTuple):
    """What one training sample gave: cross-entropy in nats, the class predicted, whether an update followed."""

    loss: np.float32
    predicted: int
    updated: bool


class Trainer:
    """One network in training, from a model image."""

    def __init__(self, image: bytes) -> None:
        self.image = im.Image.parse(image)
        self.step = 0
        self._in_batch = 0
        tensors, layers = self.image.tensors, self.image.layers
        self.tensor_state = np.zeros(len(tensors), im.TENSOR_STATE)
        self.tensor_state["scale"] = tensors["scale"]
        self.tensor_state["zero_point"] = tensors["zero_point"]
        zero_points = tensors["zero_point"].astype(np.float32)
        self.tensor_state["range_min"] = tensors["scale"] * -zero_points
        self.tensor_state["range_max"] = tensors["scale"] * (F32(255) - zero_points)
        self.layer_state = np.zeros(len(layers), im.LAYER_STATE)
        self.layer_state["error_ratio"] = layers["error_ratio"]
        self.layer_state["gradient_exponent"] = layers["gradient_exponent"]
        self.layer_state["acc_min"] = _ACC_MIN_UNSET
        self.layer_state["acc_max"] = _ACC_MAX_UNSET
        self.weights: dict[int, NDArray[np.int64]] = {}  # layer -> (filters, taps)
        self.gradient: dict[int, NDArray[np.int64]] = {}  # layer -> (filters, taps), 12 bits
        self.residual: dict[int, NDArray[np.int64]] = {}  # layer -> (filters, taps), −8..7
        self.bias: dict[int, ar.Float32Array] = {}
        self.bias_gradient: dict[int, ar.Float32Array] = {}
        self.bias_int: dict[int, NDArray[np.int64]] = {}
        self.geometry: dict[int, Geometry] = {}
        for number, layer in enumerate(layers):
            if layer["type"] in (im.LayerType.CONV2D, im.LayerType.FULLY_CONNECTED):
                self._load_weights(number, layer)
        self.activation: dict[int, NDArray[np.int64]] = {}
        self.error: dict[int, NDArray[np.int64]] = {}
        self._patches: dict[int, Exact] = {}
        self._logits = np.zeros(0, np.int64)
        self._probability_error = np.zeros(0, np.float32)
        self._tracking = False

    # -- loading ---------------------------------------------------------------------------------------

    def _load_weights(self, number: int, layer: Any) -> None:
        tensors = self.image.tensors
        source, out = tensors[layer["in"]], tensors[layer["out"]]
        weights = tensors[layer["weights"]]
        filters, taps, stored = int(weights["h"]), int(weights["w"]), int(weights["c"])
        if layer["type"] == im.LayerType.FULLY_CONNECTED:
            geometry = Geometry(1, 1, taps, 1, 1, filters, 1, 1, 1, 1, 0, 0)
        else:
            shape = (
                int(source["h"]),
                int(source["w"]),
                int(source["c"]),
                int(out["h"]),
                int(out["w"]),
                filters,
            )
            window = (
                int(layer[name])
                for name in ("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_top", "pad_left")
            )
            geometry = Geometry(*shape, *window)
        self.geometry[number] = geometry
        raw = np.frombuffer(self.image.initial(int(layer["weights"])), np.uint8)
        self.weights[number] = raw.reshape(filters, stored)[:, :taps].astype(np.int64)
        plane = np.frombuffer(self.image.initial(int(layer["plane"])), "<i2").reshape(filters, stored)[
            :, :taps
        ]
        self.gradient[number] = plane.astype(np.int64) >> ar.RESIDUAL_BITS
        half = ar.RESIDUAL_ONE // 2
        self.residual[number] = ((plane.astype(np.int64) & (ar.RESIDUAL_ONE - 1)) ^ half) - half
        bias = np.frombuffer(self.image.initial(int(layer["bias"])), "<f4", filters)
        self.bias[number] = bias.astype(np.float32)
        self.bias_gradient[number] = np.zeros(filters, np.float32)
        self._fold_bias(number)

    def _scale(self, tensor: int) -> np.float32:
        return F32(self.tensor_state[tensor]["scale"])

    def _zero_point(self, tensor: int) -> int:
        return int(self.tensor_state[tensor]["zero_point"])

    def _fold_bias(self, number: int) -> None:
        layer = self.image.layers[number]
        unit = self._scale(layer["weights"]) * self._scale(layer["in"])
        self.bias_int[number] = ar.round_to_int(self.bias[number] / unit)

    # -- forward -----------------------------------------------------------------------------------------

    def evaluate(self, sample: bytes | NDArray[np.uint8], label: int) -> Outcome:
        """Forward pass of one sample (sample_bytes of uint8); changes nothing that is learned."""
        return self.forward(sample, label, track=False)

    def train(self, sample: bytes | NDArray[np.uint8], label: int) -> Outcome:
        """Forward and backward pass of one sample, and the update when the mini-batch is full."""
        track = self.step % int(self.image.header["track_period"]) == 0
        outcome = self.forward(sample, label, track)
        self.backward()
        self.step += 1
        self._in_batch += 1
        updated = self._in_batch == int(self.image.header["batch"])
        if updated:
            self._update()
            self._in_batch = 0
        return outcome._replace(updated=updated)

    def forward(self, sample: bytes | NDArray[np.uint8], label: int, track: bool) -> Outcome:
        """Forward pass; with `track`, it and the backward pass after it observe the ranges."""
        self._tracking = track
        first = self.image.tensors[0]
        pixels = np.frombuffer(sample, np.uint8) if isinstance(sample, bytes) else sample
        self.activation[0] = pixels.reshape(int(first["h"]), int(first["w"]), int(first["c"])).astype(
            np.int64
        )
        outcome = Outcome(F32(0), 0, False)
        for number, layer in enumerate(self.image.layers):
            source, out = int(layer["in"]), int(layer["out"])
            match layer["type"]:
                case im.LayerType.CONV2D | im.LayerType.FULLY_CONNECTED:
                    self._forward_convolution(number, layer)
                case im.LayerType.MAX_POOL:
                    self.activation[out] = pool_windows(self.activation[source], layer).max(axis=2)
                case im.LayerType.GLOBAL_AVERAGE_POOL:
                    self.activation[out] = rounded_mean(self.activation[source])
                case im.LayerType.FLATTEN:
                    self.activation[out] = self.activation[source].reshape(1, 1, -1)
                case im.LayerType.SOFTMAX_CROSS_ENTROPY:
                    outcome = self._softmax(layer, label)
                case _:
                    raise AssertionError(f"layer type {layer['type']}")
        return outcome

    def _forward_convolution(self, number: int, layer: Any) -> None:
        geometry, source, out = self.geometry[number], int(layer["in"]), int(layer["out"])
        centred = (self.activation[source] - self._zero_point(source)).astype(np.float64)
        if layer["type"] == im.LayerType.FULLY_CONNECTED:
            centred = centred.reshape(1, 1, -1)
        patches = geometry.patches(centred)
        self._patches[number] = patches
        weights = (self.weights[number] - self._zero_point(layer["weights"])).astype(np.float64)
        acc = (patches @ weights.T).astype(np.int64) + self.bias_int[number]
        if self.image.tensors[out]["dtype"] == im.TensorType.I32:
            self.activation[out] = acc
            return
        if self._tracking:
            state = self.layer_state[number]
            state["acc_min"] = min(int(state["acc_min"]), int(acc.min()))
            state["acc_max"] = max(int(state["acc_max"]), int(acc.max()))
        factor = self._scale(layer["weights"]) * self._scale(source) / self._scale(out)
        zero_point = self._zero_point(out)
        q = zero_point + ar.scale_rounded(acc, ar.requantize_multiplier(factor))
        lowest = zero_point if layer["flags"] & im.LayerFlag.RELU else 0
        self.activation[out] = np.clip(q, lowest, 255).reshape(
            geometry.out_h, geometry.out_w, geometry.filters
        )

    def _softmax(self, layer: Any, label: int) -> Outcome:
        source = int(layer["in"])
        acc = self.activation[source].reshape(-1)
        predicted = int(acc.argmax())
        unit = self._scale(source)
        logits = acc.astype(np.float32) * unit
        shifted = logits - logits[predicted]
        powers = ar.exp_nonpositive(shifted)
        total = ar.sum_in_order(powers)
        self._probability_error = powers / total
        self._probability_error[label] = self._probability_error[label] - F32(1)
        return Outcome(ar.log_of(total) - shifted[label], predicted, False)

    # -- backward ----------------------------------------------------------------------------------------

    def backward(self) -> None:
        """Backward pass of the sample just forwarded; adds its gradients to the mini-batch."""
        for number in range(len(self.image.layers) - 1, -1, -1):
            layer = self.image.layers[number]
            match layer["type"]:
                case im.LayerType.SOFTMAX_CROSS_ENTROPY:
                    self._quantize_head_error(int(layer["error_in"]))
                case im.LayerType.CONV2D | im.LayerType.FULLY_CONNECTED:
                    self._backward_convolution(number, layer)
                case _:
                    if layer["error_in"] != im.NONE:
                        self._backward_reshaping(layer)

    def _quantize_head_error(self, tensor: int) -> None:
        error = self._probability_error
        largest = F32(np.abs(error).max())
        scale = largest / F32(127) if largest > 0 else F32(1)
        scale = max(scale, ar.power_of_two(-100))
        self.tensor_state[tensor]["scale"] = scale
        q = ar.round_to_int(error / scale)
        self.error[tensor] = np.clip(ar.ERROR_ZERO_POINT + q, 0, 255)

    def _backward_convolution(self, number: int, layer: Any) -> None:
        geometry, error_out = self.geometry[number], int(layer["error_out"])
        error = (self.error[error_out].reshape(-1, geometry.filters) - ar.ERROR_ZERO_POINT).astype(np.float64)
        if layer["flags"] & im.LayerFlag.TRAINED:
            self._accumulate_gradient(number, layer, error)
        if layer["error_in"] != im.NONE:
            self._propagate_error(number, layer, error)

    def _accumulate_gradient(self, number: int, layer: Any, error: Exact) -> None:
        error_scale = self._scale(layer["error_out"])
        unit = error_scale * self._scale(layer["in"])
        unit = unit * ar.power_of_two(-int(self.layer_state[number]["gradient_exponent"]))
        acc = (error.T @ self._patches[number]).astype(np.int64)
        folded = self.gradient[number] + ar.scale_rounded(acc, ar.requantize_multiplier(unit))
        self.gradient[number] = np.clip(folded, -ar.GRADIENT_LIMIT, ar.GRADIENT_LIMIT)
        sums = error.sum(axis=0).astype(np.float32)
        self.bias_gradient[number] = self.bias_gradient[number] + error_scale * sums

    def _propagate_error(self, number: int, layer: Any, error: Exact) -> None:
        geometry, source, error_in = self.geometry[number], int(layer["in"]), int(layer["error_in"])
        weights = (self.weights[number] - self._zero_point(layer["weights"])).astype(np.float64)
        acc = geometry.scatter(error @ weights).astype(np.int64).reshape(self.activation[source].shape)
        if layer["flags"] & im.LayerFlag.MASK_INPUT:
            acc[self.activation[source] == self._zero_point(source)] = 0
        weight_scale = self._scale(layer["weights"])
        state = self.layer_state[number]
        ratio = np.maximum(F32(state["error_ratio"]), _HEADROOM * weight_scale)
        self.tensor_state[error_in]["scale"] = ratio * self._scale(layer["error_out"])
        q = ar.ERROR_ZERO_POINT + ar.scale_rounded(acc, ar.requantize_multiplier(weight_scale / ratio))
        self.error[error_in] = np.clip(q, 0, 255)
        largest = int(np.abs(acc).max())
        if self._tracking and largest > 0:
            observed = F32(largest) * weight_scale / F32(127)
            state["error_ratio"] = _follow(ratio, observed)

    def _backward_reshaping(self, layer: Any) -> None:
        source, error_in = int(layer["in"]), int(layer["error_in"])
        x, error = self.activation[source], self.error[int(layer["error_out"])]
        scale = self._scale(layer["error_out"])
        match layer["type"]:
            case im.LayerType.MAX_POOL:
                self.error[error_in] = unpool(
                    x, error.reshape(self.activation[int(layer["out"])].shape), layer
                )
            case im.LayerType.GLOBAL_AVERAGE_POOL:
                spread = np.broadcast_to(error.reshape(1, 1, -1), x.shape).copy()
                if layer["flags"] & im.LayerFlag.MASK_INPUT:
                    spread[x == self._zero_point(source)] = ar.ERROR_ZERO_POINT
                self.error[error_in] = spread
                scale = scale / F32(x.shape[0] * x.shape[1])
            case _:
                self.error[error_in] = error.reshape(x.shape)
        self.tensor_state[error_in]["scale"] = scale

    # -- update ------------------------------------------------------------------------------------------

    def _update(self) -> None:
        rate = self._rate()
        for number, layer in enumerate(self.image.layers):
            if number in self.geometry:
                self._follow_range(number, layer)
                if layer["flags"] & im.LayerFlag.TRAINED:
                    self._update_weights(number, layer, rate)
        self.settle()

    def settle(self) -> None:
        """Derive what depends on ranges and weight scales, from the input to the logits."""
        for number, layer in enumerate(self.image.layers):
            if number in self.geometry:
                self._settle_scale(layer)
                self._fold_bias(number)
            elif layer["type"] != im.LayerType.SOFTMAX_CROSS_ENTROPY:
                self.tensor_state[layer["out"]] = self.tensor_state[layer["in"]]

    def _rate(self) -> np.float32:
        rates = self.image.rates
        index = int(np.searchsorted(rates["first_step"], self.step, side="right")) - 1
        return F32(rates[max(index, 0)]["rate"])

    def _update_weights(self, number: int, layer: Any, rate: np.float32) -> None:
        gradient = self.gradient[number]
        taps = gradient.shape[1]
        weight_scale = self._scale(layer["weights"])
        state = self.layer_state[number]
        unit = ar.power_of_two(int(state["gradient_exponent"]))
        value = (self.weights[number] << ar.RESIDUAL_BITS) + self.residual[number]
        for row in range(len(gradient)):
            total = int(gradient[row].sum())
            spread = taps * int((gradient[row] ** 2).sum()) - total * total
            deviation = np.maximum(
                np.sqrt(np.int64(spread).astype(np.float32)), F32(taps)
            )  # taps · σ, at least one unit
            sigma = deviation / F32(taps) * unit
            step = self.bias_gradient[number][row] / sigma
            step = np.minimum(np.maximum(step, -_BIAS_CLIP), _BIAS_CLIP)
            self.bias[number][row] = self.bias[number][row] - rate * step
            factor = rate * F32(taps * ar.RESIDUAL_ONE) / (weight_scale * deviation)
            by = ar.multiplier(factor, ar.UPDATE_MIN_SHIFT, ar.UPDATE_MAX_SHIFT)
            mean = _divide_rounded(total * by.m, taps)
            value[row] -= (gradient[row] * by.m - mean + (1 << (by.shift - 1))) >> by.shift
        self._write_back(number, layer, value)
        self._adapt_exponent(state, int(np.abs(gradient).max()))
        self.gradient[number] = np.zeros_like(gradient)
        self.bias_gradient[number][:] = 0

    def _write_back(self, number: int, layer: Any, value: NDArray[np.int64]) -> None:
        half = ar.RESIDUAL_ONE // 2
        lowest, highest = -half, 255 * ar.RESIDUAL_ONE + half - 1
        clipped = np.clip(value, lowest, highest)
        if (clipped != value).any():
            tensor = int(layer["weights"])
            self.tensor_state[tensor]["scale"] = self._scale(tensor) * _WEIGHT_GROWTH
            zero = self._zero_point(tensor) * ar.RESIDUAL_ONE
            clipped = (((clipped - zero) * _WEIGHT_SHRINK_Q16 + (1 << 15)) >> 16) + zero
        self.weights[number] = (clipped + half) >> ar.RESIDUAL_BITS
        self.residual[number] = clipped - (self.weights[number] << ar.RESIDUAL_BITS)

    @staticmethod
    def _adapt_exponent(state: Any, largest: int) -> None:
        """Keep the largest gradient of a mini-batch within 256..1023: 2 to 8 times headroom."""
        exponent = int(state["gradient_exponent"])
        if largest == ar.GRADIENT_LIMIT:
            exponent += 2
        elif largest >= 1024:
            exponent += 1
        elif largest == 0:
            exponent -= 4
        elif largest < 256:
            exponent -= 1
        state["gradient_exponent"] = min(max(exponent, -100), 100)

    def _follow_range(self, number: int, layer: Any) -> None:
        """Let the output's range follow the accumulators tracked in this mini-batch; scales are still the old ones."""
        state, out = self.layer_state[number], self.tensor_state[layer["out"]]
        if int(state["acc_max"]) == _ACC_MAX_UNSET:
            return
        unit = self._scale(layer["weights"]) * self._scale(layer["in"])
        out["range_max"] = _follow(F32(out["range_max"]), F32(int(state["acc_max"])) * unit)
        if not layer["flags"] & im.LayerFlag.RELU:
            out["range_min"] = -_follow(-F32(out["range_min"]), -(F32(int(state["acc_min"])) * unit))
        state["acc_min"], state["acc_max"] = _ACC_MIN_UNSET, _ACC_MAX_UNSET

    def _settle_scale(self, layer: Any) -> None:
        """Derive the output's scale and zero point from its range; that of int32 logits from their factors."""
        out = self.tensor_state[layer["out"]]
        unit = self._scale(layer["weights"]) * self._scale(layer["in"])
        if self.image.tensors[layer["out"]]["dtype"] == im.TensorType.I32:
            out["scale"] = unit
            return
        low = np.minimum(F32(out["range_min"]), F32(0))
        high = np.maximum(F32(out["range_max"]), F32(0))
        scale = np.maximum((high - low) / F32(255), _HEADROOM * unit)
        out["scale"] = scale
        out["zero_point"] = min(max(int(ar.round_to_int(-low / scale)), 0), 255)

    # -- calibration -------------------------------------------------------------------------------------

    def adopt_range(self, number: int) -> None:
        """Set the range of layer `number`'s output to what was tracked; `settle` derives the scale from it."""
        layer, state = self.image.layers[number], self.layer_state[number]
        unit = self._scale(layer["weights"]) * self._scale(layer["in"])
        out = self.tensor_state[layer["out"]]
        relu = bool(layer["flags"] & im.LayerFlag.RELU)
        out["range_min"] = F32(0) if relu else F32(int(state["acc_min"])) * unit
        out["range_max"] = F32(int(state["acc_max"])) * unit

    def forget_ranges(self) -> None:
        """Drop the accumulators tracked since the last update."""
        self.layer_state["acc_min"], self.layer_state["acc_max"] = _ACC_MIN_UNSET, _ACC_MAX_UNSET

    def drop_gradients(self) -> None:
        """Drop the gradients of the mini-batch in progress."""
        for number in self.geometry:
            self.gradient[number][:] = 0
            self.bias_gradient[number][:] = 0

    # -- reading -----------------------------------------------------------------------------------------

    def checksum(self) -> int:
        """CRC-32 of the trained state: ranges, then every tensor flagged so, in the image's order."""
        crc = zlib.crc32(self.tensor_state.tobytes())
        crc = zlib.crc32(self.layer_state.tobytes(), crc)
        for tensor in np.flatnonzero(self.image.tensors["flags"] & im.TRAINED_STATE):
            crc = zlib.crc32(self.tensor_bytes(int(tensor)), crc)
        return crc

    def tensor_bytes(self, tensor: int) -> bytes:
        """Return a trained tensor as it lies in the device's arena."""
        for number, layer in enumerate(self.image.layers):
            if tensor == layer["weights"]:
                return self._padded(tensor, self.weights[number], np.uint8)
            if tensor == layer["plane"]:
                plane = self.gradient[number] * ar.RESIDUAL_ONE + (
                    self.residual[number] & (ar.RESIDUAL_ONE - 1)
                )
                return self._padded(tensor, plane, np.int16)
            if tensor == layer["bias"]:
                gradient = self.bias_gradient[number].tobytes()
                return self.bias[number].tobytes() + gradient + self.bias_int[number].astype("<i4").tobytes()
        raise KeyError(tensor)

    def _padded(self, tensor: int, values: NDArray[np.int64], dtype: type[np.generic]) -> bytes:
        entry = self.image.tensors[tensor]
        rows = (
            np.frombuffer(self.image.initial(tensor), dtype).reshape(int(entry["h"]), int(entry["c"])).copy()
        )
        rows[:, : int(entry["w"])] = values
        return rows.tobytes()


def _follow(current: np.float32, observed: np.float32) -> np.float32:
    distance = observed - current
    return F32(current + (_RANGE_UP if distance > 0 else _RANGE_DOWN) * distance)


def _divide_rounded(dividend: int, divisor: int) -> int:
    """Round to nearest, halves away from zero."""
    quotient = (abs(dividend) + divisor // 2) // divisor
    return quotient if dividend >= 0 else -quotient
