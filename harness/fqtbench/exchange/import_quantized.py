"""QuantizeLinear and DequantizeLinear: a network exported by fqtbench, or quantized elsewhere, as a float one.

Activations get new ranges when the network is compiled, so theirs are dropped; quantized weights become float32.
"""

from typing import Final

import numpy as np

from fqtbench.exchange.graph import Constant, Node
from fqtbench.exchange.sequence import Sequence

_AGAIN: Final = "export the network again"


def quantize(sequence: Sequence, node: Node) -> None:
    """QuantizeLinear of an activation."""
    if sequence.is_constant(node, 0):
        raise node.refusal("it quantizes a constant", "export the weights quantized, or in float32")
    sequence.pass_on(node, sequence.value(node))


def dequantize(sequence: Sequence, node: Node) -> None:
    """DequantizeLinear: of an activation nothing, of weights (q − zero)·scale, for a tensor or along an axis."""
    if not sequence.is_constant(node, 0):
        sequence.pass_on(node, sequence.value(node))
        return
    quantized = sequence.constants[node.inputs[0]]
    if quantized.dtype.kind not in "iu":
        raise node.refusal(f"weights of type {quantized.dtype}", _AGAIN)
    scale = sequence.floats(node, 1, "scale")
    if scale is None:
        raise node.refusal("its scale is missing", _AGAIN)
    zero = sequence.constant(node, 2, "zero point")
    zero = np.zeros_like(scale) if zero is None else zero.astype(np.float32)
    axis = node.integer("axis", 1)
    centred = quantized.astype(np.float32) - _along(node, zero, quantized, axis)
    sequence.constants[node.outputs[0]] = centred * _along(node, scale, quantized, axis)


def _along(node: Node, values: Constant, of: Constant, axis: int) -> Constant:
    """Shape one value, or as many as `of` has along `axis`, for broadcasting."""
    if values.size == 1:
        return values.reshape(())
    if not -of.ndim <= axis < of.ndim or values.shape != (of.shape[axis],):
        raise node.refusal(f"{values.size} scales or zero points for weights of shape {of.shape}", _AGAIN)
    shape = [1] * of.ndim
    shape[axis] = -1
    return values.reshape(shape)
