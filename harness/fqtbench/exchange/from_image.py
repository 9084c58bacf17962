"""From a model image and its trained state to a network that stands for itself."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import ImageError
from fqtbench.exchange.quantized import (
    INPUT,
    Activation,
    Kind,
    Quantization,
    QuantizedLayer,
    QuantizedNetwork,
    Shape,
)
from fqtbench.training import image as im
from fqtbench.training.image import Image, LayerFlag, LayerType, TensorType

_KINDS: Final[Mapping[int, Kind]] = {
    LayerType.CONVOLUTION: "convolution",
    LayerType.FULLY_CONNECTED: "fully_connected",
    LayerType.MAX_POOL: "max_pool",
    LayerType.AVERAGE_POOL: "average_pool",
    LayerType.FLATTEN: "flatten",
    LayerType.ADD: "add",
}
_TRANSPARENT: Final = (LayerType.FORK, LayerType.DEQUANTIZE)  # they give the next layer what they get


def quantized_network(image: bytes, tensors: Mapping[int, bytes], state: NDArray[Any]) -> QuantizedNetwork:
    """Return the network of `image` as training left it.

    `tensors` are the bytes of the trained tensors by number, as they lie in the arena; what is missing is as in the
    image. `state` (n_tensors,) has at least the fields scale and zero_point of every tensor (image.TENSOR_STATE).
    Raises ImageError where they don't belong together.
    """
    return _Reader(Image.parse(image), tensors, state).network()


class _Reader:
    def __init__(self, image: Image, tensors: Mapping[int, bytes], state: NDArray[Any]) -> None:
        self._image, self._tensors, self._state = image, tensors, state
        if len(state) != len(image.tensors):
            raise ImageError(
                f"trained state: ranges of {len(state)} tensors, the model image has {len(image.tensors)}; "
                "take both from the same run"
            )
        self._layers: list[QuantizedLayer] = []
        self._source: dict[int, int] = {}  # tensor -> layer that gives it

    def network(self) -> QuantizedNetwork:
        first = int(self._image.layers[0]["in"])
        self._source[first] = INPUT
        for number, layer in enumerate(self._image.layers):
            self._add(number, layer)
        quantization = self._quantization(first)
        assert quantization is not None
        network = QuantizedNetwork(self._shape(first), quantization, tuple(self._layers))
        network.check()
        return network

    def _add(self, number: int, layer: Any) -> None:
        if layer["type"] == LayerType.SOFTMAX_CROSS_ENTROPY:
            return
        source = self._source[int(layer["in"])]
        if layer["type"] in _TRANSPARENT:
            self._source[int(layer["out"])] = source
            return
        kind = _KINDS.get(int(layer["type"]))
        if kind is None:
            raise ImageError(
                f"model image: layer {number} is of type {layer['type']}, which has no other form"
            )
        out, output = self._shape(layer["out"]), self._quantization(int(layer["out"]))
        pooled = layer["argmax"] != im.NONE
        in_shape = self._shape(layer["in"])
        computed = _before_pool(layer, in_shape, out) if pooled else out
        kernel, stride, pad = self._window(layer, kind, in_shape, computed)
        weights: dict[str, Any] = (
            self._weights(layer, kernel) if kind in ("convolution", "fully_connected") else {}
        )
        self._layers.append(
            QuantizedLayer(
                name=f"{number}.{kind}",
                kind=kind,
                source=source,
                in_shape=in_shape,
                out_shape=computed,
                kernel=kernel,
                stride=stride,
                pad=pad,
                groups=int(layer["groups"]) if kind == "convolution" else 1,
                activation=_activation(int(layer["flags"])),
                other=self._source[int(layer["other"])] if kind == "add" else None,
                output=output,
                **weights,
            )
        )
        if pooled:
            last, name = len(self._layers) - 1, f"{number}.max_pool"
            self._layers.append(
                QuantizedLayer(name, "max_pool", last, computed, out, (2, 2), (2, 2), output=output)
            )
        self._source[int(layer["out"])] = len(self._layers) - 1

    def _window(
        self, layer: Any, kind: Kind, in_shape: Shape, out: Shape
    ) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
        """Return kernel, stride, and pad (top, left, bottom, right): below and to the right as far as windows reach."""
        if kind in ("fully_connected", "flatten", "add"):
            return (1, 1), (1, 1), (0, 0, 0, 0)
        kernel = int(layer["kernel_h"]), int(layer["kernel_w"])
        stride = int(layer["stride_h"]), int(layer["stride_w"])
        before = int(layer["pad_top"]), int(layer["pad_left"])
        after = [
            max((out[axis] - 1) * stride[axis] + kernel[axis] - in_shape[axis] - before[axis], 0)
            for axis in (0, 1)
        ]
        return kernel, stride, (*before, after[0], after[1])

    def _shape(self, tensor: Any) -> Shape:
        entry = self._image.tensors[tensor]
        return int(entry["h"]), int(entry["w"]), int(entry["c"])

    def _quantization(self, tensor: int) -> Quantization | None:
        if self._image.tensors[tensor]["dtype"] != TensorType.U8:
            return None
        entry = self._state[tensor]
        return Quantization(float(entry["scale"]), int(entry["zero_point"]))

    def _weights(self, layer: Any, kernel: tuple[int, int]) -> dict[str, Any]:
        number = int(layer["weights"])
        entry = self._image.tensors[number]
        filters, taps, stored = int(entry["h"]), int(entry["w"]), int(entry["c"])
        dtype = np.dtype("<f4" if entry["dtype"] == TensorType.F32 else np.uint8)
        rows = np.frombuffer(self._content(number), dtype).reshape(filters, stored)[:, :taps]
        return {
            "weights": np.ascontiguousarray(rows).reshape(filters, *kernel, -1),
            "weight_quantization": self._quantization(number),
            "bias": self._bias(layer, filters),
        }

    def _bias(self, layer: Any, filters: int) -> NDArray[np.float32]:
        """Return the float32 bias; of a layer that is constant on the device, what its folded bias stands for."""
        if layer["bias"] != im.NONE:
            return np.frombuffer(self._content(int(layer["bias"])), "<f4")[:filters].astype(np.float32)
        folded = np.frombuffer(self._content(int(layer["bias_folded"])), "<i4")[:filters]
        scales = (np.float32(self._state[int(layer[name])]["scale"]) for name in ("in", "weights"))
        return folded.astype(np.float32) * np.prod(list(scales), dtype=np.float32)

    def _content(self, tensor: int) -> bytes:
        """Return the bytes of a tensor: trained, or as in the image."""
        data = self._tensors.get(tensor)
        expected = int(self._image.tensors[tensor]["bytes"])
        if data is None:
            return self._image.initial(tensor)
        if len(data) != expected:
            raise ImageError(
                f"trained state: tensor {tensor} has {len(data)} bytes, the model image says {expected}"
            )
        return data


def _before_pool(layer: Any, in_shape: Shape, out: Shape) -> Shape:
    """Return the map under a fused 2×2 pool: with the odd last row and column that symmetric padding gives."""
    sizes = []
    for axis, (kernel, stride, pad) in enumerate(
        (("kernel_h", "stride_h", "pad_top"), ("kernel_w", "stride_w", "pad_left"))
    ):
        symmetric = (in_shape[axis] + 2 * int(layer[pad]) - int(layer[kernel])) // int(layer[stride]) + 1
        sizes.append(symmetric if symmetric // 2 == out[axis] else 2 * out[axis])
    return sizes[0], sizes[1], out[2]


def _activation(flags: int) -> Activation:
    if flags & LayerFlag.RELU6:
        return "relu6"
    return "relu" if flags & LayerFlag.RELU else "linear"
