"""A trained network as a quantized ONNX file in QDQ form, as onnxruntime and vendors' converters take it.

Input ``input``: float32 (N, C, H, W) in real units (a pixel's 0..255 as 0..1), N free. Unless all is float32, the first
node quantizes it with the training's own scale, so that samples seen in training give the same integers. Output
``logits``: float32 (N, classes). Activations and weights are uint8 per tensor, biases int32 with scale s_x·s_w; float32
layers stay so.

The board requantizes by a multiplier of 15 bits and rounds halves up; onnxruntime divides floats and rounds halves to
even. A quantized activation may therefore differ by one quantum (docs/onnx.md says what that means for predictions).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

import fqtbench
from fqtbench.errors import ImageError
from fqtbench.exchange.onnx_file import require_onnx
from fqtbench.exchange.quantized import INPUT, Quantization, QuantizedLayer, QuantizedNetwork, Shape
from fqtbench.training import arithmetic as ar

if TYPE_CHECKING:
    import onnx

OPSET: Final = 17
IR_VERSION: Final = 8  # onnxruntime ≥ 1.13 reads it
INPUT_NAME: Final = "input"
OUTPUT_NAME: Final = "logits"


def export_onnx(network: QuantizedNetwork, path: Path) -> None:
    """Write `network` to `path`; ImageError where a layer can't be expressed, UsageError without the package onnx."""
    path.write_bytes(to_onnx(network).SerializeToString())


def to_onnx(network: QuantizedNetwork) -> "onnx.ModelProto":
    """Return the model, checked by onnx.checker."""
    network.check()
    return _Writer(network).model()


