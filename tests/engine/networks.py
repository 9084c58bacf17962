"""Random networks, ways of training and samples for the engine's tests."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from fqtbench.training.compile import CompiledModel, Memory, compile_model
from fqtbench.training.network import Shape, resolve
from fqtbench.training.spec import NetworkSpec, TrainingSpec

ROOMY = Memory(flash_bytes=1 << 20, arena_bytes=1 << 20)
_ACTIVATIONS = st.sampled_from(["relu", "relu6", "linear"])
_TRAINED = st.sampled_from(["all", "all", "all", "bias", "none"])


@dataclass(frozen=True)
class Case:
    """A network, how it is trained, and the samples: x (n, h, w, c), y (n,)."""

    network: NetworkSpec
    training: TrainingSpec
    x: NDArray[np.uint8]
    y: NDArray[np.uint16]
    n_classes: int
    seed: int
    quantization: tuple[float, int]

    def compile(self, memory: Memory = ROOMY) -> CompiledModel:
        """Compile it, by default for a roomy board; calibrated on the first samples."""
        n = min(8, len(self.x))
        return compile_model(
            self.network, self.training, self.x[:n], self.y[:n], self.n_classes, memory, self.seed, len(self.x),
            self.quantization,
        )  # fmt: skip


def _kernel(draw: st.DrawFn, shape: Shape) -> list[int]:
    return [draw(st.integers(1, min(4, size))) for size in shape[:2]]


def _padding(draw: st.DrawFn, kernel: list[int]) -> Any:
    if draw(st.booleans()):
        return "same"
    return [draw(st.integers(0, size - 1)) for size in kernel]


def _stride(draw: st.DrawFn) -> list[int]:
    return [draw(st.integers(1, 3)), draw(st.integers(1, 3))]


def _convolution(draw: st.DrawFn, shape: Shape) -> dict[str, Any]:
    kernel = _kernel(draw, shape)
    groups = draw(st.sampled_from([g for g in (1, 1, 2, 3, shape[2]) if shape[2] % g == 0]))
    return {
        "type": "conv2d",
        "filters": groups * draw(st.integers(1, max(1, 7 // groups))),
        "groups": groups,
        "kernel": kernel,
        "stride": _stride(draw),
        "padding": _padding(draw, kernel),
        "activation": draw(_ACTIVATIONS),
        "train": draw(_TRAINED),
    }


def _depthwise(draw: st.DrawFn, shape: Shape) -> dict[str, Any]:
    kernel = _kernel(draw, shape)
    return {
        "type": "depthwise_conv2d",
        "kernel": kernel,
        "stride": _stride(draw),
        "padding": _padding(draw, kernel),
        "activation": draw(_ACTIVATIONS),
        "train": draw(_TRAINED),
    }


def _grey(draw: st.DrawFn, shape: Shape) -> dict[str, Any]:
    """A layer over grey images that has a gradient of its own."""
    kernel = [_kernel(draw, shape)[0], 3]
    stride = [draw(st.integers(1, kernel[0])), draw(st.integers(1, 3))]
    filters = draw(st.sampled_from([4, 8]))
    return {
        **_convolution(draw, shape),
        "kernel": kernel,
        "stride": stride,
        "padding": "same",
        "filters": filters,
    }


def _conv1d(draw: st.DrawFn, shape: Shape) -> dict[str, Any]:
    kernel = draw(st.integers(1, min(4, shape[1])))
    return {
        "type": "conv1d",
        "filters": draw(st.integers(1, 7)),
        "kernel": kernel,
        "stride": draw(st.integers(1, 2)),
        "padding": draw(st.one_of(st.just("same"), st.integers(0, kernel - 1))),
        "activation": draw(_ACTIVATIONS),
        "train": draw(_TRAINED),
    }


def _pool(draw: st.DrawFn, shape: Shape) -> dict[str, Any]:
    size = [draw(st.integers(1, min(3, side))) for side in shape[:2]]
    if min(shape[:2]) >= 2 and draw(st.booleans()):
        size = [2, 2]  # those that can be fused
    return {"type": draw(st.sampled_from(["max_pool", "max_pool", "average_pool"])), "size": size}


def _residual_block(draw: st.DrawFn, shape: Shape, name: str) -> list[dict[str, Any]]:
    """A named layer, one or two more that keep its shape, and an add."""
    layers: list[dict[str, Any]] = [
        {"type": "conv2d", "filters": shape[2], "kernel": 1, "name": name, "activation": draw(_ACTIVATIONS)}
    ]
    for _ in range(draw(st.integers(1, 2))):
        layers.append(
            {
                "type": "conv2d",
                "filters": shape[2],
                "kernel": draw(st.integers(1, 3)),
                "activation": draw(_ACTIVATIONS),
                "train": draw(_TRAINED),
            }
        )
    layers.append({"type": "add", "with": name, "activation": draw(_ACTIVATIONS)})
    return layers


def _out_shape(layers: list[dict[str, Any]], shape: Shape) -> Shape:
    head = [{"type": "fully_connected", "units": 2, "activation": "linear"}]
    resolved = resolve(NetworkSpec.model_validate({"layers": [*layers, *head]}), shape, 2)
    return resolved[-2].in_shape


def _body(draw: st.DrawFn, shape: Shape) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = []
    reached = shape
    for number in range(draw(st.integers(0, 3))):
        kinds = ["convolution", "depthwise", "pool", "residual"] + (["conv1d"] if reached[0] == 1 else [])
        kinds += ["grey"] * 4 if reached[2] == 1 and reached[1] >= 3 else []
        kind = draw(st.sampled_from(kinds))
        if kind == "residual":
            layers += _residual_block(draw, reached, f"block{number}")
        else:
            make = {
                **{"convolution": _convolution, "depthwise": _depthwise, "pool": _pool},
                **{"conv1d": _conv1d, "grey": _grey},
            }[kind]
            layers.append(make(draw, reached))
        reached = _out_shape(layers, shape)
    return layers


def _before_head(draw: st.DrawFn) -> list[dict[str, Any]]:
    units = {"type": "fully_connected", "units": 9, "train": draw(_TRAINED), "activation": draw(_ACTIVATIONS)}
    return draw(
        st.sampled_from(
            [[], [{"type": "flatten"}], [{"type": "global_average_pool"}], [{"type": "flatten"}, units]]
        )
    )


def _training(draw: st.DrawFn) -> TrainingSpec:
    paper = draw(st.sampled_from([False, False, True]))
    batch = draw(st.sampled_from([1, 1, 2, 8, 11]))
    spec: dict[str, Any] = {
        "batch": batch,
        "recipe": "paper" if paper else "best",
        "configuration": draw(st.sampled_from(["uint8", "uint8", "mixed", "float32"])),
        "learning_rate": draw(st.sampled_from([1e-4, 0.01, 0.05])),
        "track_period": draw(st.integers(1, 9)),
        "scratch_bytes": draw(st.sampled_from([0, 300, 2000, 1 << 15])),
        "momentum": draw(st.sampled_from([0.0, 0.0, 0.5, 0.9])),
        "rounding": draw(st.sampled_from([None, None, "stochastic", "nearest"])),
        "normalization": draw(
            st.sampled_from([None, "qas", "none", *(["standardize"] if paper or batch >= 8 else [])])
        ),
    }
    if draw(st.booleans()):
        weights = ["fixed", "grow", "dynamic"] if paper else ["fixed", "grow"]
        ways = ["fixed", "calibrated", "tracked"]
        spec["ranges"] = {
            "weights": draw(st.sampled_from(weights)),
            "activations": draw(st.sampled_from(ways)),
            "errors": draw(st.sampled_from(ways)),
            "activation_limit": 2.0,
        }
    if draw(st.booleans()):
        spec["partial"] = {
            "rule": draw(st.sampled_from(["dynamic", "sampled", "sampled", "top_k", "random_k"])),
            "lambda_min": draw(st.sampled_from([0.01, 0.3, 1.0])),
        }
    return TrainingSpec.model_validate(spec)


@st.composite
def cases(draw: st.DrawFn, n_samples: int = 24) -> Case:
    """Draw a network of every kind of layer over maps of up to 9×9×5, a way of training it, and its samples."""
    channels = draw(st.one_of(st.just(1), st.integers(1, 5)))  # many grey images
    shape = (draw(st.sampled_from([1, 2, 5, 9])), draw(st.integers(1, 9)), channels)
    n_classes = draw(st.integers(2, 6))
    head = {"type": "fully_connected", "units": n_classes, "activation": "linear"}
    network = NetworkSpec.model_validate({"layers": [*_body(draw, shape), *_before_head(draw), head]})
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    contrast = draw(st.sampled_from([1, 30, 255]))
    x = rng.integers(0, contrast + 1, (n_samples, *shape)).astype(np.uint8)
    y = rng.integers(0, n_classes, n_samples).astype(np.uint16)
    quantization = draw(st.sampled_from([(1 / 255, 0), (8 / 255, 128)]))
    return Case(network, _training(draw), x, y, n_classes, seed, quantization)


def in_place() -> Case:
    """Return a case whose frozen depthwise layers take their inputs' place, one after the other."""
    frozen = {"train": "none", "padding": "same"}
    layers: list[dict[str, Any]] = [
        {"type": "conv2d", "filters": 6, "kernel": 1, "activation": "relu6", **frozen},
        {"type": "depthwise_conv2d", "activation": "relu6", **frozen},
        {"type": "depthwise_conv2d", "kernel": [2, 4], "activation": "linear", "name": "skipped", **frozen},
        {"type": "conv2d", "filters": 6, "kernel": 1, "activation": "linear", **frozen},
        {"type": "add", "with": "skipped"},
        {"type": "depthwise_conv2d", "kernel": [1, 3], "activation": "relu", "train": "bias"},
        {"type": "conv2d", "filters": 5, "stride": 2},
        {"type": "fully_connected", "units": 3, "activation": "linear"},
    ]
    rng = np.random.default_rng(6)
    x, y = rng.integers(0, 256, (12, 7, 9, 3)).astype(np.uint8), rng.integers(0, 3, 12).astype(np.uint16)
    return Case(
        NetworkSpec.model_validate({"layers": layers}), TrainingSpec(batch=1), x, y, 3, 4, (1 / 255, 0)
    )


