"""From an ONNX network, float or quantized, to a specification and float32 weights.

ONNX has maps as (N, C, H, W); here they are (h, w, c), and weights of a fully connected layer behind a Flatten are
permuted to match. The graph must be a chain, but for residual adds. Whatever can't be expressed is refused by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import ValidationError

from fqtbench.errors import ImageError
from fqtbench.exchange import import_quantized as quantized
from fqtbench.exchange import import_shapes as shapes
from fqtbench.exchange import import_weighted as weighted
from fqtbench.exchange.graph import Graph, Node, read_graph
from fqtbench.exchange.onnx_file import read_model
from fqtbench.exchange.sequence import Sequence, Shape, Weights
from fqtbench.schema import nearest
from fqtbench.training.spec import NetworkSpec

_LAST: Final = ("Softmax", "LogSoftmax")
_HANDLERS: Final[Mapping[str, Callable[[Sequence, Node], None]]] = {
    "Add": weighted.add,
    "AveragePool": shapes.pool,
    "BatchNormalization": weighted.batch_normalization,
    "Clip": weighted.clip,
    "Concat": shapes.compute_shape,
    "Constant": shapes.constant,
    "Conv": weighted.convolution,
    "DequantizeLinear": quantized.dequantize,
    "Dropout": shapes.dropout,
    "Flatten": shapes.flatten,
    "Gather": shapes.compute_shape,
    "Gemm": weighted.gemm,
    "GlobalAveragePool": shapes.global_average_pool,
    "Identity": shapes.identity,
    "LogSoftmax": weighted.check_is_logits,
    "MatMul": weighted.matmul,
    "MaxPool": shapes.pool,
    "QuantizeLinear": quantized.quantize,
    "ReduceMean": shapes.reduce_mean,
    "Relu": weighted.relu,
    "Reshape": shapes.reshape,
    "Shape": shapes.shape,
    "Softmax": weighted.check_is_logits,
    "Squeeze": shapes.squeeze,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
}


@dataclass(frozen=True)
class ImportedNetwork:
    """A network with its weights.

    `weights`, by position in `spec.layers`: float32 kernel (F, KH, KW, C/groups) and bias (F,); a fully connected
    layer's kernel is (units, 1, 1, inputs), inputs in NHWC order. `in_shape` is that of a sample, (h, w, c).
    `sha256` is the file's.
    """

    spec: NetworkSpec
    weights: dict[int, Weights]
    in_shape: Shape
    sha256: str


def import_onnx(path: Path) -> ImportedNetwork:
    """Read an ONNX network of opset 13 to 21.

    Raises ImageError that names file, node, operator, reason and remedy where the network can't be expressed, or the
    file is malformed; UsageError if the package onnx is missing.
    """
    model, sha256 = read_model(path)
    graph = read_graph(path, model)
    with np.errstate(over="ignore", invalid="ignore"):
        sequence = _walk(graph)
    for index, (kernel, bias) in sequence.weights.items():
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise ImageError(
                f"{path}: layer {index} ({sequence.layers[index]['type']}): its weights overflow when what follows is "
                "folded into them; train the network again"
            )
    try:
        spec = NetworkSpec.model_validate({"layers": sequence.layers})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ImageError(
            f"{path}: {where + ': ' if where else ''}{message}; change the network and export it again"
        ) from error
    return ImportedNetwork(spec, sequence.weights, sequence.input.shape, sha256)


def _walk(graph: Graph) -> Sequence:
    sequence = Sequence(graph)
    ended: Node | None = None
    for node in graph.nodes:
        if ended is not None and node.op != "Identity":
            raise ended.refusal(
                "it isn't the last operation", "only a final softmax can be dropped: remove this one"
            )
        handler = _HANDLERS.get(node.op)
        if handler is None:
            raise node.refusal(
                f"this operator is not supported{nearest(node.op, _HANDLERS)}", "replace it and train again"
            )
        try:
            handler(sequence, node)
        except (
            ValueError,
            TypeError,
            IndexError,
            OverflowError,
        ) as error:  # NumPy's view of a malformed node
            raise node.refusal(f"it is malformed ({error})", "export the network again") from error
        ended = node if node.op in _LAST else ended
    sequence.check_ends(graph.file, graph.output)
    return sequence
