"""Networks that benchmarks train, as a suite's ``network`` has them."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

Network = dict[str, list[dict[str, Any]]]

_HEAD: Final = {"type": "fully_connected", "units": 10, "activation": "linear"}

# Four trained layers on 28x28x1. Strides leave dense errors. 470 096 multiply-accumulates forward, and in float32 and
# batches the RP2040 has room for few weights more.
CNN_STRIDED: Final[Network] = {
    "layers": [
        {"type": "conv2d", "filters": 20, "stride": 2},
        {"type": "conv2d", "filters": 32, "stride": 2},
        {"type": "conv2d", "filters": 32, "stride": 2},
        {"type": "flatten"},
        _HEAD,
    ]
}
# Pools leave three errors of four zero. 472 104; in float32 539 496, because only integer layers skip row and column
# that the last pool doesn't see.
CNN_POOLED: Final[Network] = {
    "layers": [
        {"type": "conv2d", "filters": 8},
        {"type": "max_pool"},
        {"type": "conv2d", "filters": 16},
        {"type": "max_pool"},
        {"type": "conv2d", "filters": 36},
        {"type": "max_pool"},
        {"type": "flatten"},
        _HEAD,
    ]
}


class _Stage(NamedTuple):
    """A row of MobileNetV2's table 2: `repeats` inverted residuals, the first of them with `stride`."""

    expansion: int
    channels: int
    repeats: int
    stride: int


# MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381), table 2, at width 0.35, for 32x32: stem and second stage keep the
# resolution, as is usual for CIFAR. Of the wide top (320, 1280) remains a last layer of 64, and depth makes up for it:
# parameters, multiply-accumulates and trained weights are near those of Deutel et al. Expansion is 5 where maps are
# large: at batch 1 the network takes 187 KB, with 6 it would be 195, of which the RP2040 offers 209.
_STEM_CHANNELS: Final = 16
_STAGES: Final = (
    _Stage(1, 8, 1, 1),
    _Stage(5, 8, 2, 1),
    _Stage(5, 16, 3, 2),
    _Stage(6, 24, 5, 2),
    _Stage(6, 32, 5, 1),
    _Stage(6, 56, 6, 2),
)
_LAST_CHANNELS: Final = 64
_TRAINED_LAST: Final = 5


def _pointwise(filters: int, activation: str, name: str | None = None) -> dict[str, Any]:
    layer = {"type": "conv2d", "filters": filters, "kernel": 1, "activation": activation}
    return layer if name is None else layer | {"name": name}


def _inverted_residual(
    channels: int, stage: _Stage, stride: int, skipped: str | None, name: str
) -> Iterator[dict[str, Any]]:
    """Yield expansion, depthwise convolution, projection; where the shape stays, the sum with layer `skipped`."""
    if stage.expansion > 1:
        yield _pointwise(channels * stage.expansion, "relu6")
    yield {"type": "depthwise_conv2d", "stride": stride, "activation": "relu6"}
    if skipped is None:
        yield _pointwise(stage.channels, "linear", name)
    else:
        yield _pointwise(stage.channels, "linear")
        yield {"type": "add", "with": skipped, "name": name}


def _trained_from(layers: list[dict[str, Any]], trained: int) -> list[dict[str, Any]]:
    """Freeze all but the last `trained` layers with weights."""
    weighted = [i for i, layer in enumerate(layers) if "activation" in layer and layer["type"] != "add"]
    frozen = set(weighted[:-trained])
    return [layer | {"train": "none"} if i in frozen else layer for i, layer in enumerate(layers)]


def mobilenet_v2_32() -> Network:
    """Return the MobileNetV2 for 32x32x3 and 10 classes, its last five layers trained."""
    layers: list[dict[str, Any]] = [
        {"type": "conv2d", "filters": _STEM_CHANNELS, "activation": "relu6", "name": "stem"}
    ]
    channels, above = _STEM_CHANNELS, "stem"
    for number, stage in enumerate(_STAGES):
        for i in range(stage.repeats):
            stride, name = (stage.stride if i == 0 else 1), f"block_{number}_{i}"
            skipped = above if stride == 1 and channels == stage.channels else None
            layers += _inverted_residual(channels, stage, stride, skipped, name)
            channels, above = stage.channels, name
    layers += [_pointwise(_LAST_CHANNELS, "relu6"), {"type": "global_average_pool"}, dict(_HEAD)]
    return {"layers": _trained_from(layers, _TRAINED_LAST)}
