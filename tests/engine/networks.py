"""Random networks and samples for the engine's tests."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from fqtbench.training.compile import CompiledModel, Memory, compile_model
from fqtbench.training.spec import (
    Conv2d,
    Flatten,
    FullyConnected,
    GlobalAveragePool,
    LayerSpec,
    MaxPool,
    NetworkSpec,
    TrainingSpec,
)

ROOMY = Memory(flash_bytes=1 << 20, arena_bytes=1 << 20)


@dataclass(frozen=True)
class Case:
    """A network, how it is trained, and the samples: x (n, h, w, c), y (n,)."""

    network: NetworkSpec
    training: TrainingSpec
    x: NDArray[np.uint8]
    y: NDArray[np.uint16]
    n_classes: int
    seed: int

    def compile(self) -> CompiledModel:
        """Compile it for a roomy board; calibrated on the first samples."""
        n = min(8, len(self.x))
        return compile_model(
            self.network, self.training, self.x[:n], self.y[:n], self.n_classes, ROOMY, self.seed, len(self.x)
        )


def _convolution(draw: st.DrawFn, height: int) -> Conv2d:
    kernel = draw(st.integers(1, min(4, height)))
    padding = draw(st.one_of(st.just("same"), st.integers(0, kernel - 1)))
    return Conv2d(
        type="conv2d",
        filters=draw(st.integers(1, 7)),
        kernel=kernel,
        stride=draw(st.integers(1, 3)),
        padding=padding,
        relu=draw(st.booleans()),
    )


@st.composite
def cases(draw: st.DrawFn, n_samples: int = 24) -> Case:
    """Draw a network of up to 4 layers below its head, over maps of up to 9×9×5, with its samples."""
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)))
    layers: list[LayerSpec] = []
    smallest = min(shape[0], shape[1])
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()) and smallest >= 2:
            layers.append(MaxPool(type="max_pool", size=draw(st.integers(1, 2))))
            smallest //= layers[-1].size
        else:
            convolution = _convolution(draw, smallest)
            layers.append(convolution)
            pad = 0 if convolution.padding == "same" else convolution.padding
            reached = (
                smallest if convolution.padding == "same" else smallest + 2 * pad - convolution.kernel + 1
            )
            smallest = max(-(-reached // convolution.stride), 1)
    layers += draw(
        st.sampled_from(
            [
                [],
                [Flatten(type="flatten")],
                [GlobalAveragePool(type="global_average_pool")],
                [Flatten(type="flatten"), FullyConnected(type="fully_connected", units=9)],
                [FullyConnected(type="fully_connected", units=6, relu=False)],
            ]
        )
    )
    n_classes = draw(st.integers(2, 6))
    layers.append(FullyConnected(type="fully_connected", units=n_classes, relu=False))
    training = TrainingSpec(
        batch=draw(st.sampled_from([8, 11])),
        learning_rate=draw(st.sampled_from([1e-4, 0.01, 0.5])),
        track_period=draw(st.integers(1, 9)),
    )
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    contrast = draw(st.sampled_from([1, 30, 255]))
    x = rng.integers(0, contrast + 1, (n_samples, *shape)).astype(np.uint8)
    y = rng.integers(0, n_classes, n_samples).astype(np.uint16)
    return Case(NetworkSpec(layers=tuple(layers)), training, x, y, n_classes, seed)
