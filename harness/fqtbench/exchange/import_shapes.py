"""ONNX nodes without weights: pools, reshaping, what vanishes, and the shape arithmetic that exporters leave behind."""

from typing import Final

import numpy as np

from fqtbench.exchange.graph import Constant, Node, constant_of
from fqtbench.exchange.sequence import Layout, Sequence, Value

_MAX_SHAPE_VALUES: Final = 64  # a computed shape has a handful; a file that lets it grow is hostile


def pool(sequence: Sequence, node: Node) -> None:
    """MaxPool or AveragePool over windows that lie side by side."""
    value = sequence.map_above(node)
    rank = 2 if value.layout == "map" else 1
    kernel = node.integers("kernel_shape", ())
    strides = node.integers("strides", (1,) * rank)
    if len(kernel) != rank or len(strides) != rank or not all(1 <= k <= 255 for k in (*kernel, *strides)):
        raise node.refusal(
            f"kernel_shape {list(kernel)}, strides {list(strides)}", f"use {rank} values of 1 to 255"
        )
    if any(d != 1 for d in node.integers("dilations", ())) or len([o for o in node.outputs if o]) > 1:
        raise node.refusal("dilations, or indices as a second output", "use a plain pool")
    size = value.shape[2 - rank : 2]
    out = tuple(s // k for s, k in zip(size, kernel, strict=True))
    for s, k, stride in zip(size, kernel, strides, strict=True):
        _check_window(node, s, k, stride)
    pair = (1, *kernel) if rank == 1 else kernel
    shape = (1, *out, value.shape[2]) if rank == 1 else (*out, value.shape[2])
    layer = {"type": "max_pool" if node.op == "MaxPool" else "average_pool", "size": pair}
    sequence.append(node, layer, value.layout, (shape[0], shape[1], shape[2]))


def _check_window(node: Node, size: int, kernel: int, stride: int) -> None:
    padded = any(node.integers("pads", ())) or (
        node.text("auto_pad", "NOTSET").startswith("SAME") and size % stride
    )
    if padded:
        raise node.refusal("it pads its input", "use a pool without padding")
    if node.integer("ceil_mode", 0) and size % kernel:
        raise node.refusal(f"ceil_mode on a size of {size}, no multiple of {kernel}", "use ceil_mode=False")
    if size < kernel:
        raise node.refusal(f"a window of {kernel} on a size of {size}", "use a smaller window")
    alone = (size - kernel) // stride == 0 and size // kernel == 1  # one window: its stride says nothing
    if stride != kernel and not alone:
        raise node.refusal(
            f"windows of {kernel} every {stride} overlap or leave gaps", "use strides equal to the kernel"
        )


def global_average_pool(sequence: Sequence, node: Node) -> None:
    """GlobalAveragePool."""
    value = sequence.map_above(node)
    sequence.append(node, {"type": "global_average_pool"}, value.layout, (1, 1, value.shape[2]))


def reduce_mean(sequence: Sequence, node: Node) -> None:
    """ReduceMean over height and width (or length): a global average pool."""
    value = sequence.map_above(node)
    wanted = {2, 3} if value.layout == "map" else {2}
    axes = _axes(sequence, node, len(value.onnx_dims()))
    if axes != wanted:
        raise node.refusal(
            f"a mean over axes {sorted(axes)}", f"only one over {sorted(wanted)} is a global average pool"
        )
    layout: Layout = value.layout if node.integer("keepdims", 1) else "row"
    sequence.append(node, {"type": "global_average_pool"}, layout, (1, 1, value.shape[2]))


def _axes(sequence: Sequence, node: Node, rank: int) -> set[int]:
    array = sequence.constant(node, 1, "axes")
    axes = [int(axis) for axis in array.reshape(-1)] if array is not None else list(node.integers("axes", ()))
    return {axis + rank if axis < 0 else axis for axis in axes}


def flatten(sequence: Sequence, node: Node) -> None:
    """Flatten of all but the batch."""
    value = sequence.above(node)
    if node.integer("axis", 1) not in (1, 1 - len(value.onnx_dims())):
        raise node.refusal(f"axis {node.integer('axis', 1)}", "use axis 1")
    _to_row(sequence, node, value)


def reshape(sequence: Sequence, node: Node) -> None:
    """Reshape to (N, F)."""
    target = sequence.constant(node, 1, "shape")
    value = sequence.above(node)
    dims = [] if target is None else [int(d) for d in target.reshape(-1)]
    to_row = len(dims) == 2 and dims[0] in (0, 1, -1) and dims[1] in (-1, value.size) and dims != [-1, -1]
    if not to_row or (node.integer("allowzero", 0) and 0 in dims):  # there a 0 says: no elements
        raise node.refusal(
            f"from {value.onnx_dims()} to {dims}", "only Reshape to a row (N, -1) is known: use Flatten"
        )
    _to_row(sequence, node, value)


def _to_row(sequence: Sequence, node: Node, value: Value) -> None:
    h, w, c = value.shape
    if value.layout == "row":
        sequence.pass_on(node, value)
    elif (h, w) == (1, 1):
        sequence.pass_on(node, Value(value.layer, "row", value.shape))
    else:
        sequence.append(node, {"type": "flatten"}, "row", (1, 1, h * w * c), flattened=value.shape)


def squeeze(sequence: Sequence, node: Node) -> None:
    """Squeeze of height and width of 1×1 maps, or of the height of maps of height 1."""
    if sequence.is_constant(node, 0):
        compute_shape(sequence, node)
        return
    value = sequence.above(node)
    dims = value.onnx_dims()
    axes = _axes(sequence, node, len(dims))
    left = [d for axis, d in enumerate(dims) if axis not in axes]
    if not axes or any(axis >= len(dims) or dims[axis] != 1 for axis in axes) or len(left) == 1:
        raise node.refusal(f"axes {sorted(axes)} of {dims}", "name the axes of size 1 behind the channels")
    h, w, c = value.shape
    if left == [0, c] and (h, w) == (1, 1):
        sequence.pass_on(node, Value(value.layer, "row", value.shape))
    elif value.layout == "map" and axes == {2}:
        sequence.pass_on(node, Value(value.layer, "series", value.shape))
    else:
        raise node.refusal(f"axes {sorted(axes)} of {dims}", "only height, or height and width, can go")


def unsqueeze(sequence: Sequence, node: Node) -> None:
    """Unsqueeze of a series to a map of height 1."""
    if sequence.is_constant(node, 0):
        compute_shape(sequence, node)
        return
    value = sequence.above(node)
    axes = _axes(sequence, node, len(value.onnx_dims()) + 1)
    if value.layout != "series" or axes != {2}:
        raise node.refusal(
            f"axes {sorted(axes)} of {value.onnx_dims()}", "only (N, C, L) to (N, C, 1, L) is known"
        )
    sequence.pass_on(node, Value(value.layer, "map", value.shape))


def identity(sequence: Sequence, node: Node) -> None:
    """Identity, of activations and of constants."""
    if sequence.is_constant(node, 0):
        sequence.constants[node.outputs[0]] = sequence.constants[node.inputs[0]]
    else:
        sequence.pass_on(node, sequence.value(node))


def dropout(sequence: Sequence, node: Node) -> None:
    """Dropout, which does nothing outside of training."""
    training = sequence.constant(node, 2, "training_mode")
    if training is not None and training.any():
        raise node.refusal("training_mode is set", "export the network in evaluation mode (model.eval())")
    sequence.pass_on(node, sequence.value(node))


def constant(sequence: Sequence, node: Node) -> None:
    """Constant."""
    sequence.constants[node.outputs[0]] = constant_of(node)


def transpose(sequence: Sequence, node: Node) -> None:
    """Transpose of a constant: weights that the exporter did not turn."""
    if not sequence.is_constant(node, 0):
        raise node.refusal("it turns an activation", "export the network with its input as (N, C, H, W)")
    array = sequence.constants[node.inputs[0]]
    axes = node.integers("perm", tuple(range(array.ndim))[::-1])
    if sorted(axes) != list(range(array.ndim)):
        raise node.refusal(f"perm {list(axes)} of {array.ndim} axes", "export the network again")
    sequence.constants[node.outputs[0]] = array.transpose(axes)


def shape(sequence: Sequence, node: Node) -> None:
    """Shape: known but for the batch, which is 0, Reshape's "as it is"."""
    if node.attributes:
        raise node.refusal("it takes a part of a shape", "use Flatten")
    sequence.constants[node.outputs[0]] = np.array(sequence.value(node).onnx_dims(), np.int64)


def compute_shape(sequence: Sequence, node: Node) -> None:
    """Gather, Concat, Unsqueeze and Squeeze on shapes, as ``x.view(x.size(0), -1)`` leaves them behind."""
    arrays = [sequence.constant(node, position, "input") for position in range(len(node.inputs))]
    known = [a for a in arrays if a is not None]
    if not known or any(a.dtype.kind not in "iu" or a.size > _MAX_SHAPE_VALUES for a in known):
        raise node.refusal("it computes something else than a shape", "use Flatten, and export it again")
    result = _computed(node, known)
    if result.size > _MAX_SHAPE_VALUES:
        raise node.refusal(f"a shape of {result.size} values", "export the network again")
    sequence.constants[node.outputs[0]] = result


def _computed(node: Node, arrays: list[Constant]) -> Constant:
    match node.op:
        case "Gather":
            return np.asarray(np.take(arrays[0], arrays[1], axis=node.integer("axis", 0)))
        case "Concat":
            return np.concatenate(arrays, axis=node.integer("axis", 0))
        case "Unsqueeze":
            return np.expand_dims(arrays[0], tuple(int(axis) for axis in arrays[1].reshape(-1)))
        case _:
            return np.squeeze(arrays[0])