def between_windows() -> Case:
    """Return a case whose strides leave inputs that no window covers, above and beside those that one does."""
    layers = [
        {"type": "depthwise_conv2d", "kernel": 1},
        {"type": "conv2d", "filters": 7, "kernel": [2, 1], "stride": 3},
        {"type": "conv2d", "filters": 3, "kernel": [1, 2], "stride": [2, 1], "padding": "same"},
        {"type": "fully_connected", "units": 2, "activation": "linear"},
    ]
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 256, (12, 9, 9, 5)).astype(np.uint8), rng.integers(0, 2, 12).astype(np.uint16)
    network = NetworkSpec.model_validate({"layers": layers})
    return Case(network, TrainingSpec(batch=1), x, y, 2, 3, (1 / 255, 0))


def pixels_of_groups() -> Case:
    """Return a case of 1×1 kernels whose groups have one channel of four: a window is one byte of a word."""
    layers = [
        {"type": "depthwise_conv2d", "kernel": 1},
        {"type": "fully_connected", "units": 2, "activation": "linear"},
    ]
    rng = np.random.default_rng(7)
    x, y = rng.integers(0, 256, (12, 3, 3, 4)).astype(np.uint8), rng.integers(0, 2, 12).astype(np.uint16)
    network = NetworkSpec.model_validate({"layers": layers})
    return Case(network, TrainingSpec(batch=1), x, y, 2, 3, (1 / 255, 0))


def six_beyond_a_byte() -> Case:
    """Return a case of ReLU6 whose fixed range ends below six, so that its mask's upper end is no byte."""
    same = {"type": "conv2d", "filters": 8, "padding": "same", "activation": "relu6"}
    layers: list[dict[str, Any]] = [
        {**same, "name": "skipped"},
        same,
        {"type": "add", "with": "skipped"},
        {**same, "filters": 12},
        {"type": "average_pool", "size": 2},
        {"type": "fully_connected", "units": 3, "activation": "linear"},
    ]
    rng = np.random.default_rng(8)
    x, y = rng.integers(0, 256, (12, 6, 6, 2)).astype(np.uint8), rng.integers(0, 3, 12).astype(np.uint16)
    training = TrainingSpec.model_validate(
        {"batch": 1, "ranges": {"activations": "fixed", "activation_limit": 2.0}}
    )
    return Case(NetworkSpec.model_validate({"layers": layers}), training, x, y, 3, 4, (1 / 255, 0))


def named() -> list[Case]:
    """Return the cases that once differed, or that random networks seldom are."""
    return [between_windows(), in_place(), pixels_of_groups(), six_beyond_a_byte()]
