"""The networks of the paper's experiments, as a suite's ``network`` has them, and those of our own benchmarks."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

Network = dict[str, list[dict[str, Any]]]


def _head(units: int) -> dict[str, Any]:
    return {"type": "fully_connected", "units": units, "activation": "linear"}


# Four trained layers on 28x28x1. Strides leave dense errors. 470 096 multiply-accumulates forward, and in float32 and
# batches the RP2040 has room for few weights more.
CNN_STRIDED: Final[Network] = {
    "layers": [
        {"type": "conv2d", "filters": 20, "stride": 2},
        {"type": "conv2d", "filters": 32, "stride": 2},
        {"type": "conv2d", "filters": 32, "stride": 2},
        {"type": "flatten"},
        _head(10),
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
        _head(10),
    ]
}
# Wide where maps are small, so that λ_min decides what the backward pass costs (docs/reproduction.md).
CNN_WIDE: Final[Network] = {
    "layers": [
        {"type": "conv2d", "filters": 16, "stride": 2},
        {"type": "conv2d", "filters": 32, "stride": 2},
        {"type": "conv2d", "filters": 48},
        {"type": "conv2d", "filters": 96, "stride": 2},
        {"type": "global_average_pool"},
        _head(10),
    ]
}
# 2 s of six inertial channels at 50 Hz, seven exercises.
IMU: Final[Network] = {
    "layers": [
        {"type": "conv1d", "filters": 16, "kernel": 5, "stride": 2},
        {"type": "max_pool", "size": [1, 2]},
        {"type": "conv1d", "filters": 24, "kernel": 3},
        {"type": "max_pool", "size": [1, 2]},
        {"type": "conv1d", "filters": 24, "kernel": 3},
        {"type": "global_average_pool"},
        _head(7),
    ]
}
# 500 points of engine noise, two classes.
VIBRATION: Final[Network] = {
    "layers": [
        {"type": "conv1d", "filters": 12, "kernel": 9, "stride": 2},
        {"type": "max_pool", "size": [1, 2]},
        {"type": "conv1d", "filters": 24, "kernel": 5, "stride": 2},
        {"type": "conv1d", "filters": 32, "kernel": 5, "stride": 2},
        {"type": "conv1d", "filters": 32, "kernel": 3, "stride": 2},
        {"type": "global_average_pool"},
        _head(2),
    ]
}
# Frames of 13 cepstral coefficients, ten words.
SPEECH: Final[Network] = {
    "layers": [
        {"type": "conv1d", "filters": 32, "kernel": 3},
        {"type": "max_pool", "size": [1, 2]},
        {"type": "conv1d", "filters": 48, "kernel": 3},
        {"type": "max_pool", "size": [1, 2]},
        {"type": "conv1d", "filters": 64, "kernel": 3},
        {"type": "global_average_pool"},
        _head(10),
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
_MOBILENET_STAGES: Final = (
    _Stage(1, 8, 1, 1),
    _Stage(5, 8, 2, 1),
    _Stage(5, 16, 3, 2),
    _Stage(6, 24, 5, 2),
    _Stage(6, 32, 5, 1),
    _Stage(6, 56, 6, 2),
)
_LAST_CHANNELS: Final = 64
# The same kind of blocks at the scale of MCUNet-5FPS (Lin et al. 2022, arXiv 2206.15472): 23 M multiply-accumulates,
# 0.48 M parameters; its own architecture comes from a search for maps of 128x128. Its top is narrow, so that two
# blocks, trained at batch 1, take 236 of the 248 KB that the RT1062 offers.
_MCUNET_STAGES: Final = (
    _Stage(1, 8, 1, 1),
    _Stage(5, 8, 1, 1),
    _Stage(6, 16, 3, 2),
    _Stage(6, 24, 3, 2),
    _Stage(6, 40, 10, 1),
    _Stage(6, 48, 8, 2),
)
MOBILENET_TRAINED: Final = 5
MCUNET_TRAINED: Final = 7  # its last two blocks, and the head


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


def _residual_network(stages: Sequence[_Stage], last_channels: int | None, n_classes: int) -> Network:
    layers: list[dict[str, Any]] = [
        {"type": "conv2d", "filters": _STEM_CHANNELS, "activation": "relu6", "name": "stem"}
    ]
    channels, above = _STEM_CHANNELS, "stem"
    for number, stage in enumerate(stages):
        for i in range(stage.repeats):
            stride, name = (stage.stride if i == 0 else 1), f"block_{number}_{i}"
            skipped = above if stride == 1 and channels == stage.channels else None
            layers += _inverted_residual(channels, stage, stride, skipped, name)
            channels, above = stage.channels, name
    if last_channels is not None:
        layers.append(_pointwise(last_channels, "relu6"))
    return {"layers": [*layers, {"type": "global_average_pool"}, _head(n_classes)]}


def mobilenet_v2_32(n_classes: int = 10) -> Network:
    """Return the MobileNetV2 for 32x32x3."""
    return _residual_network(_MOBILENET_STAGES, _LAST_CHANNELS, n_classes)


def mcunet_scale_32(n_classes: int = 10) -> Network:
    """Return a network of inverted residuals for 32x32x3 that is as large as MCUNet-5FPS."""
    return _residual_network(_MCUNET_STAGES, None, n_classes)


def train_last(network: Network, n: int) -> Network:
    """Freeze all but the last `n` layers with weights."""
    layers = network["layers"]
    weighted = [
        i
        for i, layer in enumerate(layers)
        if "filters" in layer or "units" in layer or "depthwise" in layer["type"]
    ]
    frozen = set(weighted[:-n])
    return {"layers": [layer | {"train": "none"} if i in frozen else layer for i, layer in enumerate(layers)]}
