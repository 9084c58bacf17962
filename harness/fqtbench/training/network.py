"""A network with its shapes: what a specification means for a given input."""

from dataclasses import dataclass
from typing import Final

from fqtbench.errors import ImageError
from fqtbench.training.image import LayerType
from fqtbench.training.spec import (
    Conv2d,
    Flatten,
    FullyConnected,
    GlobalAveragePool,
    LayerSpec,
    MaxPool,
    NetworkSpec,
)

Shape = tuple[int, int, int]  # height, width, channels

_INT32_LIMIT: Final = 2**31
_LARGEST_PRODUCT: Final = 255 * 255  # |w − z_w| · |x − z_x|
_LARGEST_ERROR_PRODUCT: Final = 255 * 128  # |w − z_w| · |e − 128|
_LARGEST_BIAS: Final = 2**22


@dataclass(frozen=True)
class Layer:
    """One layer with its shapes; `name` is what messages, tables and profiles call it."""

    name: str
    type: LayerType
    in_shape: Shape
    out_shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)  # top, left
    relu: bool = False

    @property
    def has_weights(self) -> bool:
        """Whether the layer has filters (or rows) and a bias."""
        return self.type in (LayerType.CONV2D, LayerType.FULLY_CONNECTED)

    @property
    def filters(self) -> int:
        """Filters of a convolution, rows of a fully connected layer."""
        return self.out_shape[2]

    @property
    def taps(self) -> int:
        """Weights per filter or row."""
        if self.type == LayerType.FULLY_CONNECTED:
            return self.in_shape[0] * self.in_shape[1] * self.in_shape[2]
        return self.kernel[0] * self.kernel[1] * self.in_shape[2]

    @property
    def macs_forward(self) -> int:
        """Multiply-accumulates of the forward pass, padding counted as work."""
        return self.out_shape[0] * self.out_shape[1] * self.filters * self.taps if self.has_weights else 0

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.filters * (self.taps + 1) if self.has_weights else 0


def resolve(network: NetworkSpec, in_shape: Shape, n_classes: int) -> tuple[Layer, ...]:
    """Return the layers of `network` for inputs of `in_shape`, softmax cross-entropy included.

    Raises ImageError, naming the layer, where shapes don't fit or an int32 accumulator could overflow.
    """
    layers: list[Layer] = []
    shape = in_shape
    for index, spec in enumerate(network.layers):
        layer = _resolve_layer(spec, f"{index}:{spec.type}", shape)
        _check_bounds(layer)
        layers.append(layer)
        shape = layer.out_shape
    if shape[2] != n_classes:
        raise ImageError(
            f"layer {layers[-1].name}: {shape[2]} units, but the dataset has {n_classes} classes; "
            f"set `units: {n_classes}`"
        )
    name = f"{len(layers)}:softmax_cross_entropy"
    layers.append(Layer(name, LayerType.SOFTMAX_CROSS_ENTROPY, shape, shape))
    return tuple(layers)


def _resolve_layer(spec: LayerSpec, name: str, shape: Shape) -> Layer:
    match spec:
        case Conv2d():
            return _resolve_conv2d(spec, name, shape)
        case FullyConnected():
            return Layer(name, LayerType.FULLY_CONNECTED, shape, (1, 1, spec.units), relu=spec.relu)
        case MaxPool():
            h, w = shape[0] // spec.size, shape[1] // spec.size
            if h == 0 or w == 0:
                raise ImageError(
                    f"layer {name}: windows of {spec.size}×{spec.size} on a map of {shape[0]}×{shape[1]}"
                )
            window = (spec.size, spec.size)
            return Layer(name, LayerType.MAX_POOL, shape, (h, w, shape[2]), window, window)
        case GlobalAveragePool():
            return Layer(name, LayerType.GLOBAL_AVERAGE_POOL, shape, (1, 1, shape[2]))
        case Flatten():
            return Layer(name, LayerType.FLATTEN, shape, (1, 1, shape[0] * shape[1] * shape[2]))


def _resolve_conv2d(spec: Conv2d, name: str, shape: Shape) -> Layer:
    out, pad = [], []
    for size in shape[:2]:
        if spec.padding == "same":
            n = -(-size // spec.stride)
            total = max((n - 1) * spec.stride + spec.kernel - size, 0)
            out.append(n)
            pad.append(total // 2)
        else:
            out.append((size + 2 * spec.padding - spec.kernel) // spec.stride + 1)
            pad.append(spec.padding)
        if out[-1] < 1:
            raise ImageError(
                f"layer {name}: a kernel of {spec.kernel} does not fit a map of {shape[0]}×{shape[1]}"
            )
        if pad[-1] >= spec.kernel:
            raise ImageError(
                f"layer {name}: padding {pad[-1]} must be smaller than the kernel, {spec.kernel}"
            )
    return Layer(
        name,
        LayerType.CONV2D,
        shape,
        (out[0], out[1], spec.filters),
        (spec.kernel, spec.kernel),
        (spec.stride, spec.stride),
        (pad[0], pad[1]),
        spec.relu,
    )


def _check_bounds(layer: Layer) -> None:
    """Every int32 accumulation of the engine, at its largest possible magnitude."""
    if max(layer.in_shape) > 0xFFFF or layer.taps > 0xFFFF:
        raise ImageError(f"layer {layer.name}: shapes are limited to 65 535")
    bounds = {"global average": layer.in_shape[0] * layer.in_shape[1] * 512}
    if layer.has_weights:
        windows = layer.out_shape[0] * layer.out_shape[1]
        bounds = {
            "forward": layer.taps * _LARGEST_PRODUCT + _LARGEST_BIAS,
            "weight gradient": windows * _LARGEST_ERROR_PRODUCT,
            "error": layer.filters * layer.kernel[0] * layer.kernel[1] * _LARGEST_ERROR_PRODUCT,
        }
    for what, bound in bounds.items():
        if bound >= _INT32_LIMIT:
            raise ImageError(
                f"layer {layer.name}: its {what} sums may reach {bound}, beyond int32; make it smaller"
            )
