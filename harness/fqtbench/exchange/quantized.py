"""A trained, quantized network that stands for itself: what ONNX and NPZ files are written from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import ImageError

Kind = Literal["convolution", "fully_connected", "max_pool", "average_pool", "flatten", "add"]
Activation = Literal["linear", "relu", "relu6"]
Shape = tuple[int, int, int]  # height, width, channels

INPUT: Final = -1
KINDS: Final[tuple[str, ...]] = get_args(Kind)
ACTIVATIONS: Final[tuple[str, ...]] = get_args(Activation)


class Quantization(NamedTuple):
    """real = scale · (q − zero_point), q uint8."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class QuantizedLayer:
    """One layer. It reads the output of layer `source` (INPUT: the sample), an add that of `other`, too.

    `pad` is (top, left, bottom, right). `weights` (F, KH, KW, C/groups), of a fully connected layer (F, 1, 1,
    inputs) with inputs in NHWC order: uint8 with `weight_quantization`, or float32 without. `bias` (F,) float32; beside
    uint8 weights it is rounded to units of s_x·s_w. `output` None: the output is float32, as the accumulators give it.
    """

    name: str
    kind: Kind
    source: int
    in_shape: Shape
    out_shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    activation: Activation = "linear"
    other: int | None = None
    weights: NDArray[Any] | None = None
    weight_quantization: Quantization | None = None
    bias: NDArray[np.float32] | None = None
    output: Quantization | None = None


@dataclass(frozen=True)
class QuantizedNetwork:
    """Layers in the order of computation; the last one's output are the logits. Samples are uint8 (h, w, c)."""

    in_shape: Shape
    input: Quantization
    layers: tuple[QuantizedLayer, ...]

    def check(self) -> None:
        """Raise ImageError, naming the layer, where the layers don't fit each other."""
        if not self.layers:
            raise ImageError("quantized network: it has no layers")
        for index, layer in enumerate(self.layers):
            for source in self._sources(layer):
                if not INPUT <= source < index:
                    raise ImageError(
                        f"quantized network: layer {layer.name} reads layer {source}, which is not before it"
                    )
            self._check_layer(layer)

    @staticmethod
    def _sources(layer: QuantizedLayer) -> Sequence[int]:
        return [layer.source] if layer.other is None else [layer.source, layer.other]

    def shape_of(self, index: int) -> Shape:
        """Shape of a layer's output, or of a sample."""
        return self.in_shape if index == INPUT else self.layers[index].out_shape

    def quantization_of(self, index: int) -> Quantization | None:
        """Quantization of a layer's output, or of a sample; None of float32."""
        return self.input if index == INPUT else self.layers[index].output

    def _check_layer(self, layer: QuantizedLayer) -> None:
        where = f"quantized network: layer {layer.name}"
        if layer.kind not in KINDS or layer.activation not in ACTIVATIONS:
            raise ImageError(
                f"{where}: unknown kind {layer.kind!r:.40} or activation {layer.activation!r:.40}"
            )
        if self.shape_of(layer.source) != layer.in_shape:
            raise ImageError(
                f"{where}: its input has shape {self.shape_of(layer.source)}, not {layer.in_shape}"
            )
        numbers = (*layer.in_shape, *layer.out_shape, *layer.kernel, *layer.stride, layer.groups)
        if min(numbers) < 1 or min(layer.pad) < 0 or max(*numbers, *layer.pad) > 0xFFFF:
            raise ImageError(f"{where}: a size is out of range")
        if (layer.kind == "add") != (layer.other is not None):
            raise ImageError(f"{where}: an add, and nothing else, has two inputs")
        if layer.other is not None and self.shape_of(layer.other) != layer.in_shape:
            raise ImageError(f"{where}: it adds shapes {layer.in_shape} and {self.shape_of(layer.other)}")
        for quantization in (layer.weight_quantization, layer.output, self.input):
            if quantization is not None and not (
                0 < quantization.scale < np.inf and 0 <= quantization.zero_point <= 255
            ):
                raise ImageError(f"{where}: scale {quantization.scale}, zero point {quantization.zero_point}")
        self._check_weights(layer, where)

    def _check_weights(self, layer: QuantizedLayer, where: str) -> None:
        weighted = layer.kind in ("convolution", "fully_connected")
        if not weighted:
            if layer.weights is not None or layer.bias is not None:
                raise ImageError(f"{where}: {layer.kind} with weights")
            return
        channels = layer.in_shape[2] // layer.groups
        expected = (layer.out_shape[2], *layer.kernel, channels)
        if layer.kind == "fully_connected":
            h, w, c = layer.in_shape
            expected = (layer.out_shape[2], 1, 1, h * w * c)
        if layer.weights is None or layer.weights.shape != expected:
            found = None if layer.weights is None else layer.weights.shape
            raise ImageError(f"{where}: weights of shape {found}, expected {expected}")
        if layer.bias is None or layer.bias.shape != expected[:1] or layer.bias.dtype != np.float32:
            raise ImageError(f"{where}: its bias is not float32 of shape {expected[:1]}")
        if layer.weights.dtype != (np.float32 if layer.weight_quantization is None else np.uint8):
            raise ImageError(
                f"{where}: weights of type {layer.weights.dtype}; float32 has no scale, uint8 needs one"
            )
        if layer.weight_quantization is not None and self.quantization_of(layer.source) is None:
            raise ImageError(f"{where}: quantized weights over float32 inputs")
