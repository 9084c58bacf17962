"""From a network and its hyper-parameters to a model image with a memory plan."""

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import ImageError
from fqtbench.training import arithmetic as ar
from fqtbench.training import image as im
from fqtbench.training.calibrate import calibrate
from fqtbench.training.image import LayerFlag, LayerType, TensorType
from fqtbench.training.network import Layer, Shape, resolve
from fqtbench.training.plan import Buffer, MemoryPlan, plan_memory
from fqtbench.training.reference import Trainer
from fqtbench.training.spec import LearningRate, NetworkSpec, TrainingSpec

_N_SLOTS: Final = 2  # one sample trains while the next one streams in
_FRAME_OVERHEAD_BYTES: Final = 16  # header 8, label 4, CRC 4 (docs/wire.md)
_MIN_SLOT_BYTES: Final = 128
_RING_SLACK_BYTES: Final = 64
_WEIGHT_HEADROOM: Final = 1.25  # initial weights reach 1/1.25 of the range
_WEIGHT_ZERO_POINT: Final = 128
_SCHEDULE_PIECES: Final = 32
_INPUT_SCALE: Final = 1 / 255  # pixels 0..255 stand for 0..1


@dataclass(frozen=True)
class Memory:
    """What a chip offers: bytes of flash for the image, bytes of RAM for the arena."""

    flash_bytes: int
    arena_bytes: int


@dataclass(frozen=True)
class TrainedTensor:
    """A tensor that training changes: its number in the image, its bytes in the arena."""

    name: str
    index: int
    n_bytes: int


