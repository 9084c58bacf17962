"""A network with its shapes: what a specification means for a given input and configuration."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

from fqtbench.errors import ImageError
from fqtbench.training.image import WEIGHTED, LayerType
from fqtbench.training.spec import (
    Activation,
    Add,
    AveragePool,
    Conv1d,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    FullyConnected,
    GlobalAveragePool,
    LayerSpec,
    MaxPool,
    NetworkSpec,
    Trained,
)

Shape = tuple[int, int, int]  # height, width, channels
Configuration = Literal["uint8", "mixed", "float32"]
INPUT: Final = -1  # source of the first layer

_INT32_LIMIT: Final = 2**31
_LARGEST_PRODUCT: Final = 255 * 255  # |w − z_w| · |x − z_x|
_LARGEST_ERROR_PRODUCT: Final = 255 * 128  # |w − z_w| · |e − 128|
_LARGEST_BIAS: Final = 2**22
_MAX_READERS: Final = 2


@dataclass(frozen=True)
class Layer:
    """One layer with its shapes; `name` is what messages, tables and profiles call it.

    `source` and `other` are positions of the layers whose outputs it reads, INPUT for the sample. `spec` is the
    position in the specification; of layers that it does not name, None. `pooled`: a 2×2 max pool is fused; `out_shape`
    is behind it.
    """

    name: str
    type: LayerType
    source: int
    in_shape: Shape
    out_shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)  # top, left
    groups: int = 1
    activation: Activation = "linear"
    train: Trained = "none"
    other: int | None = None
    spec: int | None = None
    is_float: bool = False
    pooled: bool = False

    @property
    def sources(self) -> tuple[int, ...]:
        """Layers whose outputs it reads."""
        return (self.source,) if self.other is None else (self.source, self.other)

    @property
    def has_weights(self) -> bool:
        """Whether the layer has filters (or rows) and a bias."""
        return self.type in WEIGHTED

    @property
    def filters(self) -> int:
        """Filters of a convolution, rows of a fully connected layer."""
        return self.out_shape[2]

    @property
    def taps(self) -> int:
        """Weights per filter or row."""
        if self.type == LayerType.FULLY_CONNECTED:
            return self.in_shape[0] * self.in_shape[1] * self.in_shape[2]
        return self.kernel[0] * self.kernel[1] * (self.in_shape[2] // self.groups)

    @property
    def windows(self) -> int:
        """Outputs that a filter computes, those under a fused pool included."""
        return self.out_shape[0] * self.out_shape[1] * (4 if self.pooled else 1)

    @property
    def macs_forward(self) -> int:
        """Multiply-accumulates of the forward pass, padding counted as work."""
        return self.windows * self.filters * self.taps if self.has_weights else 0

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.filters * (self.taps + 1) if self.has_weights else 0


def resolve(
    network: NetworkSpec, in_shape: Shape, n_classes: int, configuration: Configuration = "uint8"
) -> tuple[Layer, ...]:
    """Return the layers of `network` for inputs of `in_shape`, softmax cross-entropy included.

    Conversions to float, forks (where an activation has two readers) and fused pools are in place. Raises ImageError,
    naming the layer, where shapes don't fit or an int32 accumulator could overflow.
    """
    layers = _shaped(network, in_shape)
    last = layers[-1]
    if last.out_shape[2] != n_classes:
        raise ImageError(
            f"layer {last.name}: {last.out_shape[2]} units, but the dataset has {n_classes} classes; "
            f"set `units: {n_classes}`"
        )
    layers = _with_float_layers(layers, configuration)
    layers = _with_fused_pools(layers)
    layers = _with_forks(layers)
    head = layers[-1]
    softmax = Layer(
        "softmax_cross_entropy",
        LayerType.SOFTMAX_CROSS_ENTROPY,
        len(layers) - 1,
        head.out_shape,
        head.out_shape,
    )
    layers.append(replace(softmax, is_float=head.is_float))
    named = [replace(layer, name=f"{number}:{layer.name}") for number, layer in enumerate(layers)]
    for layer in named:
        check_bounds(layer)
    return tuple(named)


def _shaped(network: NetworkSpec, in_shape: Shape) -> list[Layer]:
    layers: list[Layer] = []
    positions: dict[str, int] = {}
    shape = in_shape
    for number, spec in enumerate(network.layers):
        layer = _resolve_layer(spec, f"{number}:{spec.name or spec.type}", shape, number - 1)
        if isinstance(spec, Add):
            other = layers[positions[spec.other]]
            if other.out_shape != shape:
                raise ImageError(
                    f"layer {layer.name}: it adds {other.name} of shape {_text(other.out_shape)} to {_text(shape)}; "
                    "the shapes must be equal"
                )
            layer = replace(layer, other=positions[spec.other])
        layers.append(replace(layer, name=spec.name or spec.type, spec=number))
        if spec.name is not None:
            positions[spec.name] = number
        shape = layer.out_shape
    return layers


def _text(shape: Shape) -> str:
    return "×".join(map(str, shape))


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _resolve_layer(spec: LayerSpec, name: str, shape: Shape, source: int) -> Layer:  # noqa: PLR0911 - one a kind
    match spec:
        case Conv2d() | DepthwiseConv2d():
            return _resolve_convolution(spec, name, shape, source)
        case Conv1d():
            if shape[0] != 1:
                raise ImageError(
                    f"layer {name}: a 1-D convolution needs maps of height 1, not {_text(shape)}"
                )
            padding = spec.padding if spec.padding == "same" else (0, spec.padding)
            flat = Conv2d(
                type="conv2d", filters=spec.filters, kernel=(1, spec.kernel), stride=(1, spec.stride), padding=padding,
                groups=spec.groups, activation=spec.activation, train=spec.train,
            )  # fmt: skip
            return _resolve_convolution(flat, name, shape, source)
        case FullyConnected():
            out = (1, 1, spec.units)
            return Layer(
                name,
                LayerType.FULLY_CONNECTED,
                source,
                shape,
                out,
                activation=spec.activation,
                train=spec.train,
            )
        case MaxPool() | AveragePool():
            kernel = _pair(spec.size)
            h, w = shape[0] // kernel[0], shape[1] // kernel[1]
            if h == 0 or w == 0:
                raise ImageError(
                    f"layer {name}: windows of {kernel[0]}×{kernel[1]} on a map of {shape[0]}×{shape[1]}"
                )
            kind = LayerType.MAX_POOL if isinstance(spec, MaxPool) else LayerType.AVERAGE_POOL
            return Layer(name, kind, source, shape, (h, w, shape[2]), kernel, kernel)
        case GlobalAveragePool():
            kernel = shape[0], shape[1]
            return Layer(name, LayerType.AVERAGE_POOL, source, shape, (1, 1, shape[2]), kernel, kernel)
        case Flatten():
            return Layer(name, LayerType.FLATTEN, source, shape, (1, 1, shape[0] * shape[1] * shape[2]))
        case Add():
            return Layer(name, LayerType.ADD, source, shape, shape, activation=spec.activation)


def _resolve_convolution(spec: Conv2d | DepthwiseConv2d, name: str, shape: Shape, source: int) -> Layer:
    filters, groups = (spec.filters, spec.groups) if isinstance(spec, Conv2d) else (shape[2], shape[2])
    if shape[2] % groups or filters % groups:
        raise ImageError(
            f"layer {name}: {groups} groups divide neither or only one of {shape[2]} channels and {filters} filters"
        )
    kernel, stride = _pair(spec.kernel), _pair(spec.stride)
    out, pad = [], []
    for axis in (0, 1):
        size = shape[axis]
        if spec.padding == "same":
            n = -(-size // stride[axis])
            pad.append(max((n - 1) * stride[axis] + kernel[axis] - size, 0) // 2)
        else:
            pad.append(_pair(spec.padding)[axis])
            n = (size + 2 * pad[axis] - kernel[axis]) // stride[axis] + 1
        out.append(n)
        if n < 1:
            raise ImageError(
                f"layer {name}: a kernel of {kernel[0]}×{kernel[1]} does not fit a map of {shape[0]}×{shape[1]}"
            )
        if pad[axis] >= kernel[axis]:
            raise ImageError(
                f"layer {name}: padding {pad[axis]} must be smaller than the kernel, {kernel[axis]}"
            )
    return Layer(
        name,
        LayerType.CONVOLUTION,
        source,
        shape,
        (out[0], out[1], filters),
        kernel,
        stride,
        (pad[0], pad[1]),
        groups,
        spec.activation,
        spec.train,
    )


def _inserted(layers: Sequence[Layer], position: int, layer: Layer) -> list[Layer]:
    """Put `layer` at `position`; those behind it that read its source read it instead."""

    def moved(index: int) -> int:
        return position if index == layer.source else index + (index >= position)

    return [*layers[:position], layer, *(_renumbered(row, moved) for row in layers[position:])]


def _renumbered(layer: Layer, moved: Callable[[int], int]) -> Layer:
    other = None if layer.other is None else moved(layer.other)
    return replace(layer, source=moved(layer.source), other=other)


def _with_float_layers(layers: list[Layer], configuration: Configuration) -> list[Layer]:
    """Put a conversion in front of the layers that compute in float32."""
    if configuration == "uint8":
        return layers
    position = 0 if configuration == "float32" else len(layers) - 1
    shape = layers[position].in_shape
    conversion = Layer(
        "dequantize", LayerType.DEQUANTIZE, layers[position].source, shape, shape, is_float=True
    )
    floats = [replace(layer, is_float=number >= position) for number, layer in enumerate(layers)]
    return _inserted(floats, position, conversion)


def _readers(layers: Sequence[Layer]) -> Counter[int]:
    return Counter(index for layer in layers for index in (layer.source, layer.other) if index is not None)


def _with_fused_pools(layers: list[Layer]) -> list[Layer]:
    """Fuse each uint8 convolution with the 2×2 max pool that alone reads it."""
    position = 0
    while position + 1 < len(layers):
        convolution, pool = layers[position], layers[position + 1]
        if (
            convolution.type == LayerType.CONVOLUTION
            and not convolution.is_float
            and pool.type == LayerType.MAX_POOL
            and pool.kernel == (2, 2)
            and _readers(layers)[position] == 1
        ):
            fused = replace(convolution, pooled=True, out_shape=pool.out_shape)
            behind = partial(_without, position + 1)
            layers = [
                *layers[:position],
                fused,
                *(_renumbered(row, behind) for row in layers[position + 2 :]),
            ]
        position += 1
    return layers


def _without(removed: int, index: int) -> int:
    return index if index < removed else index - 1


def _with_forks(layers: list[Layer]) -> list[Layer]:
    """Put a fork behind each layer whose output has two readers."""
    position = 0
    while position < len(layers):
        layer = layers[position]
        readers = _readers(layers)[position]
        if readers > _MAX_READERS:
            raise ImageError(
                f"layer {position}:{layer.name}: {readers} layers read its output, at most {_MAX_READERS} can; "
                "add another layer's output instead"
            )
        if readers == _MAX_READERS and layer.type != LayerType.FORK:
            shape = layer.out_shape
            fork = Layer("fork", LayerType.FORK, position, shape, shape, is_float=layer.is_float)
            layers = _inserted(layers, position + 1, fork)
        position += 1
    return layers


def check_bounds(layer: Layer) -> None:
    """Check every int32 accumulation of the engine at its largest possible magnitude; ImageError names the layer."""
    if max(*layer.in_shape, layer.taps if layer.has_weights else 0) > 0xFFFF:
        raise ImageError(f"layer {layer.name}: shapes are limited to 65 535")
    for what, bound in accumulator_bounds(layer).items():
        if bound >= _INT32_LIMIT:
            raise ImageError(
                f"layer {layer.name}: its {what} sums may reach {bound}, beyond int32; make it smaller"
            )


def accumulator_bounds(layer: Layer) -> dict[str, int]:
    """Return the largest magnitude of each int32 sum of a uint8 layer, by what it sums."""
    if layer.is_float:
        return {}
    if layer.has_weights:
        reach = layer.filters // layer.groups * layer.kernel[0] * layer.kernel[1]
        return {
            "forward": layer.taps * _LARGEST_PRODUCT + _LARGEST_BIAS,
            "weight gradient": layer.windows * _LARGEST_ERROR_PRODUCT,
            "error": reach * _LARGEST_ERROR_PRODUCT,
            "importance": layer.out_shape[0] * layer.out_shape[1] * layer.filters * 128,
        }
    if layer.type == LayerType.AVERAGE_POOL:
        return {"average": layer.kernel[0] * layer.kernel[1] * 511}
    if layer.type in (LayerType.ADD, LayerType.FORK):
        return {"sum": 2 * 255 * 2**15 + 2**29}
    return {}
