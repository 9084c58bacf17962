"""The nodes of an ONNX graph that its output depends on, and their constants, as Python values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import ImageError
from fqtbench.exchange.onnx_file import require_onnx
from fqtbench.exchange.text import printable

if TYPE_CHECKING:
    import onnx

Constant = NDArray[Any]
_MAX_RANK: Final = 4
_MAX_SIZE: Final = 65_535  # the format's limit of a dimension


@dataclass(frozen=True)
class Node:
    """One node. `name` is what messages call it: its own name, or that of its output."""

    file: Path
    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def refusal(self, reason: str, advice: str) -> ImageError:
        """Return the error that says why this node can't become a layer, and what to do."""
        return ImageError(f"{self.file}: node {self.name} ({self.op}): {reason}; {advice}")

    def integer(self, attribute: str, default: int) -> int:
        """Return an integer attribute."""
        return int(self.attributes.get(attribute, default))

    def integers(self, attribute: str, default: Sequence[int]) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        return tuple(int(value) for value in self.attributes.get(attribute, default))

    def number(self, attribute: str, default: float) -> float:
        """Return a float attribute."""
        return float(self.attributes.get(attribute, default))

    def text(self, attribute: str, default: str) -> str:
        """Return a string attribute."""
        value = self.attributes.get(attribute, default)
        return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class Graph:
    """What is needed of a graph: nodes in topological order, one input, one output, and its constants.

    `dims` is the input's shape without the batch. `readers` counts how many nodes (or the graph's output) read a
    value.
    """

    file: Path
    nodes: tuple[Node, ...]
    input: str
    dims: tuple[int, ...]
    output: str
    constants: dict[str, Constant]
    readers: Counter[str]


def read_graph(file: Path, model: "onnx.ModelProto") -> Graph:
    """Return the graph of a checked model; ImageError if it hasn't one float input of known shape and one output."""
    graph = model.graph
    constants = {tensor.name: _array(file, tensor.name, tensor) for tensor in graph.initializer}
    if len(graph.output) != 1:
        raise ImageError(
            f"{file}: it has {len(graph.output)} outputs; export the network with its logits alone"
        )
    output = graph.output[0].name
    nodes = _needed([_node(file, node) for node in graph.node], output)
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise ImageError(
            f"{file}: it has {len(inputs)} inputs; a network on the board takes one sample, nothing else"
        )
    readers = Counter(name for node in nodes for name in node.inputs)
    readers[output] += 1
    return Graph(file, nodes, inputs[0].name, _input_dims(file, inputs[0]), output, constants, readers)


def _needed(nodes: Sequence[Node], output: str) -> tuple[Node, ...]:
    """Keep the nodes that `output` depends on."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            wanted.update(filter(None, node.inputs))  # "" stands for an optional input left out
            kept.append(node)
    return tuple(reversed(kept))


def _node(file: Path, node: "onnx.NodeProto") -> Node:
    helper = require_onnx().helper
    name = printable(node.name or (node.output[0] if node.output else "?"))
    op = printable(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}")
    try:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    except ValueError as error:
        raise ImageError(
            f"{file}: node {name} ({op}): an attribute of unknown type; export it again"
        ) from error
    return Node(file, op, name, tuple(node.input), tuple(node.output), attributes)


def _input_dims(file: Path, value: "onnx.ValueInfoProto") -> tuple[int, ...]:
    onnx = require_onnx()
    name, kind = printable(value.name), value.type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        raise ImageError(
            f"{file}: input {name} is not float32; import the float network, before quantization"
        )
    dims = [int(d.dim_value) if d.HasField("dim_value") else 0 for d in kind.shape.dim][1:]
    if not 1 <= len(dims) < _MAX_RANK or not all(1 <= d <= _MAX_SIZE for d in dims):
        raise ImageError(
            f"{file}: input {name} must be (N, C, H, W), (N, C, L) or (N, F) with every size but N known and at most "
            f"{_MAX_SIZE}; export it with a sample of the data set's shape"
        )
    return tuple(dims)


def _array(file: Path, name: str, tensor: "onnx.TensorProto") -> Constant:
    onnx = require_onnx()
    try:
        array: Constant = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise ImageError(
            f"{file}: constant {printable(name)}: its data don't fit its shape; export it again"
        ) from error
    if array.dtype.kind not in "fiub" or (array.dtype.kind == "f" and array.dtype != np.float32):
        raise ImageError(
            f"{file}: constant {printable(name)} is {array.dtype}; import the network in float32 (model.float())"
        )
    return array


def constant_of(node: Node) -> Constant:
    """Return the value of a Constant node."""
    for name, value in node.attributes.items():
        match name:
            case "value":
                return _array(node.file, node.name, value)
            case "value_float" | "value_floats":
                return np.asarray(value, np.float32)
            case "value_int" | "value_ints":
                return np.asarray(value, np.int64)
    raise node.refusal("its value is no dense tensor of numbers", "export the network again")
