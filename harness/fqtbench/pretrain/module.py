"""A network of ours as a PyTorch function.

In float32, with batch normalization while it learns from scratch; or with weights and activations rounded to uint8 as
the engine will (per tensor, straight-through gradients; Jacob et al. 2018, arXiv 1712.05877).
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch.nn import functional

from fqtbench.training.image import LayerType
from fqtbench.training.network import Layer

Parameters = dict[str, torch.Tensor]

_MOMENTUM: Final = 0.1  # of running means, as in torch.nn.BatchNorm2d
_RANGE_MOMENTUM: Final = 0.02
_EPSILON: Final = 1e-5
_RELU6: Final = 6.0


class TorchNetwork:
    """Parameters by layer: ``weight`` (F, C/groups, KH, KW), ``bias`` (F,), of a convolution ``gamma``, ``beta`` (F,).

    `normalized`: convolutions are followed by batch normalization. `quantized`: see the module. Both are switches of
    the forward pass; `fold` turns the first off for good.
    """

    def __init__(self, layers: Sequence[Layer], generator: torch.Generator) -> None:
        self.layers = tuple(layers)
        self.normalized, self.quantized = True, False
        self.parameters: dict[int, Parameters] = {}
        self._moments: dict[int, list[torch.Tensor]] = {}
        self._ranges: dict[int, torch.Tensor] = {}
        for number, layer in enumerate(self.layers):
            if layer.has_weights:
                self._draw(number, layer, generator)

    def _draw(self, number: int, layer: Layer, generator: torch.Generator) -> None:
        convolution = layer.type == LayerType.CONVOLUTION
        shape = (
            (layer.filters, layer.in_shape[2] // layer.groups, *layer.kernel)
            if convolution
            else (layer.filters, layer.taps)
        )
        spread = math.sqrt(2.0 / layer.taps)
        drawn = {
            "weight": torch.randn(shape, generator=generator) * spread,
            "bias": torch.zeros(layer.filters),
        }
        if convolution:
            drawn |= {"gamma": torch.ones(layer.filters), "beta": torch.zeros(layer.filters)}
            self._moments[number] = [torch.zeros(layer.filters), torch.ones(layer.filters)]
        self.parameters[number] = {name: value.requires_grad_() for name, value in drawn.items()}

    def trainable(self) -> list[torch.Tensor]:
        """Return what an optimizer steps."""
        return [
            value
            for values in self.parameters.values()
            for name, value in values.items()
            if self.normalized == (name != "bias") or name == "weight" or "gamma" not in values
        ]

    def __call__(self, x: torch.Tensor, learning: bool) -> torch.Tensor:
        """Return the logits (n, classes) of maps `x` (n, c, h, w); `learning`: running means and ranges follow."""
        outputs: list[torch.Tensor] = []
        for number, layer in enumerate(self.layers):
            if layer.type == LayerType.SOFTMAX_CROSS_ENTROPY:
                break
            source = outputs[layer.source] if layer.source >= 0 else x
            other = None if layer.other is None else outputs[layer.other]
            out = self._layer(number, layer, source, other, learning)
            outputs.append(out)
        return outputs[-1].flatten(1)

    def _layer(
        self, number: int, layer: Layer, x: torch.Tensor, other: torch.Tensor | None, learning: bool
    ) -> torch.Tensor:
        match layer.type:
            case LayerType.CONVOLUTION:
                out = self._convolution(number, layer, x, learning)
            case LayerType.FULLY_CONNECTED:
                return functional.linear(_row(x), self._weight(number), self.parameters[number]["bias"])
            case LayerType.ADD:
                assert other is not None
                out = x + other
            case LayerType.MAX_POOL:
                return functional.max_pool2d(x, layer.kernel)
            case LayerType.AVERAGE_POOL:
                return functional.avg_pool2d(x, layer.kernel)
            case LayerType.FLATTEN:
                return _row(x)[:, :, None, None]
            case _:
                return x
        return self._rounded(number, _activated(out, layer.activation), learning)

    def _convolution(self, number: int, layer: Layer, x: torch.Tensor, learning: bool) -> torch.Tensor:
        (top, left), (h, w, _) = layer.pad, layer.in_shape
        bottom = max((layer.out_shape[0] - 1) * layer.stride[0] + layer.kernel[0] - h - top, 0)
        right = max((layer.out_shape[1] - 1) * layer.stride[1] + layer.kernel[1] - w - left, 0)
        own = self.parameters[number]
        padded = functional.pad(x, (left, right, top, bottom))
        bias = None if self.normalized else own["bias"]
        out = functional.conv2d(padded, self._weight(number), bias, layer.stride, groups=layer.groups)
        if self.normalized:
            mean, variance = self._moments[number]
            out = functional.batch_norm(
                out, mean, variance, own["gamma"], own["beta"], learning, _MOMENTUM, _EPSILON
            )
        return out

    def _weight(self, number: int) -> torch.Tensor:
        weight = self.parameters[number]["weight"]
        if not self.quantized:
            return weight
        low, high = weight.detach().min().clamp(max=0.0), weight.detach().max().clamp(min=0.0)
        return _to_uint8(weight, low, high)

    def _rounded(self, number: int, x: torch.Tensor, learning: bool) -> torch.Tensor:
        if not self.quantized:
            return x
        found = torch.stack([x.detach().min().clamp(max=0.0), x.detach().max().clamp(min=0.0)])
        known = self._ranges.setdefault(number, found)
        if learning:
            self._ranges[number] = known + _RANGE_MOMENTUM * (found - known)
        return _to_uint8(x, *self._ranges[number])

    def fold(self) -> None:
        """Fold batch normalization into weights and biases, for good."""
        with torch.no_grad():
            for number, (mean, variance) in self._moments.items():
                own = self.parameters[number]
                scale = own["gamma"] / torch.sqrt(variance + _EPSILON)
                own["weight"].mul_(scale[:, None, None, None])
                own["bias"].copy_(own["beta"] - mean * scale)
        self.normalized = False

    def weights(self) -> dict[int, tuple[Any, Any]]:
        """Return (F, KH, KW, C/groups) and (F,) float32 arrays by position in the specification."""
        found = {}
        for number, own in self.parameters.items():
            weight = own["weight"].detach()
            kernel = weight.permute(0, 2, 3, 1) if weight.ndim == 4 else weight[:, None, None, :]
            spec = self.layers[number].spec
            assert spec is not None
            found[spec] = kernel.contiguous().numpy(), own["bias"].detach().numpy()
        return found


def _row(x: torch.Tensor) -> torch.Tensor:
    """Return maps (n, c, h, w) as rows in NHWC order."""
    return x.permute(0, 2, 3, 1).flatten(1)


def _activated(x: torch.Tensor, activation: str) -> torch.Tensor:
    match activation:
        case "relu":
            return functional.relu(x)
        case "relu6":
            return x.clamp(0.0, _RELU6)
        case _:
            return x


def _to_uint8(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Round to 256 levels from `low` to `high`; the gradient passes where nothing is clamped."""
    scale = ((high - low) / 255).clamp(min=1e-12)
    zero = torch.round(-low / scale)
    q = torch.clamp(torch.round(x.detach() / scale) + zero, 0, 255)
    clamped = x.clamp(low.item(), high.item())
    return clamped + ((q - zero) * scale - clamped).detach()
