"""ONNX nodes with weights, and what is folded into them: Conv, Gemm, MatMul, Add, BatchNormalization, activations."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.exchange.graph import Node
from fqtbench.exchange.sequence import INPUT, Sequence, Value

_LARGEST_FLOAT: Final = 3.4e38  # exporters write an unbounded Clip so
_EXPORT: Final = "export the trained network, in evaluation mode (model.eval())"


def convolution(sequence: Sequence, node: Node) -> None:
    """Conv of maps (N, C, H, W) or series (N, C, L): conv2d, depthwise_conv2d or conv1d."""
    value = sequence.map_above(node)
    h, w, c = value.shape
    kernel = sequence.floats(node, 1, "weights")
    rank = 2 if value.layout == "map" else 1
    if kernel is None or kernel.ndim != rank + 2:
        raise node.refusal(
            f"weights of {0 if kernel is None else kernel.ndim} dimensions on a {value.layout}", _EXPORT
        )
    kernel = kernel if rank == 2 else kernel[:, :, None, :]
    filters, groups = len(kernel), node.integer("group", 1)
    if groups < 1 or filters % groups or c != kernel.shape[1] * groups:
        raise node.refusal(
            f"{filters} filters over {kernel.shape[1]} channels in {groups} groups don't fit {c} channels",
            _EXPORT,
        )
    if any(d != 1 for d in node.integers("dilations", ())):
        raise node.refusal(
            f"dilations {list(node.integers('dilations', ()))}", "use dilation 1, or a larger kernel"
        )
    size = kernel.shape[2], kernel.shape[3]
    if node.integers("kernel_shape", size[2 - rank :]) != size[2 - rank :]:
        raise node.refusal("its kernel_shape is not that of its weights", "export the network again")
    stride = _spatial(node, "strides", rank)
    padding, out = _padding(node, (h, w), size, stride, rank)
    bias = sequence.floats(node, 2, "bias")
    bias = np.zeros(filters, np.float32) if bias is None else bias
    if bias.shape != (filters,):
        raise node.refusal(f"a bias of shape {bias.shape} for {filters} filters", "export the network again")
    layer: dict[str, Any] = {"kernel": size, "stride": stride, "padding": padding, "activation": "linear"}
    if rank == 1:
        layer |= {"kernel": size[1], "stride": stride[1]}
        layer |= {"padding": padding if padding == "same" else padding[1]}
        layer |= {"type": "conv1d", "filters": filters, "groups": groups}
    elif groups == c == filters and groups > 1:
        layer |= {"type": "depthwise_conv2d"}
    else:
        layer |= {"type": "conv2d", "filters": filters, "groups": groups}
    weights = kernel.transpose(0, 2, 3, 1), bias
    sequence.append(node, layer, value.layout, (*out, filters), weights)


def _spatial(node: Node, attribute: str, rank: int) -> tuple[int, int]:
    """Return an attribute of one value per spatial axis as (height, width), 1 where it has none."""
    values = node.integers(attribute, (1,) * rank)
    if len(values) != rank or not all(1 <= value <= 255 for value in values):
        raise node.refusal(f"{attribute} {list(values)}", f"use {rank} values of 1 to 255")
    return (1, values[0]) if rank == 1 else (values[0], values[1])


def _padding(
    node: Node, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], rank: int
) -> tuple[tuple[int, int] | str, tuple[int, int]]:
    """Return the padding, symmetric (height, width) or "same", and the output's (height, width)."""
    same_out = -(-size[0] // stride[0]), -(-size[1] // stride[1])
    total = [max((same_out[i] - 1) * stride[i] + kernel[i] - size[i], 0) for i in (0, 1)]
    match auto := node.text("auto_pad", "NOTSET"):
        case "SAME_UPPER":
            return "same", same_out
        case "SAME_LOWER":
            if any(t % 2 for t in total):
                raise node.refusal("auto_pad SAME_LOWER pads more at the top or left", "use SAME_UPPER")
            return "same", same_out
        case "VALID":
            begin, end = [0, 0], [0, 0]
        case "NOTSET":
            pads = node.integers("pads", (0,) * 2 * rank)
            if len(pads) != 2 * rank or min(pads) < 0:
                raise node.refusal(f"pads {list(pads)}", f"use {2 * rank} values, none negative")
            begin, end = [0] * (2 - rank) + list(pads[:rank]), [0] * (2 - rank) + list(pads[rank:])
        case _:
            raise node.refusal(f"unknown auto_pad {auto[:20]}", "export the network again")
    out = [(size[i] + 2 * begin[i] - kernel[i]) // stride[i] + 1 for i in (0, 1)]
    written = [(size[i] + begin[i] + end[i] - kernel[i]) // stride[i] + 1 for i in (0, 1)]
    if out == written:  # symmetric, but for what no window reaches
        if min(out) < 1 or any(begin[i] >= kernel[i] for i in (0, 1)):
            raise node.refusal(
                f"kernel {kernel}, pads {begin} on a map of {size[0]}×{size[1]}",
                "use a kernel that fits, and less padding",
            )
        return (begin[0], begin[1]), (out[0], out[1])
    if begin != [t // 2 for t in total] or end != [t - t // 2 for t in total]:
        raise node.refusal(
            f"pads {begin} before and {end} behind are neither symmetric nor those of SAME_UPPER ({total} in all)",
            "pad evenly, or use SAME_UPPER",
        )
    return "same", same_out


def gemm(sequence: Sequence, node: Node) -> None:
    """Gemm: alpha·x·B + beta·C with constant B and C."""
    if node.integer("transA", 0):
        raise node.refusal("transA = 1", "export a plain fully connected layer")
    kernel = sequence.floats(node, 1, "weights")
    if kernel is not None and not node.integer("transB", 0):
        kernel = kernel.T
    bias = sequence.floats(node, 2, "bias")
    units = 0 if kernel is None else len(kernel)
    bias = np.zeros(units, np.float32) if bias is None else _per_channel(node, bias, units, "row")
    alpha, beta = np.float32(node.number("alpha", 1.0)), np.float32(node.number("beta", 1.0))
    _fully_connected(sequence, node, None if kernel is None else kernel * alpha, bias * beta)


def matmul(sequence: Sequence, node: Node) -> None:
    """MatMul with constant weights on the right; an Add behind it brings the bias."""
    kernel = sequence.floats(node, 1, "weights")
    units = kernel.shape[-1] if kernel is not None and kernel.ndim else 0
    _fully_connected(sequence, node, None if kernel is None else kernel.T, np.zeros(units, np.float32))


def _fully_connected(
    sequence: Sequence, node: Node, kernel: NDArray[np.float32] | None, bias: NDArray[np.float32]
) -> None:
    value = sequence.above(node)
    if value.layout != "row":
        raise node.refusal(f"its input is a {value.layout}, not a row (N, F)", "put a Flatten before it")
    if kernel is None or kernel.ndim != 2 or kernel.shape[1] != value.size:
        shape = None if kernel is None else kernel.shape
        raise node.refusal(f"weights (units, inputs) of shape {shape} on {value.size} inputs", _EXPORT)
    if value.flattened is not None:
        h, w, c = value.flattened
        kernel = kernel.reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(len(kernel), -1)
    layer = {"type": "fully_connected", "units": len(kernel), "activation": "linear"}
    sequence.append(node, layer, "row", (1, 1, len(kernel)), (kernel[:, None, None, :], bias))


def add(sequence: Sequence, node: Node) -> None:
    """Add: a bias if one side is a constant, else a residual add."""
    if sequence.is_constant(node, 0) or sequence.is_constant(node, 1):
        _add_bias(sequence, node)
        return
    first, second = sequence.value(node, 0), sequence.value(node, 1)
    last = len(sequence.layers) - 1
    above, other = (first, second) if first.layer == last else (second, first)
    if above.layer != last or above.layer == other.layer:
        raise node.refusal(
            "one of its inputs must be the output of the layer above, the other an earlier one: a skip path with "
            "layers of its own can't be expressed",
            "keep skip paths free of layers",
        )
    if other.layer == INPUT:
        raise node.refusal("it adds the network's input", "put a convolution before the residual block")
    if (above.shape, above.layout, above.flattened) != (other.shape, other.layout, other.flattened):
        raise node.refusal(
            f"it adds {other.onnx_dims()[1:]} to {above.onnx_dims()[1:]}",
            "only outputs of the same shape can be added",
        )
    layer = {"type": "add", "with": sequence.name_of(other.layer), "activation": "linear"}
    sequence.append(node, layer, above.layout, above.shape, flattened=above.flattened)


def _add_bias(sequence: Sequence, node: Node) -> None:
    position = 1 if sequence.is_constant(node, 1) else 0
    array = sequence.floats(node, position, "constant")
    turned = Node(node.file, node.op, node.name, node.inputs[::-1], node.outputs, node.attributes)
    node = node if position == 1 else turned
    value = sequence.value(node)
    layer = sequence.weighted_above(node)
    assert array is not None
    kernel, bias = sequence.weights[layer]
    sequence.weights[layer] = kernel, bias + _per_channel(node, array, len(bias), value.layout)
    sequence.pass_on(node, value)


def _per_channel(node: Node, array: NDArray[np.float32], channels: int, layout: str) -> NDArray[np.float32]:
    """Return a constant that is added to (N, channels, …) as (channels,)."""
    rank = {"map": 4, "series": 3, "row": 2}[layout]
    shape = (1,) * (rank - array.ndim) + array.shape
    if (
        len(shape) != rank
        or any(size != 1 for axis, size in enumerate(shape) if axis != 1)
        or shape[1] not in (1, channels)
    ):
        raise node.refusal(
            f"a constant of shape {array.shape} is no bias of {channels} channels", "use one value a channel"
        )
    return np.broadcast_to(array.reshape(-1), (channels,)).astype(np.float32)


def batch_normalization(sequence: Sequence, node: Node) -> None:
    """BatchNormalization: folded into weights and bias of the layer before it, in float64."""
    if node.integer("training_mode", 0):
        raise node.refusal("training_mode = 1", _EXPORT)
    value = sequence.value(node)
    layer = sequence.weighted_above(node)
    kernel, bias = sequence.weights[layer]
    rows = []
    for position, what in enumerate(("scale", "bias", "mean", "variance"), 1):
        row = sequence.floats(node, position, what)
        if row is None or row.shape != bias.shape:
            raise node.refusal(
                f"its {what} has not one value for each of {len(bias)} channels", "export it again"
            )
        rows.append(row.astype(np.float64))
    gamma, beta, mean, variance = rows
    spread = variance + node.number("epsilon", 1e-5)
    if spread.min() <= 0:
        raise node.refusal("a variance is not positive", "train the network again")
    factor = gamma / np.sqrt(spread)
    folded = (kernel * factor[:, None, None, None]).astype(np.float32)
    sequence.weights[layer] = folded, ((bias - mean) * factor + beta).astype(np.float32)
    sequence.pass_on(node, value)


def relu(sequence: Sequence, node: Node) -> None:
    """Relu: folded into the layer above."""
    sequence.activate(node, "relu")


def clip(sequence: Sequence, node: Node) -> None:
    """Clip(0, 6) is ReLU6, Clip(0, ∞) ReLU; no other can be folded."""
    low, high = (_bound(sequence, node, position) for position in (1, 2))
    if low != 0 or high not in (6.0, None):
        raise node.refusal(
            f"bounds {low} and {high}", "only Clip(0, 6), that is ReLU6, and ReLU can be folded"
        )
    sequence.activate(node, "relu" if high is None else "relu6")


def _bound(sequence: Sequence, node: Node, position: int) -> float | None:
    array = sequence.constant(node, position, "bound")
    if array is None or array.size != 1:
        return None
    bound = float(array.reshape(()))
    return None if abs(bound) >= _LARGEST_FLOAT else bound


def check_is_logits(sequence: Sequence, node: Node) -> None:
    """Softmax or LogSoftmax at the end is dropped: the engine's loss has its own."""
    value: Value = sequence.above(node)
    if value.layout != "row" or node.integer("axis", -1) not in (1, -1):
        raise node.refusal("it isn't taken over the classes of a row (N, classes)", "remove it")
    sequence.pass_on(node, value)