@dataclass(frozen=True)
class CompiledModel:
    """A model image and what is known of it."""

    image: bytes
    plan: MemoryPlan
    layers: tuple[Layer, ...]
    trained_tensors: tuple[TrainedTensor, ...]

    @property
    def sha256(self) -> str:
        """Hash of the image."""
        return hashlib.sha256(self.image).hexdigest()

    @property
    def crc32(self) -> int:
        """The CRC that the image carries; a device reports it in HELLO."""
        return int(im.Image.parse(self.image).header["crc32"])

    @property
    def macs_forward(self) -> int:
        """Multiply-accumulates of one forward pass."""
        return sum(layer.macs_forward for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(layer.parameters for layer in self.layers)


def compile_model(
    network: NetworkSpec,
    training: TrainingSpec,
    calibration: NDArray[np.uint8],
    labels: NDArray[np.uint16],
    n_classes: int,
    memory: Memory,
    seed: int,
    n_steps: int,
) -> CompiledModel:
    """Compile a model image.

    `calibration` (n, h, w, c) and `labels` (n,) are training samples from which the initial ranges are taken; `n_steps`
    is the number of samples of the whole training, over which the learning rate runs. Raises ImageError if
    the network does not fit `memory`, naming the layer and the bytes missing.
    """
    layers = resolve(network, _shape_of(calibration), n_classes)
    draft = _Draft(layers, training, seed, n_steps)
    plan = draft.place()
    _check_fits(plan, memory)
    trainer = Trainer(draft.build())
    calibrate(trainer, calibration, labels)
    draft.adopt(trainer)
    image = draft.build()
    if len(image) > memory.flash_bytes:
        largest = max(layers, key=lambda layer: layer.parameters)
        raise ImageError(
            f"the model image takes {len(image)} bytes of flash, {len(image) - memory.flash_bytes} more than the board "
            f"has for it; the largest layer is {largest.name} with {largest.parameters} parameters"
        )
    return CompiledModel(image, plan, layers, draft.trained_tensors())


def _shape_of(samples: NDArray[np.uint8]) -> Shape:
    _, h, w, c = samples.shape
    return h, w, c


def _check_fits(plan: MemoryPlan, memory: Memory) -> None:
    missing = plan.peak_bytes - memory.arena_bytes
    if missing > 0:
        largest = max(plan.placements, key=lambda p: p.buffer.n_bytes).buffer
        raise ImageError(
            f"the network takes {plan.peak_bytes} bytes of arena, {missing} more than the board's "
            f"{memory.arena_bytes}; its largest buffer is {largest.name} with {largest.n_bytes} bytes"
        )


def learning_rate_table(rate: float | LearningRate, n_steps: int) -> list[tuple[int, float]]:
    """Return (first step, rate) pairs: one, or a cosine from `start` to `end` in pieces of equal length."""
    if not isinstance(rate, LearningRate):
        return [(0, rate)]
    pieces = min(_SCHEDULE_PIECES, max(n_steps, 1))
    table = []
    for piece in range(pieces):
        share = piece / (pieces - 1) if pieces > 1 else 0.0
        value = rate.end + (rate.start - rate.end) * 0.5 * (1 + math.cos(math.pi * share))
        table.append((n_steps * piece // pieces, round(value, 9)))
    return table


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


class _Draft:
    """The tables of an image while they are being made."""

    def __init__(self, layers: tuple[Layer, ...], training: TrainingSpec, seed: int, n_steps: int) -> None:
        self.layers, self.training, self.seed, self.n_steps = layers, training, seed, n_steps
        self.tensors: list[NDArray[Any]] = []
        self.names: list[str] = []
        self.buffers: dict[int, Buffer] = {}  # tensor -> buffer, for tensors that live in the arena
        self.aliases: dict[int, int] = {}  # tensor -> tensor whose bytes it shares
        self.contents: dict[int, bytes] = {}
        self.rows: list[NDArray[Any]] = []
        self._add_layers()

    # -- tables

    @property
    def _end(self) -> int:
        return 2 * len(self.layers)

    def _backward_moment(self, number: int) -> int:
        return self._end - 1 - number

    def _tensor(self, name: str, dtype: TensorType, shape: Shape, n_bytes: int, **fields: object) -> int:
        h, w, c = shape
        row = im.record(im.TENSOR, dtype=dtype, h=h, w=w, c=c, bytes=n_bytes, **fields)
        self.tensors.append(row)
        self.names.append(name)
        return len(self.tensors) - 1

    def _buffer(self, tensor: int, first: int, last: int) -> int:
        self.buffers[tensor] = Buffer(self.names[tensor], int(self.tensors[tensor]["bytes"]), first, last)
        return tensor

    def _add_layers(self) -> None:
        first = self.layers[0].in_shape
        activation = self._tensor(
            "input", TensorType.U8, first, math.prod(first), region=im.REGION_SAMPLE, scale=_INPUT_SCALE
        )
        n_scratch = max(scratch_bytes(layer) for layer in self.layers)
        self.scratch = self._buffer(
            self._tensor("scratch", TensorType.I32, (1, 1, 1), n_scratch), 0, self._end
        )
        error, masked = im.NONE, False  # of the activation in hand
        for number, layer in enumerate(self.layers):
            row = im.record(im.LAYER, type=layer.type, **{"in": activation}, error_in=error)
            row["kernel_h"], row["kernel_w"] = layer.kernel
            row["stride_h"], row["stride_w"] = layer.stride
            row["pad_top"], row["pad_left"] = layer.pad
            for field in ("out", "error_out", "weights", "plane", "bias", "scratch"):
                row[field] = im.NONE
            row["error_ratio"] = 1.0
            self._extend(activation, error, self._backward_moment(number))
            if layer.type == LayerType.SOFTMAX_CROSS_ENTROPY:
                row["out"] = activation
                self.rows.append(row)
                continue
            flags = LayerFlag.MASK_INPUT if masked else LayerFlag(0)
            if layer.has_weights:
                flags |= LayerFlag.TRAINED | (LayerFlag.RELU if layer.relu else LayerFlag(0))
                self._add_weights(number, layer, row)
                masked = layer.relu
            elif layer.type == LayerType.GLOBAL_AVERAGE_POOL:
                masked = False
            activation, error = self._add_outputs(number, layer, activation, error)
            row["out"], row["error_out"], row["flags"] = activation, error, flags
            self.rows.append(row)

    def _extend(self, activation: int, error: int, moment: int) -> None:
        """Keep the layer's input until its backward pass has used it; its error is written there."""
        activation, error = self.aliases.get(activation, activation), self.aliases.get(error, error)
        if activation in self.buffers:
            self.buffers[activation] = replace(self.buffers[activation], last=moment)
        if error in self.buffers:
            self.buffers[error] = replace(self.buffers[error], first=moment)

    def _add_outputs(self, number: int, layer: Layer, activation: int, error: int) -> tuple[int, int]:
        """Add the layer's output and the error of it. A flattened tensor shares its input's bytes."""
        head = self.layers[number + 1].type == LayerType.SOFTMAX_CROSS_ENTROPY
        dtype, n = (TensorType.I32, 4) if head else (TensorType.U8, 1)
        n_bytes = math.prod(layer.out_shape)
        out = self._tensor(f"{layer.name} out", dtype, layer.out_shape, n * n_bytes, scale=1.0)
        if layer.type == LayerType.FLATTEN:
            self._alias(out, activation)
        else:
            self._buffer(out, number, number)
        if not any(earlier.has_weights for earlier in self.layers[: number + 1]):
            return out, im.NONE  # nothing below is trained: backward stops above
        out_error = self._tensor(
            f"{layer.name} error",
            TensorType.U8,
            layer.out_shape,
            n_bytes,
            scale=1.0,
            zero_point=ar.ERROR_ZERO_POINT,
        )
        if layer.type == LayerType.FLATTEN:
            self._alias(out_error, error)
        else:
            backward = self._backward_moment(number)
            self._buffer(out_error, backward, backward)
        return out, out_error

    def _alias(self, tensor: int, of: int) -> None:
        if self.tensors[of]["region"] == im.REGION_SAMPLE:
            self.tensors[tensor]["region"] = im.REGION_SAMPLE
        else:
            self.aliases[tensor] = self.aliases.get(of, of)

    def _add_weights(self, number: int, layer: Layer, row: NDArray[Any]) -> None:
        filters, taps = layer.filters, layer.taps
        stored = -taps % 4 + taps
        shape = (filters, taps, stored)
        limit = math.sqrt((6.0 if layer.relu else 3.0) / taps)  # He et al. 2015, uniform
        row["weights"] = weights = self._tensor(
            f"{layer.name} weights",
            TensorType.U8,
            shape,
            filters * stored,
            flags=im.TRAINED_STATE,
            scale=limit * _WEIGHT_HEADROOM / 127,
            zero_point=_WEIGHT_ZERO_POINT,
        )
        row["plane"] = self._tensor(
            f"{layer.name} plane", TensorType.I16, shape, 2 * filters * stored, flags=im.TRAINED_STATE
        )
        row["bias"] = self._tensor(
            f"{layer.name} bias", TensorType.F32, (filters, 3, 3), 12 * filters, flags=im.TRAINED_STATE
        )
        row["scratch"] = self.scratch
        reach = int(127 / _WEIGHT_HEADROOM)
        content = np.full((filters, stored), _WEIGHT_ZERO_POINT, np.uint8)
        drawn = random_integers(self.seed, number, filters * taps, 2 * reach + 1)
        content[:, :taps] = (drawn - reach + _WEIGHT_ZERO_POINT).reshape(filters, taps)
        self.contents[weights] = content.tobytes()
        for tensor in (row["weights"], row["plane"], row["bias"]):
            self._buffer(int(tensor), 0, self._end)

    # -- placing and building

    def place(self) -> MemoryPlan:
        """Plan the arena and write the offsets into the tables."""
        sample_bytes = int(self.tensors[0]["bytes"])
        self.slot_stride = max(_MIN_SLOT_BYTES, _aligned(sample_bytes + _FRAME_OVERHEAD_BYTES))
        encoded = (
            self.slot_stride + self.slot_stride // 254 + 2
        )  # COBS adds a byte in 254, and one; then the 0x00
        self.ring_half_bytes = _aligned(_N_SLOTS * encoded + _RING_SLACK_BYTES)
        fixed = {
            "tensor state": len(self.tensors) * im.TENSOR_STATE.itemsize,
            "layer state": len(self.rows) * im.LAYER_STATE.itemsize,
            "sample slots": _N_SLOTS * self.slot_stride,
            "receive ring": 2 * self.ring_half_bytes,
        }
        always = [Buffer(name, n_bytes, 0, self._end) for name, n_bytes in fixed.items()]
        self.plan = plan_memory([*always, *self.buffers.values()])
        for tensor, buffer in self.buffers.items():
            self.tensors[tensor]["offset"] = self.plan.offset(buffer.name)
        for tensor, of in self.aliases.items():
            self.tensors[tensor]["offset"] = self.tensors[of]["offset"]
        return self.plan

    def build(self) -> bytes:
        """Return the image as the tables stand."""
        training = self.training
        header = im.record(
            im.HEADER,
            n_regions=1,
            n_classes=self.layers[-1].out_shape[2],
            sample_bytes=int(self.tensors[0]["bytes"]),
            region_bytes=(self.plan.peak_bytes, 0, 0, 0),
            tensor_state_offset=self.plan.offset("tensor state"),
            layer_state_offset=self.plan.offset("layer state"),
            slots_offset=self.plan.offset("sample slots"),
            slot_stride=self.slot_stride,
            ring_offset=self.plan.offset("receive ring"),
            ring_half_bytes=self.ring_half_bytes,
            n_slots=_N_SLOTS,
            batch=training.batch,
            track_period=training.track_period,
            residual_bits=ar.RESIDUAL_BITS,
            seed=self.seed,
            lambda_min=1.0,
            lambda_max=1.0,
        )
        rates = learning_rate_table(training.learning_rate, self.n_steps)
        return im.build(header, self.tensors, self.rows, rates, self.contents)

    def adopt(self, trainer: Trainer) -> None:
        """Take over what calibration found."""
        for tensor, state in zip(self.tensors, trainer.tensor_state, strict=True):
            tensor["scale"], tensor["zero_point"] = state["scale"], state["zero_point"]
        for row, state in zip(self.rows, trainer.layer_state, strict=True):
            row["error_ratio"] = state["error_ratio"]
            row["gradient_exponent"] = state["gradient_exponent"]

    def trained_tensors(self) -> tuple[TrainedTensor, ...]:
        """Return what training changes."""
        return tuple(
            TrainedTensor(name, index, int(row["bytes"]))
            for index, (name, row) in enumerate(zip(self.names, self.tensors, strict=True))
            if int(row["flags"]) & im.TRAINED_STATE
        )


def scratch_bytes(layer: Layer) -> int:
    """Bytes of scratch that the engine's kernels need for `layer`; `fqt_scratch_bytes` in kernels/convolution.c.

    Forward: two centred windows of int16. Weight gradient: one int32 a weight of a filter. Error: the int32 rows of the
    input that one window reaches.
    """
    if not layer.has_weights:
        return 0
    taps = _aligned(layer.taps)
    row_values = layer.taps
    if layer.type == LayerType.CONV2D:
        row_values = layer.kernel[0] * layer.in_shape[1] * layer.in_shape[2]
    return max(2 * 2 * taps, 4 * taps, 4 * row_values)


def _aligned(n: int) -> int:
    return -n % 4 + n