class _Writer:
    """Nodes and initializers in the making; `_value` has the float name of each layer's output."""

    def __init__(self, network: QuantizedNetwork) -> None:
        self._onnx, self._network = require_onnx(), network
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self._value: dict[int, str] = {}
        self._row_of: dict[
            int, Shape | None
        ] = {}  # layer -> shape of the map that its row was, in ONNX order C, H, W
        self._is_row: dict[int, bool] = {INPUT: False}
        quantized = any(layer.output is not None for layer in network.layers)
        self._value[INPUT] = (
            self._requantized("input", INPUT_NAME, network.input) if quantized else INPUT_NAME
        )
        self._row_of[INPUT] = None
        for index, layer in enumerate(network.layers):
            self._add_layer(index, layer)

    def model(self) -> "onnx.ModelProto":
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        h, w, c = self._network.in_shape
        last = len(self._network.layers) - 1
        if not self._is_row[last]:
            raise ImageError(
                f"layer {self._network.layers[last].name}: it gives a map; the logits of a network are a row"
            )
        self._node("Identity", [self._value[last]], OUTPUT_NAME)
        graph = helper.make_graph(
            self._nodes,
            "fqtbench",
            [helper.make_tensor_value_info(INPUT_NAME, kind, ["N", c, h, w])],
            [
                helper.make_tensor_value_info(
                    OUTPUT_NAME, kind, ["N", self._network.layers[last].out_shape[2]]
                )
            ],
            self._initializers,
        )
        model: onnx.ModelProto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="fqtbench",
            producer_version=fqtbench.__version__,
            doc_string=__doc__,
        )
        scale, zero_point = self._network.input
        helper.set_model_props(model, {"input_scale": repr(scale), "input_zero_point": str(zero_point)})
        self._onnx.checker.check_model(model, full_check=True)
        return model

    # -- nodes

    def _node(self, op: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        node = self._onnx.helper.make_node(op, list(inputs), [output], name=f"{output}:{op}", **attributes)
        self._nodes.append(node)
        return output

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._initializers.append(self._onnx.numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def _parameters(self, name: str, quantization: Quantization) -> list[str]:
        return [
            self._constant(f"{name}/scale", np.array(quantization.scale, np.float32)),
            self._constant(f"{name}/zero_point", np.array(quantization.zero_point, np.uint8)),
        ]

    def _requantized(self, name: str, value: str, quantization: Quantization) -> str:
        """Quantize and dequantize `value`."""
        parameters = self._parameters(name, quantization)
        quantized = self._node("QuantizeLinear", [value, *parameters], f"{name}/quantized")
        return self._node("DequantizeLinear", [quantized, *parameters], f"{name}/dequantized")

    # -- layers

    def _add_layer(self, index: int, layer: QuantizedLayer) -> None:
        name, source = f"{index}.{layer.name}", layer.source
        needs_map = layer.kind in ("convolution", "max_pool", "average_pool")
        if needs_map and self._is_row[source]:
            raise ImageError(
                f"layer {layer.name}: a {layer.kind} behind Flatten or a fully connected layer has no ONNX form"
            )
        self._is_row[index] = layer.kind in ("flatten", "fully_connected") or (
            layer.kind == "add" and self._is_row[source]
        )
        self._row_of[index] = None if layer.kind == "fully_connected" else self._row_of[source]
        match layer.kind:
            case "convolution":
                out = self._convolution(name, layer)
            case "fully_connected":
                out = self._fully_connected(name, layer)
            case "max_pool" | "average_pool":
                out = self._pool(name, layer)
            case "flatten":
                out = self._flattened(name, source)
                if not self._is_row[source]:
                    self._row_of[index] = layer.in_shape
            case "add":
                out = self._add(name, layer)
        out = self._activated(name, layer, out)
        self._value[index] = out if layer.output is None else self._requantized(name, out, layer.output)

    def _flattened(self, name: str, source: int) -> str:
        if self._is_row[source]:
            return self._value[source]
        return self._node("Flatten", [self._value[source]], f"{name}/row", axis=1)

    def _convolution(self, name: str, layer: QuantizedLayer) -> str:
        assert layer.weights is not None
        parameters = self._weights(name, layer, layer.weights.transpose(0, 3, 1, 2))
        return self._node(
            "Conv",
            [self._value[layer.source], *parameters],
            f"{name}/conv",
            kernel_shape=list(layer.kernel),
            strides=list(layer.stride),
            pads=list(layer.pad),
            group=layer.groups,
        )

    def _fully_connected(self, name: str, layer: QuantizedLayer) -> str:
        assert layer.weights is not None
        rows = layer.weights.reshape(len(layer.weights), -1)
        shape = self._row_of[layer.source] if self._is_row[layer.source] else layer.in_shape
        if shape is not None:
            rows = rows.reshape(-1, *shape).transpose(0, 3, 1, 2).reshape(len(rows), -1)
        source = self._flattened(name, layer.source)
        return self._node("Gemm", [source, *self._weights(name, layer, rows)], f"{name}/gemm", transB=1)

    def _weights(self, name: str, layer: QuantizedLayer, kernel: NDArray[Any]) -> list[str]:
        """Return the names of weights and bias, dequantized if they are quantized."""
        assert layer.bias is not None
        quantization = layer.weight_quantization
        weights = self._constant(f"{name}/weights", kernel)
        if quantization is None:
            return [weights, self._constant(f"{name}/bias", layer.bias)]
        weights = self._node(
            "DequantizeLinear",
            [weights, *self._parameters(weights, quantization)],
            f"{name}/weights/dequantized",
        )
        source = self._network.quantization_of(layer.source)
        assert source is not None
        unit = np.float32(quantization.scale) * np.float32(source.scale)
        folded = self._constant(f"{name}/bias", ar.round_to_int(layer.bias / unit).astype(np.int32))
        scale = self._constant(f"{name}/bias/scale", np.array(unit, np.float32))
        return [weights, self._node("DequantizeLinear", [folded, scale], f"{name}/bias/dequantized")]

    def _pool(self, name: str, layer: QuantizedLayer) -> str:
        source = self._value[layer.source]
        if layer.kind == "average_pool" and layer.kernel == layer.in_shape[:2]:
            return self._node("GlobalAveragePool", [source], f"{name}/pool")
        op = "MaxPool" if layer.kind == "max_pool" else "AveragePool"
        window = {"kernel_shape": list(layer.kernel), "strides": list(layer.stride)}
        return self._node(op, [source], f"{name}/pool", **window)

    def _add(self, name: str, layer: QuantizedLayer) -> str:
        assert layer.other is not None
        source, other = layer.source, layer.other
        if (self._is_row[source], self._row_of[source]) != (self._is_row[other], self._row_of[other]):
            raise ImageError(f"layer {layer.name}: it adds rows whose elements ONNX has in different orders")
        return self._node("Add", [self._value[source], self._value[other]], f"{name}/sum")

    def _activated(self, name: str, layer: QuantizedLayer, value: str) -> str:
        match layer.activation:
            case "relu":
                return self._node("Relu", [value], f"{name}/relu")
            case "relu6":
                bounds = [self._constant(f"{name}/{b}", np.array(b, np.float32)) for b in (0, 6)]
                return self._node("Clip", [value, *bounds], f"{name}/relu6")
            case _:
                return value
