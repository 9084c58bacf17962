"""What a network in training consists of: the image's tables, the learned ranges, and each layer's parameters."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.training import arithmetic as ar
from fqtbench.training import image as im
from fqtbench.training.arithmetic import F32
from fqtbench.training.geometry import Geometry, Values

ACC_MIN_UNSET: Final = 2**31 - 1
ACC_MAX_UNSET: Final = -(2**31)
HEADROOM: Final = F32(
    4.0
)  # an output quantum is at least 4 accumulator quanta: the multiplier stays below 1/4
SUM_HEADROOM: Final = F32(
    1 / 64
)  # an add's output quantum is at least this share of the larger input quantum
RELU6_LIMIT: Final = F32(6.0)
_FRACTION: Final = {im.TensorType.I16: 4, im.TensorType.I8: 8}  # residual bits by the plane's type

_RANGE_UP: Final = F32(0.5)  # a tracked range follows a larger observation by half its distance
_RANGE_DOWN: Final = F32(0.05)  # and a smaller one by a twentieth


def follow(current: np.float32, observed: np.float32) -> np.float32:
    """Move a tracked range towards what was observed."""
    distance = observed - current
    return F32(current + (_RANGE_UP if distance > 0 else _RANGE_DOWN) * distance)


@dataclass
class Parameters:
    """Weights of a layer and what training keeps beside them; integers in int64, each (filters, taps) or (filters,).

    `residual` in units of 2^−residual_bits quanta; `gradient` int64 of 12 bits, or float32, or None at batch 1.
    """

    geometry: Geometry
    is_float: bool
    weights: Values
    plane_type: im.TensorType | None
    residual: NDArray[np.int64]
    gradient: Values | None
    velocity: Values | None
    bias: ar.Float32Array
    bias_gradient: ar.Float32Array
    bias_velocity: ar.Float32Array
    bias_folded: NDArray[np.int64]

    @property
    def residual_bits(self) -> int:
        """Bits of a weight below its quantum."""
        return 0 if self.plane_type is None else _FRACTION.get(self.plane_type, 0)


class State:
    """A model image and all that changes while it is trained."""

    def __init__(self, image: bytes) -> None:
        self.image = im.Image.parse(image)
        self.header = self.image.header
        self.step = 0
        self.in_batch = 0
        self.tracking = False  # the sample in progress observes ranges
        self.learning = True  # at batch 1 a backward pass changes weights; calibration must not
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
        self.layer_state["acc_min"] = ACC_MIN_UNSET
        self.layer_state["acc_max"] = ACC_MAX_UNSET
        self.activation: dict[int, Values] = {}
        self.error: dict[int, Values] = {}
        self.argmax: dict[int, NDArray[np.int64]] = {}
        self.patches: dict[int, Values] = {}
        self.head_error = np.zeros(0, np.float32)  # p − onehot
        self.parameters = {
            number: self._load(number, layer)
            for number, layer in enumerate(layers)
            if layer["type"] in im.WEIGHTED
        }
        for number in self.parameters:
            self.fold_bias(number)

    # -- loading ---------------------------------------------------------------------------------------

    def _load(self, number: int, layer: Any) -> Parameters:
        weights = self.image.tensors[layer["weights"]]
        filters, taps = int(weights["h"]), int(weights["w"])
        is_float = weights["dtype"] == im.TensorType.F32
        plane_type = self._type(layer["plane"])
        residual = np.zeros((filters, taps), np.int64)
        gradient: Values | None = None
        if plane_type == im.TensorType.I16:
            words = self._rows(layer["plane"], "<i2")
            gradient, residual = words >> 4, ((words & 15) ^ 8) - 8
        elif plane_type == im.TensorType.I8:
            residual = self._rows(layer["plane"], "i1")
        elif plane_type == im.TensorType.F32:
            gradient = self._rows(layer["plane"], "<f4")
        velocity_type = "<f4" if self._type(layer["velocity"]) == im.TensorType.F32 else "<i2"
        bias = np.zeros(filters, np.float32)  # without a tensor where the folded one is constant
        if layer["bias"] != im.NONE:
            bias = np.frombuffer(self.image.initial(int(layer["bias"])), "<f4", filters).copy()
        return Parameters(
            geometry=self._geometry(layer, filters, taps),
            is_float=bool(is_float),
            weights=self._rows(layer["weights"], "<f4" if is_float else "u1"),
            plane_type=plane_type,
            residual=residual,
            gradient=gradient,
            velocity=None if layer["velocity"] == im.NONE else self._rows(layer["velocity"], velocity_type),
            bias=bias,
            bias_gradient=np.zeros(filters, np.float32),
            bias_velocity=np.zeros(filters, np.float32),
            bias_folded=np.zeros(filters, np.int64),
        )

    def _type(self, tensor: Any) -> im.TensorType | None:
        return None if tensor == im.NONE else im.TensorType(int(self.image.tensors[tensor]["dtype"]))

    def _rows(self, tensor: Any, dtype: str) -> Values:
        """Return a tensor's rows without their padding; integers as int64."""
        entry = self.image.tensors[tensor]
        raw = np.frombuffer(self.image.initial(int(tensor)), dtype)
        rows = raw.reshape(int(entry["h"]), int(entry["c"]))[:, : int(entry["w"])]
        return rows.astype(np.float32 if dtype == "<f4" else np.int64)

    def _geometry(self, layer: Any, filters: int, taps: int) -> Geometry:
        if layer["type"] == im.LayerType.FULLY_CONNECTED:
            return Geometry.fully_connected(taps, filters)
        source, out = self.image.tensors[layer["in"]], self.image.tensors[layer["out"]]
        pool = 1 if layer["argmax"] == im.NONE else 2
        names = ("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_top", "pad_left", "groups")
        shape = *(int(source[name]) for name in "hwc"), int(out["h"]) * pool, int(out["w"]) * pool, filters
        return Geometry(*shape, **{name: int(layer[name]) for name in names})

    # -- ranges ----------------------------------------------------------------------------------------

    def scale(self, tensor: Any) -> np.float32:
        """Scale of a tensor."""
        return F32(self.tensor_state[tensor]["scale"])

    def zero_point(self, tensor: Any) -> int:
        """Zero point of a tensor."""
        return int(self.tensor_state[tensor]["zero_point"])

    def is_float(self, tensor: Any) -> bool:
        """Whether a tensor holds float32."""
        return bool(self.image.tensors[tensor]["dtype"] == im.TensorType.F32)

    def relu6_clamp(self, tensor: Any) -> int:
        """Quantized value of 6, possibly beyond 255."""
        six = int(ar.round_to_int(np.asarray(RELU6_LIMIT / self.scale(tensor))))
        return self.zero_point(tensor) + six

    def clamped(self, tensor: Any, masked: bool, high: bool) -> NDArray[np.bool_]:
        """Return where a folded ReLU, or a ReLU6 if `high`, clamped an activation; nowhere if not `masked`."""
        x = self.activation[int(tensor)]
        if not masked:
            return np.zeros(x.shape, bool)
        low: Any = F32(0) if self.is_float(tensor) else self.zero_point(tensor)
        hidden: NDArray[np.bool_] = x <= low
        if high:
            hidden = hidden | (x >= (RELU6_LIMIT if self.is_float(tensor) else self.relu6_clamp(tensor)))
        return hidden

    def sum_multipliers(self, layer: Any) -> ar.CommonMultipliers:
        """Return the multipliers of an add's inputs."""
        out = self.scale(layer["out"])
        return ar.common_multipliers(self.scale(layer["in"]) / out, self.scale(layer["other"]) / out)

    def accumulator_unit(self, layer: Any) -> np.float32:
        """Real value of one unit of the accumulators whose extremes are tracked."""
        if layer["type"] == im.LayerType.ADD:
            return self.scale(layer["out"]) * ar.power_of_two(-self.sum_multipliers(layer).shift)
        return self.scale(layer["weights"]) * self.scale(layer["in"])

    def track(self, number: int, acc: NDArray[np.int64]) -> None:
        """Keep the extremes of accumulators."""
        state = self.layer_state[number]
        state["acc_min"] = min(int(state["acc_min"]), int(acc.min()))
        state["acc_max"] = max(int(state["acc_max"]), int(acc.max()))

    def has_range(self, layer: Any) -> bool:
        """Whether the layer gives its uint8 output a range of its own."""
        own = layer["type"] in (*im.WEIGHTED, im.LayerType.ADD)
        return bool(own and self.image.tensors[layer["out"]]["dtype"] == im.TensorType.U8)

    def settle(self) -> None:
        """Derive what depends on ranges and weight scales, from the input to the logits."""
        for number, layer in enumerate(self.image.layers):
            match layer["type"]:
                case im.LayerType.CONVOLUTION | im.LayerType.FULLY_CONNECTED:
                    if not self.parameters[number].is_float and not self._is_constant(layer):
                        self._settle_scale(layer)
                        self.fold_bias(number)
                case im.LayerType.ADD:
                    if not self.is_float(layer["out"]):
                        self._settle_scale(layer)
                case im.LayerType.MAX_POOL | im.LayerType.AVERAGE_POOL | im.LayerType.FLATTEN:
                    self.tensor_state[layer["out"]] = self.tensor_state[layer["in"]]

    def _is_constant(self, layer: Any) -> bool:
        """Whether neither weights nor ranges of the layer ever change: its folded bias stays in the image."""
        return bool(self.image.tensors[layer["bias_folded"]]["region"] == im.REGION_IN_IMAGE)

    def _settle_scale(self, layer: Any) -> None:
        """Derive the output's scale and zero point from its range; that of int32 logits from their factors."""
        out = self.tensor_state[layer["out"]]
        if layer["type"] == im.LayerType.ADD:
            least = np.maximum(self.scale(layer["in"]), self.scale(layer["other"])) * SUM_HEADROOM
        else:
            unit = self.accumulator_unit(layer)
            if self.image.tensors[layer["out"]]["dtype"] == im.TensorType.I32:
                out["scale"] = unit
                return
            least = HEADROOM * unit
        low = np.minimum(F32(out["range_min"]), F32(0))
        high = np.maximum(F32(out["range_max"]), F32(0))
        if layer["flags"] & im.LayerFlag.RELU6:
            high = np.minimum(high, RELU6_LIMIT)
        scale = np.maximum((high - low) / F32(255), least)
        out["scale"] = scale
        out["zero_point"] = min(max(int(ar.round_to_int(-low / scale)), 0), 255)

    def fold_bias(self, number: int) -> None:
        """Recompute the integer bias of a uint8 layer."""
        layer, parameters = self.image.layers[number], self.parameters[number]
        if parameters.is_float:
            return
        if self._is_constant(layer):
            raw = self.image.initial(int(layer["bias_folded"]))
            parameters.bias_folded = np.frombuffer(raw, "<i4").astype(np.int64)
        else:
            parameters.bias_folded = ar.round_to_int(parameters.bias / self.accumulator_unit(layer))

    def follow_range(self, number: int) -> None:
        """Let the output's range follow the tracked accumulators; scales are still those that they had."""
        layer, state = self.image.layers[number], self.layer_state[number]
        if int(state["acc_max"]) == ACC_MAX_UNSET:
            return
        out, unit = self.tensor_state[layer["out"]], self.accumulator_unit(layer)
        out["range_max"] = follow(F32(out["range_max"]), F32(int(state["acc_max"])) * unit)
        if not layer["flags"] & im.LayerFlag.RELU:
            out["range_min"] = -follow(-F32(out["range_min"]), -(F32(int(state["acc_min"])) * unit))
        state["acc_min"], state["acc_max"] = ACC_MIN_UNSET, ACC_MAX_UNSET

    def trained_layers(self) -> list[int]:
        """Return the layers whose weights or biases are trained, in the image's order."""
        trained = im.LayerFlag.TRAINED | im.LayerFlag.BIAS_TRAINED
        return [number for number in self.parameters if self.image.layers[number]["flags"] & trained]
