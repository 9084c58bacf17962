"""The list of layers that an ONNX graph becomes, while it grows: every layer takes the output of the one above."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import ImageError
from fqtbench.exchange.graph import Constant, Graph, Node

Shape = tuple[int, int, int]  # height, width, channels
Layout = Literal["map", "series", "row"]  # (N, C, H, W), (N, C, L), (N, F) in ONNX
Weights = tuple[NDArray[np.float32], NDArray[np.float32]]  # (F, KH, KW, C/groups), (F,)

INPUT: Final = -1  # the "layer" whose output is the sample
WEIGHTED: Final = ("conv2d", "depthwise_conv2d", "conv1d", "fully_connected")
_TRANSPARENT: Final = ("max_pool", "flatten")  # an activation may as well be applied before them


@dataclass(frozen=True)
class Value:
    """What a name of the graph stands for: the output of `layer`.

    `flattened`: of a row that was a map of this shape; ONNX has it in the order channel, height, width.
    """

    layer: int
    layout: Layout
    shape: Shape
    flattened: Shape | None = None

    @property
    def size(self) -> int:
        """Elements of one sample."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    def onnx_dims(self) -> list[int]:
        """Return the dimensions as ONNX has them, 0 for the batch."""
        h, w, c = self.shape
        return {"map": [0, c, h, w], "series": [0, c, w], "row": [0, c]}[self.layout]


