"""Weights before training: drawn, or given as floats and quantized."""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import ImageError
from fqtbench.training.image import LayerType
from fqtbench.training.network import Layer

_WEIGHT_HEADROOM: Final = 1.25  # initial weights reach 1/1.25 of the range
_ZERO_POINT: Final = 128
_REACH: Final = int(127 / _WEIGHT_HEADROOM)

GivenWeights = Mapping[int, tuple[NDArray[np.float32], NDArray[np.float32]]]


class InitialWeights(NamedTuple):
    """Of one layer: weights (filters, taps), uint8 or float32, with scale and zero point; bias (filters,) float32."""

    weights: NDArray[Any]
    bias: NDArray[np.float32]
    scale: float
    zero_point: int


def drawn(layer: Layer, number: int, seed: int) -> InitialWeights:
    """Draw uniform weights within ±√(6/n) behind which a ReLU follows, else ±√(3/n) (He et al. 2015); biases are 0.

    A float32 layer begins with the same weights as a uint8 one.
    """
    limit = math.sqrt((3.0 if layer.activation == "linear" else 6.0) / layer.taps)
    scale = limit * _WEIGHT_HEADROOM / 127
    centred = random_integers(seed, number, layer.filters * layer.taps, 2 * _REACH + 1) - _REACH
    centred = centred.reshape(layer.filters, layer.taps)
    bias = np.zeros(layer.filters, np.float32)
    if layer.is_float:
        return InitialWeights(centred.astype(np.float32) * np.float32(scale), bias, 1.0, 0)
    return InitialWeights((centred + _ZERO_POINT).astype(np.uint8), bias, scale, _ZERO_POINT)


def given(layer: Layer, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> InitialWeights:
    """Quantize given weights (filters, KH, KW, channels of a group), those of a trained layer with headroom."""
    if weights.size != layer.filters * layer.taps or bias.shape != (layer.filters,):
        raise ImageError(
            f"layer {layer.name}: given are {weights.size} weights and {bias.size} biases, needed "
            f"{layer.filters * layer.taps} and {layer.filters}"
        )
    flat = weights.reshape(layer.filters, layer.taps).astype(np.float32)
    if not (np.isfinite(flat).all() and np.isfinite(bias).all()):
        raise ImageError(f"layer {layer.name}: a given weight or bias is not finite")
    if layer.is_float:
        return InitialWeights(flat, bias.astype(np.float32), 1.0, 0)
    headroom = _WEIGHT_HEADROOM if layer.train == "all" else 1.0
    low, high = min(float(flat.min()), 0.0) * headroom, max(float(flat.max()), 0.0) * headroom
    scale = max((high - low) / 255, 1e-12)
    zero_point = min(max(round(-low / scale), 0), 255)
    q = np.clip(np.rint(flat / np.float32(scale)) + zero_point, 0, 255)
    return InitialWeights(q.astype(np.uint8), bias.astype(np.float32), scale, zero_point)


def initial_weights(layer: Layer, number: int, seed: int, weights: GivenWeights | None) -> InitialWeights:
    """Return the layer's weights: those given for its position in the specification, else drawn by `seed`."""
    assert layer.type in (LayerType.CONVOLUTION, LayerType.FULLY_CONNECTED)
    if weights is not None and layer.spec is not None and layer.spec in weights:
        return given(layer, *weights[layer.spec])
    return drawn(layer, number if layer.spec is None else layer.spec, seed)


def random_integers(seed: int, stream: int, n: int, bound: int) -> NDArray[np.int64]:
    """Return `n` integers in [0, bound), the same with every NumPy: SplitMix64 over a counter (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        start = np.uint64(((seed & 0xFFFFFFFF) << 32) | (stream & 0xFFFFFFFF))
        z = (np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ _mixed(start)
        z = _mixed(z)
    drawn: NDArray[np.int64] = (((z >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)
    return drawn


def _mixed(z: Any) -> Any:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
