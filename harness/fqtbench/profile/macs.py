"""Multiply-accumulates of a training step, as if no error was zero and no structure left out."""

from collections.abc import Sequence

from fqtbench.profile.model import PhaseName
from fqtbench.training.image import NONE, Image, LayerFlag
from fqtbench.training.network import Layer


def macs_per_step(image: Image, layers: Sequence[Layer]) -> list[dict[PhaseName, int]]:
    """Return MACs of one sample by phase, of each layer; a phase that a layer doesn't have is not there.

    Errors and weight gradients take as many as the forward pass: each weight meets each window once.
    """
    return [
        _of(layer, row["flags"], row["error_in"]) for layer, row in zip(layers, image.layers, strict=True)
    ]


def _of(layer: Layer, flags: int, error_in: int) -> dict[PhaseName, int]:
    if not layer.has_weights:
        return {}
    macs: dict[PhaseName, int] = {"forward": layer.macs_forward}
    if error_in != NONE:
        macs["error"] = layer.macs_forward
    if flags & LayerFlag.TRAINED:
        macs["gradient"] = layer.macs_forward
    return macs