class Sequence:
    """Layers as keys of `NetworkSpec`, their weights, and which value of the graph is which layer's output."""

    def __init__(self, graph: Graph) -> None:
        self.layers: list[dict[str, Any]] = []
        self.weights: dict[int, Weights] = {}
        self.constants: dict[str, Constant] = dict(graph.constants)
        self.input = _input_value(graph.dims)
        self._values: dict[str, Value] = {}
        self._readers = graph.readers
        self._extra_readers: Counter[int] = Counter()  # of a layer's output, beyond the first
        self._carry(graph.input, self.input)

    # -- reading

    def value(self, node: Node, position: int = 0) -> Value:
        """Return what input `position` of `node` stands for."""
        name = node.inputs[position] if position < len(node.inputs) else ""
        if name not in self._values:
            what = "a constant" if name in self.constants else "something that no layer gives"
            raise node.refusal(
                f"its input {position} is {what}, not an activation",
                "remove it from the network and export it again",
            )
        return self._values[name]

    def is_constant(self, node: Node, position: int) -> bool:
        """Whether input `position` is a constant."""
        return position < len(node.inputs) and node.inputs[position] in self.constants

    def constant(self, node: Node, position: int, what: str) -> Constant | None:
        """Return a constant input; None if it is left out."""
        if position >= len(node.inputs) or not node.inputs[position]:
            return None
        if not self.is_constant(node, position):
            raise node.refusal(
                f"its {what} is computed while the network runs", "export it with constant folding"
            )
        return self.constants[node.inputs[position]]

    def floats(self, node: Node, position: int, what: str) -> NDArray[np.float32] | None:
        """Return a constant float32 input, checked for being finite; None if it is left out."""
        array = self.constant(node, position, what)
        if array is None:
            return None
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise node.refusal(
                f"its {what} is not finite float32", "train the network again, or export it in float32"
            )
        return array

    def above(self, node: Node) -> Value:
        """Return input 0, which must be the output of the layer above."""
        value = self.value(node)
        if value.layer != len(self.layers) - 1:
            raise node.refusal(
                f"it reads {self._called(value.layer)} while {self._called(len(self.layers) - 1)} is the layer above: "
                "a branch with layers of its own (a projection on the skip path, an inception module)",
                "keep skip paths free of layers: only an Add may join an earlier output",
            )
        return value

    def map_above(self, node: Node) -> Value:
        """Return input 0, which must be a map or series, and the output of the layer above."""
        value = self.above(node)
        if value.layout == "row":
            raise node.refusal("its input is a row (N, F)", "put it before Flatten")
        return value

    def _called(self, layer: int) -> str:
        return (
            "the network's input"
            if layer == INPUT
            else f"the output of layer {layer} ({self.layers[layer]['type']})"
        )

    def check_ends(self, file: Path, output: str) -> None:
        """Refuse a graph whose output is not that of the last layer."""
        value = self._values.get(output)
        if value is None or value.layer != len(self.layers) - 1 or value.layer == INPUT:
            raise ImageError(
                f"{file}: its output is not that of its last layer; export the network with its logits alone"
            )

    # -- growing

    def append(
        self,
        node: Node,
        layer: dict[str, Any],
        layout: Layout,
        shape: Shape,
        weights: Weights | None = None,
        flattened: Shape | None = None,
    ) -> None:
        """Add a layer whose output is the first output of `node`."""
        self.layers.append(layer)
        index = len(self.layers) - 1
        if weights is not None:
            kernel, bias = weights
            self.weights[index] = (
                np.ascontiguousarray(kernel, np.float32),
                np.ascontiguousarray(bias, np.float32),
            )
        self._carry(node.outputs[0], Value(index, layout, shape, flattened))

    def pass_on(self, node: Node, value: Value) -> None:
        """Let the first output of `node` stand for `value`: no layer is needed."""
        self._carry(node.outputs[0], value)

    def _carry(self, name: str, value: Value) -> None:
        self._values[name] = value
        self._extra_readers[value.layer] += max(self._readers[name] - 1, 0)

    def name_of(self, layer: int) -> str:
        """Give a layer a name, by which an `add` refers to it."""
        name: str = self.layers[layer].setdefault("name", f"layer{layer}")
        return name

    # -- folding into a layer above

    def weighted_above(self, node: Node) -> int:
        """Return the layer with weights that `node` directly follows; refuse if it can't be folded into it."""
        value = self.value(node)
        layer = self.layers[value.layer] if value.layer != INPUT else {"type": "the network's input"}
        if layer["type"] not in WEIGHTED or layer["activation"] != "linear":
            activation = layer.get("activation", "linear")
            raise node.refusal(
                f"it follows {layer['type']}{'' if activation == 'linear' else f' with {activation}'}; "
                "it can only be folded into a convolution or Gemm directly before it",
                "put it there, or remove it and train again",
            )
        self._refuse_if_shared(node, value.layer)
        return value.layer

    def activate(self, node: Node, activation: Literal["relu", "relu6"]) -> None:
        """Fold an activation into the layer above, past pools and Flatten, with which it commutes."""
        value = self.value(node)
        layer = value.layer
        path = [layer]
        while layer != INPUT and self.layers[layer]["type"] in _TRANSPARENT:
            layer -= 1
            path.append(layer)
        if layer == INPUT or "activation" not in self.layers[layer]:
            after = "the network's input" if layer == INPUT else self.layers[layer]["type"]
            raise node.refusal(
                f"it follows {after}; activations are folded into convolution, Gemm or Add",
                "move it behind one of them",
            )
        present = self.layers[layer]["activation"]
        if present not in (activation, "relu6"):
            for passed in path:
                self._refuse_if_shared(node, passed)
            self.layers[layer]["activation"] = activation
        self.pass_on(node, value)

    def _refuse_if_shared(self, node: Node, layer: int) -> None:
        if self._extra_readers[layer]:
            raise node.refusal(
                f"{self._called(layer)} is read elsewhere, too, without it, so it can't be folded in",
                "let the skip path begin behind it",
            )


def _input_value(dims: tuple[int, ...]) -> Value:
    match dims:
        case (c, h, w):
            return Value(INPUT, "map", (h, w, c))
        case (c, length):
            return Value(INPUT, "series", (1, length, c))
        case _:
            return Value(INPUT, "row", (1, 1, dims[0]))
