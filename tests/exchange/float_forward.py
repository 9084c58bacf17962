"""Float forward pass of a specification with given weights, in plain NumPy: what an imported network must compute."""

import numpy as np
from numpy.typing import NDArray

from fqtbench.exchange.sequence import Weights
from fqtbench.training.network import Layer, resolve
from fqtbench.training.spec import Add, Flatten, LayerSpec, MaxPool, NetworkSpec

Array = NDArray[np.float64]


def float_forward(spec: NetworkSpec, weights: dict[int, Weights], sample: NDArray[np.float32]) -> Array:
    """Return the logits of one sample (h, w, c)."""
    n_classes = spec.layers[-1].units  # type: ignore[union-attr]
    shapes = {layer.spec: layer for layer in _unfused(spec, sample.shape, n_classes)}
    x = sample.astype(np.float64)
    named: dict[str, Array] = {}
    for index, layer in enumerate(spec.layers):
        x = _apply(layer, shapes[index], weights.get(index), x, named)
        if layer.name is not None:
            named[layer.name] = x
    return x.reshape(-1)


def _unfused(spec: NetworkSpec, shape: tuple[int, ...], n_classes: int) -> tuple[Layer, ...]:
    """Return the layers with their shapes; the float32 configuration fuses nothing."""
    return resolve(spec, (shape[0], shape[1], shape[2]), n_classes, "float32")


def _apply(
    layer: LayerSpec, shape: Layer, weights: Weights | None, x: Array, named: dict[str, Array]
) -> Array:
    if weights is not None:
        y = _convolve(shape, weights, x)
    elif isinstance(layer, Add):
        y = x + named[layer.other]
    elif isinstance(layer, Flatten):
        return x.reshape(1, 1, -1)
    else:
        return _pool(x, shape, isinstance(layer, MaxPool))
    match layer.activation:  # type: ignore[union-attr]
        case "relu":
            return np.maximum(y, 0)
        case "relu6":
            return np.clip(y, 0, 6)
        case _:
            return y


def _pool(x: Array, shape: Layer, largest: bool) -> Array:
    (h, w, c), (kh, kw) = shape.out_shape, shape.kernel
    blocks = x[: h * kh, : w * kw].reshape(h, kh, w, kw, c)
    return blocks.max(axis=(1, 3)) if largest else blocks.mean(axis=(1, 3))


def _convolve(shape: Layer, weights: Weights, x: Array) -> Array:
    kernel, bias = weights
    filters, kh, kw, depth = kernel.shape
    if kernel.shape[1:] == (1, 1, x.size) and shape.out_shape[:2] == (1, 1):
        return (kernel.reshape(filters, -1) @ x.reshape(-1) + bias).reshape(1, 1, -1)
    out_h, out_w, _ = shape.out_shape
    top, left = shape.pad
    padded = np.pad(x, ((top, top + kh + shape.stride[0]), (left, left + kw + shape.stride[1]), (0, 0)))
    y = np.empty(shape.out_shape)
    for row in range(out_h):
        for column in range(out_w):
            r, s = row * shape.stride[0], column * shape.stride[1]
            window = padded[r : r + kh, s : s + kw]
            for f in range(filters):
                first = f // (filters // shape.groups) * depth
                y[row, column, f] = (window[:, :, first : first + depth] * kernel[f]).sum() + bias[f]
    return y
