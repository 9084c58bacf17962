"""The tables of a model image while they are being made: tensors, layers, and when each buffer is alive."""

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.training import arithmetic as ar
from fqtbench.training import image as im
from fqtbench.training.image import LayerFlag, LayerType, TensorType
from fqtbench.training.initial import GivenWeights, initial_weights
from fqtbench.training.network import INPUT, Layer, Shape
from fqtbench.training.options import Options
from fqtbench.training.plan import Buffer, Kind, lower_bound

_FIXED_ERROR_SCALE: Final = 1 / 127  # errors within −1..1
_FILTERS_AT_ONCE: Final = 16
_LEAST_WINDOWS: Final = 8  # FQT_LEAST_WINDOWS in kernels/rows.h: of fewer, weights aren't widened
_PAIRS_IN_LIST: Final = 40
_ROWS_AT_ONCE: Final = 4  # that are widened together
_MOST_GREY_PIXELS: Final = 256  # FQT_GREY_MOST_ERRORS: in a row
_ELEMENT_BYTES: Final = {
    TensorType.U8: 1,
    TensorType.I8: 1,
    TensorType.I16: 2,
    TensorType.I32: 4,
    TensorType.F32: 4,
}


class Draft:
    """Tensors and layers of one network; `buffers` are those tensors that live in an arena."""

    def __init__(
        self,
        layers: tuple[Layer, ...],
        options: Options,
        batch: int,
        momentum: float,
        seed: int,
        quantization: tuple[float, int],
        weights: GivenWeights | None,
        spare_scratch_bytes: int,
    ) -> None:
        self.layers, self.options, self.seed = layers, options, seed
        self._batch, self._has_momentum, self._given = batch, momentum > 0, weights
        self.tensors: list[NDArray[Any]] = []
        self.names: list[str] = []
        self.rows: list[NDArray[Any]] = []
        self.contents: dict[int, bytes] = {}
        self.buffers: dict[int, Buffer] = {}
        self.aliases: dict[int, int] = {}  # tensor -> tensor whose bytes it shares
        self.constant_biases: dict[int, NDArray[np.float32]] = {}  # of layers whose folded bias never changes
        self.calibrated: set[int] = set()  # layers that track ranges for calibration only
        self._output: dict[int, int] = {}  # layer -> tensor of its output
        self._errors: dict[
            int, list[int]
        ] = {}  # layer -> error tensors of its output, one a reader of a fork
        self._masks: dict[
            int, tuple[bool, bool]
        ] = {}  # layer -> its output was clamped by a folded ReLU, ReLU6
        self._needs_error: dict[int, bool] = {}
        self._varies: dict[int, bool] = {}
        self.input = self._tensor(
            "input", TensorType.U8, layers[0].in_shape,
            region=im.REGION_SAMPLE, scale=quantization[0], zero_point=quantization[1],
        )  # fmt: skip
        self._output[INPUT], self._errors[INPUT], self._masks[INPUT] = self.input, [], (False, False)
        self._needs_error[INPUT] = self._varies[INPUT] = False
        for number, layer in enumerate(layers):
            self._needs_error[number] = layer.train != "none" or any(
                self._needs_error[s] for s in layer.sources
            )
        self._scratch: dict[int, int] = {}  # layer -> tensor
        self._wanted: dict[int, int] = {}  # tensor -> bytes of scratch that suit its layers best
        self._add_scratch(spare_scratch_bytes)
        widest = max((layer.filters for layer in layers if layer.train != "none"), default=0)
        each = {im.PartialRule.FULL: 0, im.PartialRule.SAMPLED: 10}.get(
            options.partial, 6
        )  # bytes a structure
        self.selection = im.NONE
        if each * widest:
            self.selection = self._shared("selection", each * widest, 0, self.end)
        for number, layer in enumerate(layers):
            self._add_layer(number, layer)
        self._keep_inputs()
        self._grow_scratch()

    @property
    def end(self) -> int:
        """Moment of the update."""
        return 2 * len(self.layers)

    def backward_moment(self, number: int) -> int:
        """Moment of the backward pass of layer `number`."""
        return self.end - 1 - number

    # -- tensors

    def _tensor(
        self, name: str, dtype: TensorType, shape: Shape, n: int | None = None, **fields: object
    ) -> int:
        h, w, c = shape
        n_bytes = _ELEMENT_BYTES[dtype] * (math.prod(shape) if n is None else n)
        fields.setdefault("scale", 1.0)
        self.tensors.append(im.record(im.TENSOR, dtype=dtype, h=h, w=w, c=c, bytes=n_bytes, **fields))
        self.names.append(name)
        return len(self.tensors) - 1

    def _buffer(self, tensor: int, first: int, last: int, kind: Kind = "state") -> int:
        n_bytes = int(self.tensors[tensor]["bytes"])
        self.buffers[tensor] = Buffer(self.names[tensor], n_bytes, first, last, kind)
        return tensor

    def _shared(self, name: str, n_bytes: int, first: int, last: int) -> int:
        n_words = -(-max(n_bytes, 4) // 4)
        return self._buffer(self._tensor(name, TensorType.I32, (1, 1, 1), n_words), first, last)

    def _add_scratch(self, spare_bytes: int) -> None:
        """Add one for all layers from the first trained one on, and two for those below, which are free behind them."""
        work = [n for n, layer in enumerate(self.layers) if layer.has_weights and not layer.is_float]
        below = [n for n in work if not self._needs_error[n]]
        above = [n for n in work if self._needs_error[n]]
        late = self._behind_large_maps(below)
        for name, numbers in (("forward scratch", below[:late]), ("late forward scratch", below[late:])):
            if numbers:
                needed, wanted = self._scratch_bytes(numbers, spare_bytes)
                tensor = self._shared(name, needed, numbers[0], numbers[-1])
                self._scratch |= dict.fromkeys(numbers, tensor)
                self._wanted[tensor] = wanted
        if above:
            _, wanted = self._scratch_bytes(above, spare_bytes)
            tensor = self._shared("scratch", wanted, above[0], self.backward_moment(above[0]))
            self._scratch |= dict.fromkeys(above, tensor)

    def _scratch_bytes(self, numbers: list[int], spare_bytes: int) -> tuple[int, int]:
        """Return what the layers must have, and what they want of no more than `spare_bytes`."""
        needed = max(scratch_bytes(self.layers[n], *self._work(n)) for n in numbers)
        best = max(best_scratch_bytes(self.layers[n], *self._work(n)) for n in numbers)
        return needed, max(needed, min(best, spare_bytes))

    def _behind_large_maps(self, numbers: list[int]) -> int:
        """Return how many layers reach to the last one whose maps take more than half of what the largest take.

        Those behind it have room for scratch that the others have not.
        """
        maps = [math.prod(self.layers[n].in_shape) + math.prod(self.layers[n].out_shape) for n in numbers]
        return max((i + 1 for i, n_bytes in enumerate(maps) if 2 * n_bytes > max(maps)), default=0)

    def _grow_scratch(self) -> None:
        """Give a scratch of frozen layers what it wants, as far as no moment then takes more than the fullest does."""
        for tensor, wanted in self._wanted.items():
            buffer = self.buffers[tensor]
            others = [b for b in self.buffers.values() if b is not buffer]
            meanwhile = lower_bound([b for b in others if b.overlaps(buffer)])
            n_bytes = min(wanted, lower_bound([*others, buffer]) - meanwhile) // 4 * 4
            if n_bytes > buffer.n_bytes:
                self.tensors[tensor]["bytes"] = n_bytes
                self.buffers[tensor] = replace(buffer, n_bytes=n_bytes)

    def _work(self, number: int) -> tuple[bool, bool]:
        """Return whether a layer finds gradients of its weights, and the error of its input."""
        layer = self.layers[number]
        return layer.train == "all", self._needs_error[layer.source]

    def _lasting(
        self, name: str, dtype: TensorType, shape: Shape, n: int, kind: Kind = "weights", **fields: object
    ) -> int:
        """Add a tensor of the trained state."""
        tensor = self._tensor(name, dtype, shape, n, flags=im.TRAINED_STATE, **fields)
        return self._buffer(tensor, 0, self.end, kind)

    def _constant(
        self, name: str, dtype: TensorType, shape: Shape, n: int, content: bytes, **fields: object
    ) -> int:
        tensor = self._tensor(name, dtype, shape, n, region=im.REGION_IN_IMAGE, **fields)
        self.contents[tensor] = content
        return tensor

    def _alias(self, tensor: int, of: int) -> int:
        if self.tensors[of]["region"] == im.REGION_SAMPLE:
            self.tensors[tensor]["region"] = im.REGION_SAMPLE
        else:
            self.aliases[tensor] = self.aliases.get(of, of)
        return tensor

    # -- layers

    def _add_layer(self, number: int, layer: Layer) -> None:
        row = im.record(im.LAYER, type=layer.type, groups=layer.groups, error_ratio=1.0)
        row["kernel_h"], row["kernel_w"] = layer.kernel
        row["stride_h"], row["stride_w"] = layer.stride
        row["pad_top"], row["pad_left"] = layer.pad
        for field in im.TENSOR_FIELDS:
            row[field] = im.NONE
        self.rows.append(row)
        row["in"] = self._output[layer.source]
        if layer.other is not None:
            row["other"] = self._output[layer.other]
        self._varies[number] = any(self._varies[source] for source in layer.sources)
        if layer.has_weights:
            self._add_weights(number, layer, row)
        row["flags"] = int(self._flags(number, layer))
        row["error_in"] = self._read_error(layer.source, number)
        if layer.other is not None:
            row["error_other"] = self._read_error(layer.other, number)
        self._add_outputs(number, layer, row)

    def _flags(self, number: int, layer: Layer) -> LayerFlag:
        flags = LayerFlag(0)
        if layer.activation != "linear":
            flags |= LayerFlag.RELU
        if layer.activation == "relu6":
            flags |= LayerFlag.RELU6
        if layer.train != "none":
            flags |= LayerFlag.BIAS_TRAINED | (LayerFlag.TRAINED if layer.train == "all" else LayerFlag(0))
        if self.options.whole_head and layer.has_weights and self._is_head(number):
            flags |= LayerFlag.WHOLE
        for source, masks in (
            (layer.source, (LayerFlag.MASK_INPUT, LayerFlag.MASK_INPUT_HIGH)),
            (layer.other, (LayerFlag.MASK_OTHER, LayerFlag.MASK_OTHER_HIGH)),
        ):
            if source is not None and layer.type not in (LayerType.MAX_POOL, LayerType.FLATTEN):
                for clamped, mask in zip(self._masks[source], masks, strict=True):
                    flags |= mask if clamped else LayerFlag(0)
        if self._has_range(number, layer):
            if self._varies[number] and self.options.activation_ranges == "tracked":
                flags |= LayerFlag.TRACKED
            else:
                self.calibrated.add(number)
        return flags

    def _has_range(self, number: int, layer: Layer) -> bool:
        own = layer.has_weights or layer.type == LayerType.ADD
        return own and not layer.is_float and not self._is_head(number)

    def _is_head(self, number: int) -> bool:
        return (
            number + 1 < len(self.layers) and self.layers[number + 1].type == LayerType.SOFTMAX_CROSS_ENTROPY
        )

    def _read_error(self, source: int, reader: int) -> int:
        """Return the error tensor that `reader` writes for what it reads: a fork's readers write one each."""
        if not self._needs_error[source]:
            return im.NONE
        errors = self._errors[source]
        tensor = errors[0]
        if self.layers[source].type == LayerType.FORK and self._first_reader(source) != reader:
            tensor = errors[1]
        moment = self.backward_moment(reader)
        of = self.aliases.get(tensor, tensor)
        self.buffers[of] = replace(self.buffers[of], first=min(self.buffers[of].first, moment))
        return tensor

    def _first_reader(self, source: int) -> int:
        return next(n for n, layer in enumerate(self.layers) if source in (layer.source, layer.other))

    def _add_outputs(self, number: int, layer: Layer, row: NDArray[Any]) -> None:
        """Add the layer's output and the error of it."""
        if layer.type == LayerType.SOFTMAX_CROSS_ENTROPY:
            row["out"] = row["in"]
            return
        if layer.type == LayerType.FORK:
            out = self._output[layer.source]
        else:
            dtype = TensorType.F32 if layer.is_float else TensorType.U8
            if self._is_head(number) and not layer.is_float:
                dtype = TensorType.I32
            out = self._tensor(f"{layer.name} out", dtype, layer.out_shape)
            if layer.type == LayerType.FLATTEN or self._is_in_place(number, layer):
                self._alias(out, int(row["in"]))
            else:
                self._buffer(out, number, number, "activation")
        row["out"] = self._output[number] = out
        self._masks[number] = self._output_masks(layer)
        if layer.pooled:
            n = -(-math.prod(layer.out_shape) // 4)
            row["argmax"] = self._tensor(f"{layer.name} argmax", TensorType.U8, (1, 1, n))
            last = self.backward_moment(number) if self._needs_error[number] else number
            self._buffer(int(row["argmax"]), number, last, "activation")
        if self._needs_error[number]:
            self._add_errors(number, layer, row)

    def _is_in_place(self, number: int, layer: Layer) -> bool:
        """Whether the output takes the input's place: where the kernel allows it, and nobody reads the input again."""
        source = layer.source
        if not can_be_in_place(layer) or self._is_head(number) or any(self._work(number)) or source == INPUT:
            return False
        return self.layers[source].type not in (LayerType.FORK, LayerType.FLATTEN)

    def _output_masks(self, layer: Layer) -> tuple[bool, bool]:
        if layer.has_weights or layer.type == LayerType.ADD:
            return layer.activation != "linear", layer.activation == "relu6"
        if layer.type in (LayerType.MAX_POOL, LayerType.FLATTEN):
            return self._masks[layer.source]
        return False, False

    def _add_errors(self, number: int, layer: Layer, row: NDArray[Any]) -> None:
        moment = self.backward_moment(number)
        fork = layer.type == LayerType.FORK
        tensors = []
        for suffix in ("a", "b") if fork else ("",):
            dtype = TensorType.F32 if layer.is_float else TensorType.U8
            quantized: dict[str, Any] = {} if layer.is_float else {"zero_point": ar.ERROR_ZERO_POINT}
            if not layer.is_float and self.options.error_ranges == im.ErrorRanges.FIXED:
                quantized["scale"] = _FIXED_ERROR_SCALE
            error = self._tensor(f"{layer.name} error{suffix}", dtype, layer.out_shape, **quantized)
            if layer.type == LayerType.FLATTEN:
                self._alias(error, int(row["error_in"]))
                of = self.aliases[error]
                self.buffers[of] = replace(self.buffers[of], last=max(self.buffers[of].last, moment))
            else:
                self._buffer(error, moment, moment, "error")
            tensors.append(error)
        self._errors[number] = tensors
        row["error_out"] = tensors[0]
        if fork:
            row["error_other"] = tensors[1]

    # -- weights

    def _add_weights(self, number: int, layer: Layer, row: NDArray[Any]) -> None:
        filters, taps = layer.filters, layer.taps
        stored = taps if layer.is_float else -taps % 4 + taps
        shape, n = (filters, taps, stored), filters * stored
        start = initial_weights(layer, number, self.seed, self._given)
        dtype = TensorType.F32 if layer.is_float else TensorType.U8
        content = np.full((filters, stored), start.zero_point, np.float32 if layer.is_float else np.uint8)
        content[:, :taps] = start.weights
        quantized: dict[str, Any] = {"scale": start.scale, "zero_point": start.zero_point}
        name = layer.name
        if layer.train == "all":
            self._varies[number] = True
            row["weights"] = self._lasting(f"{name} weights", dtype, shape, n, **quantized)
            plane = self._plane_type(layer)
            if plane is not None:
                row["plane"] = self._lasting(f"{name} plane", plane, shape, n, "gradient")
            if self._has_momentum:
                velocity = TensorType.F32 if layer.is_float or self.options.float_gradient else TensorType.I16
                row["velocity"] = self._lasting(f"{name} velocity", velocity, shape, n, "gradient")
            self.contents[int(row["weights"])] = content.tobytes()
        else:
            row["weights"] = self._constant(
                f"{name} weights", dtype, shape, n, content.tobytes(), **quantized
            )
        self._add_bias(number, layer, row, start.bias)
        if not layer.is_float:
            row["scratch"] = self._scratch[number]
        if layer.train != "none":
            row["selection"] = self.selection

    def _plane_type(self, layer: Layer) -> TensorType | None:
        if layer.is_float or self.options.float_gradient:
            return TensorType.F32
        if self._batch > 1:
            return TensorType.I16
        return TensorType.I8 if self.options.rounding == im.Rounding.RESIDUAL else None

    def _add_bias(self, number: int, layer: Layer, row: NDArray[Any], bias: NDArray[np.float32]) -> None:
        filters, name = layer.filters, layer.name
        shape = (1, 1, filters)
        if layer.train == "none" and not layer.is_float and not self._varies[number]:
            row["bias_folded"] = self._constant(
                f"{name} folded bias", TensorType.I32, shape, filters, bytes(4 * filters)
            )
            self.constant_biases[number] = bias
            return
        if layer.train == "none":
            row["bias"] = self._constant(f"{name} bias", TensorType.F32, shape, filters, bias.tobytes())
        else:
            self._varies[number] = True
            row["bias"] = self._lasting(f"{name} bias", TensorType.F32, shape, filters)
            self.contents[int(row["bias"])] = bias.tobytes()
            rows = 2 if self._has_momentum else 1
            row["bias_step"] = self._lasting(
                f"{name} bias step", TensorType.F32, (1, rows, filters), rows * filters
            )
        if not layer.is_float:
            row["bias_folded"] = self._lasting(f"{name} folded bias", TensorType.I32, shape, filters)

    # -- lifetimes

    def _keep_inputs(self) -> None:
        """Keep every activation until its last reader, forward or backward, is done with it."""
        for number, layer in enumerate(self.layers):
            row = self.rows[number]
            backward = self.backward_moment(number)
            for field, error, mask in (
                ("in", "error_in", LayerFlag.MASK_INPUT),
                ("other", "error_other", LayerFlag.MASK_OTHER),
            ):
                if row[field] == im.NONE:
                    continue
                masked = bool(row["flags"] & mask) or layer.type == LayerType.MAX_POOL
                read_backward = row[error] != im.NONE and masked
                read_backward |= bool(row["flags"] & LayerFlag.TRAINED)
                read_backward |= layer.type == LayerType.SOFTMAX_CROSS_ENTROPY
                self._keep(int(row[field]), backward if read_backward else number)
            if row["error_out"] != im.NONE:
                self._keep(int(row["error_out"]), backward)

    def _keep(self, tensor: int, moment: int) -> None:
        of = self.aliases.get(tensor, tensor)
        if of in self.buffers:
            self.buffers[of] = replace(self.buffers[of], last=max(self.buffers[of].last, moment))


def can_be_in_place(layer: Layer) -> bool:
    """Whether the forward kernel can put its output where its input lies; kernels/convolution.h says where."""
    depthwise = layer.type == LayerType.CONVOLUTION and layer.groups == layer.filters == layer.in_shape[2]
    return (
        depthwise
        and layer.kernel != (1, 1)
        and layer.stride == (1, 1)
        and layer.in_shape == layer.out_shape
        and not layer.pooled
        and not layer.is_float
    )


def scratch_bytes(layer: Layer, gradient: bool, error: bool) -> int:
    """Bytes of scratch that the engine's kernels need for `layer`; `fqt_scratch_bytes` in kernels/error_sparse.c.

    Forward: two windows of 4 bytes a value, the bytes under them, 4 bytes a filter of a group; or planes. Gradient of
    the weights: one int32 a weight of a filter, and a list of at least six pairs of windows. Error of the input: the
    int32 rows of it that a window reaches, and of a fused pool's lower window.
    """
    stored = -layer.taps % 4 + layer.taps
    needed = [_planar_bytes(layer) or 6 * stored + 4 * (layer.filters // layer.groups)]
    if gradient:
        needed.append(6 * stored + 84)
    if error and layer.type == LayerType.CONVOLUTION:
        n_rows = layer.kernel[0] + (layer.stride[0] if layer.pooled else 0)
        needed.append(4 * n_rows * layer.in_shape[1] * layer.in_shape[2])
    return max(needed)


def _planar_bytes(layer: Layer) -> int:
    """Return what `fqt_planar_bytes` in kernels/planar.c asks for, of a group with one channel."""
    if layer.type != LayerType.CONVOLUTION or layer.in_shape[2] != layer.groups:
        return 0
    (rows, columns), (stride_h, stride_w) = layer.kernel, layer.stride
    if rows * columns == 1 or rows < stride_h:
        return 0
    filters = layer.filters // layer.groups
    out_w = layer.out_shape[1] * (2 if layer.pooled else 1)
    channels = 4 if filters == 1 and layer.filters % 4 == 0 and not layer.pooled else 1
    padded_w = -(-out_w // 4) * 4
    planes = 4 * channels * rows * (((padded_w - 1) * stride_w + columns + 2) // 2 * 2)
    byte_rows = 1 + (filters if layer.pooled else 0)
    weights = max(-(-(2 * rows - 1) * 2 * (columns + 1) // 4) * 4, 4 * rows * columns) + 4
    return planes + (16 + byte_rows) * padded_w + channels * filters * weights


def _planar_gradient_bytes(layer: Layer, stored: int) -> int:
    """Return what `fqt_planar_gradient_bytes` asks for, of a depthwise layer; the error takes less."""
    if layer.groups != layer.filters or layer.filters % 4 != 0 or _planar_bytes(layer) == 0 or layer.pooled:
        return 0
    (rows, columns), windows = layer.kernel, -(-layer.out_shape[1] // 4) * 4
    ring = 16 * rows * (((windows - 1) * layer.stride[1] + columns + 2) // 2 * 2)
    return ring + 16 * (windows + 2 + stored + 1) + 4 * (2 * rows - 1)


def _grey_gradient_bytes(layer: Layer, stored: int) -> int:
    """Return the same of a layer over grey images, for all rows of output at once; 0: another layer."""
    (rows, columns), (stride_h, stride_w), (out_h, out_w, _) = layer.kernel, layer.stride, layer.out_shape
    planar = layer.in_shape[2] == layer.groups == 1 and _planar_bytes(layer) != 0 and not layer.pooled
    if not planar or columns != 3 or layer.filters % 4 != 0 or out_w > _MOST_GREY_PIXELS:
        return 0
    pairs, map_rows = (out_w + 1) // 2, stride_h * (out_h + (rows - 1) // stride_h)
    return 4 * (pairs * (6 * map_rows + 4 * out_h) + 4 + 4 * (stored + 1)) + 2 * pairs * stride_w + 7


def best_scratch_bytes(layer: Layer, gradient: bool, error: bool) -> int:
    """Bytes of scratch with which a layer's kernels work best, forward and backward.

    With less they take fewer filters, channels or windows at a time, weights are widened again and again or not at all,
    and the dense ones may be left out. kernels/dense.h and convolution.h have the formulas.
    """
    stored = -layer.taps % 4 + layer.taps
    forward = _widened_bytes(layer, stored)
    if layer.groups > 1:
        return max(forward, _planar_gradient_bytes(layer, stored) if gradient or error else 0)
    if layer.type == LayerType.FULLY_CONNECTED:
        return 8 * layer.filters + 16 if error else 0
    if layer.pooled:
        return max(forward, 4 * stored + 4 + 12 * _PAIRS_IN_LIST if gradient else 0)
    pixels = -(-layer.out_shape[0] * layer.out_shape[1] // 4) * 4
    for_gradient = _grey_gradient_bytes(layer, stored) or max(
        18 * stored + 384 + (4 * stored + 68) * _FILTERS_AT_ONCE,
        (2 * pixels + 8) * stored
        + 4 * pixels
        + 8
        + 4 * (stored + 1) * min(_FILTERS_AT_ONCE, layer.filters)
        + _border_bytes(layer),
    )
    return max(forward, for_gradient if gradient else 0, _widened_error_bytes(layer) if error else 0)


def _covered(layer: Layer) -> tuple[int, int]:
    """Return rows and columns that all windows of a layer cover together, its border included."""
    pool = 2 if layer.pooled else 1
    rows, columns = (
        (n * pool - 1) * stride + kernel
        for n, stride, kernel in zip(layer.out_shape[:2], layer.stride, layer.kernel, strict=True)
    )
    return rows, columns


def _border_bytes(layer: Layer) -> int:
    """Dense gradient: the map with its border, if it has one."""
    rows, columns = _covered(layer)
    padded = max(*layer.pad) > 0 or rows > layer.in_shape[0] or columns > layer.in_shape[1]
    return -(-rows * columns * layer.in_shape[2] // 4) * 4 if padded else 0


def _widened_bytes(layer: Layer, stored: int) -> int:
    """Forward: two windows, and all weights of a group widened; a centred map, where windows overlap."""
    filters, channels = layer.filters // layer.groups, layer.in_shape[2] // layer.groups
    (rows, columns), (stride_h, stride_w) = layer.kernel, layer.stride
    out_h, out_w = (size * (2 if layer.pooled else 1) for size in layer.out_shape[:2])
    if _planar_bytes(layer) or filters < _ROWS_AT_ONCE or out_h * out_w < _LEAST_WINDOWS:
        return 0
    n_bytes = 6 * stored + 4 * filters + 2 * stored * (filters // 4 * 4)
    if (filters | channels) % 4 == 0 and rows * columns > stride_h * stride_w:
        covered = _covered(layer)
        n_bytes += 2 * covered[0] * covered[1] * channels
    return n_bytes


def _widened_error_bytes(layer: Layer) -> int:
    """Return the same for the error of the input, by the dense kernel: windows over the errors, channels as filters."""
    (h, w, channels), filters = layer.in_shape, layer.filters
    reach_h, reach_w = (-(-size // stride) for size, stride in zip(layer.kernel, layer.stride, strict=True))
    n = -(-filters * reach_h * reach_w // 4) * 4
    n_bytes = 6 * n + (2 * n + 4) * channels
    if (filters | channels) % 4 == 0 and reach_h * reach_w > 1:
        rows, columns = (
            max(reach - 1 - pad // stride, 0) + (size - 1 + pad) // stride + 1
            for reach, pad, stride, size in zip(
                (reach_h, reach_w), layer.pad, layer.stride, (h, w), strict=True
            )
        )
        n_bytes += 2 * rows * columns * filters
    return n_bytes
