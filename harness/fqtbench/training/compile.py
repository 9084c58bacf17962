"""From a network and its hyper-parameters to a model image with a memory plan."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import ImageError
from fqtbench.training import image as im
from fqtbench.training.calibrate import calibrate
from fqtbench.training.draft import Draft
from fqtbench.training.image import ErrorRanges, LayerFlag
from fqtbench.training.initial import GivenWeights
from fqtbench.training.network import Layer, Shape, resolve
from fqtbench.training.options import Options, options_of
from fqtbench.training.plan import Buffer, MemoryPlan, plan_memory
from fqtbench.training.reference import Trainer
from fqtbench.training.spec import LearningRate, NetworkSpec, TrainingSpec

_MAX_REGIONS: Final = 4
_N_SLOTS: Final = 2  # one sample trains while the next one streams in
_FRAME_OVERHEAD_BYTES: Final = 16  # header 8, label 4, CRC 4 (docs/wire.md)
_MIN_SLOT_BYTES: Final = 128
_RING_SLACK_BYTES: Final = 64
_MAX_RING_HALF_BYTES: Final = 0x7FFC  # LINK_MAX_RING_HALF_BYTES, firmware/wire/link.h
_SCHEDULE_PIECES: Final = 32
_PIXELS: Final = (1 / 255, 0)  # scale and zero point of an input whose 0..255 stand for 0..1
_CONFIGURATIONS: Final = ("uint8", "mixed", "float32")
_RECIPES: Final = ("best", "paper")


@dataclass(frozen=True)
class Memory:
    """What a chip offers: bytes of flash for the image, bytes of RAM for the arena, in further regions too."""

    flash_bytes: int
    arena_bytes: int
    further_arenas_bytes: tuple[int, ...] = ()


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
    warnings: tuple[str, ...]

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
    quantization: tuple[float, int] = _PIXELS,
    weights: GivenWeights | None = None,
) -> CompiledModel:
    """Compile a model image.

    `calibration` (n, h, w, c) and `labels` (n,) are training samples from which the initial ranges are taken; `n_steps`
    is the number of samples of the whole training, over which the learning rate runs; `quantization` is scale and zero
    point of the samples; `weights` are float32 (filters, KH, KW, channels of a group) and biases (filters,), by
    position in `network.layers`, drawn by `seed` where missing. ImageError if the network does not fit `memory`, naming
    the layer and the bytes missing.
    """
    options = options_of(training)
    layers = resolve(network, _shape_of(calibration), n_classes, training.configuration)
    for spare_scratch_bytes in (training.scratch_bytes, training.scratch_bytes // 4, 0):
        draft = Draft(
            layers,
            options,
            training.batch,
            training.momentum,
            seed,
            quantization,
            weights,
            spare_scratch_bytes,
        )
        builder = _Builder(draft, training, options, seed, n_steps)
        plan = builder.place((memory.arena_bytes, *memory.further_arenas_bytes))
        if not plan.missing_bytes:
            break
    _check_fits(plan)
    trainer = Trainer(builder.build(calibrating=True))
    limit = options.activation_limit if options.activation_ranges == "fixed" else None
    calibrate(trainer, calibration, labels, limit)
    builder.adopt(trainer)
    image = builder.build()
    if len(image) > memory.flash_bytes:
        largest = max(layers, key=lambda layer: layer.parameters)
        raise ImageError(
            f"the model image takes {len(image)} bytes of flash, {len(image) - memory.flash_bytes} more than the board "
            f"has for it; the largest layer is {largest.name} with {largest.parameters} parameters"
        )
    return CompiledModel(image, plan, layers, builder.trained_tensors(), options.warnings)


def _shape_of(samples: NDArray[np.uint8]) -> Shape:
    _, h, w, c = samples.shape
    return h, w, c


def _check_fits(plan: MemoryPlan) -> None:
    if plan.missing_bytes:
        largest = max(plan.placements, key=lambda p: p.buffer.n_bytes).buffer
        raise ImageError(
            f"the network takes {plan.peak_bytes} bytes of arena, {plan.missing_bytes} more than the board's "
            f"{sum(plan.region_bytes)}; its largest buffer is {largest.name} with {largest.n_bytes} bytes"
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


class _Builder:
    """A draft, its memory plan, and the image that both give."""

    def __init__(
        self, draft: Draft, training: TrainingSpec, options: Options, seed: int, n_steps: int
    ) -> None:
        self.draft, self.training, self.options = draft, training, options
        self.seed, self.n_steps = seed, n_steps

    def place(self, region_bytes: Sequence[int]) -> MemoryPlan:
        """Plan the arenas and write regions and offsets into the tables."""
        draft = self.draft
        sample_bytes = int(draft.tensors[draft.input]["bytes"])
        self.slot_stride = max(_MIN_SLOT_BYTES, _aligned(sample_bytes + _FRAME_OVERHEAD_BYTES))
        # COBS adds a byte in 254, and one; then the 0x00
        encoded = self.slot_stride + self.slot_stride // 254 + 2
        self.ring_half_bytes = _aligned(_N_SLOTS * encoded + _RING_SLACK_BYTES)
        if self.ring_half_bytes > _MAX_RING_HALF_BYTES:
            raise ImageError(
                f"a sample has {sample_bytes} bytes, which take {2 * self.ring_half_bytes} bytes of receive ring; the "
                f"boards' DMA fills {2 * _MAX_RING_HALF_BYTES} at most, enough for samples of 16000: scale them down"
            )
        fixed = {
            "tensor state": len(draft.tensors) * im.TENSOR_STATE.itemsize,
            "layer state": len(draft.rows) * im.LAYER_STATE.itemsize,
            "sample slots": _N_SLOTS * self.slot_stride,
            "receive ring": 2 * self.ring_half_bytes,
        }
        always = [Buffer(name, n_bytes, 0, draft.end, anywhere=False) for name, n_bytes in fixed.items()]
        self.plan = plan_memory([*always, *draft.buffers.values()], region_bytes)
        for tensor, buffer in draft.buffers.items():
            placed = self.plan.find(buffer.name)
            draft.tensors[tensor]["region"], draft.tensors[tensor]["offset"] = placed.region, placed.offset
        for tensor, of in draft.aliases.items():
            for field in ("region", "offset"):
                draft.tensors[tensor][field] = draft.tensors[of][field]
        return self.plan

    def build(self, calibrating: bool = False) -> bytes:
        """Return the image as the tables stand; to calibrate by it, one that tracks every range."""
        training, options, draft = self.training, self.options, self.draft
        error_ranges = options.error_ranges
        if calibrating and error_ranges == ErrorRanges.CALIBRATED:
            error_ranges = ErrorRanges.TRACKED
        header = im.record(
            im.HEADER,
            n_regions=len(self.plan.region_bytes),
            n_classes=draft.layers[-1].out_shape[2],
            sample_bytes=int(draft.tensors[draft.input]["bytes"]),
            region_bytes=(*self.plan.region_peaks, 0, 0, 0, 0)[:_MAX_REGIONS],
            tensor_state_offset=self.plan.find("tensor state").offset,
            layer_state_offset=self.plan.find("layer state").offset,
            slots_offset=self.plan.find("sample slots").offset,
            slot_stride=self.slot_stride,
            ring_offset=self.plan.find("receive ring").offset,
            ring_half_bytes=self.ring_half_bytes,
            n_slots=_N_SLOTS,
            batch=training.batch,
            configuration=_CONFIGURATIONS.index(training.configuration),
            recipe=_RECIPES.index(training.recipe),
            normalization=options.normalization,
            rounding=options.rounding,
            track_period=training.track_period,
            partial=options.partial,
            weight_ranges=options.weight_ranges,
            error_ranges=error_ranges,
            seed=self.seed,
            lambda_min=options.lambda_min,
            lambda_max=options.lambda_max,
            momentum=training.momentum,
        )
        rates = learning_rate_table(training.learning_rate, self.n_steps)
        if calibrating:
            return im.build(header, *self._varying(), rates=rates, contents=self._with_biases())
        return im.build(header, draft.tensors, draft.rows, rates, draft.contents)

    def _varying(self) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Return tensors and layers with tracked ranges, and folded biases in the arena that follow float ones.

        The float biases of layers that are constant on the device stand behind all other tensors.
        """
        tensors, rows = [t.copy() for t in self.draft.tensors], [row.copy() for row in self.draft.rows]
        for number in self.draft.calibrated:
            rows[number]["flags"] = int(rows[number]["flags"]) | LayerFlag.TRACKED
        for number in self.draft.constant_biases:
            folded = tensors[int(rows[number]["bias_folded"])]
            rows[number]["bias"] = len(tensors)
            tensors.append(folded.copy())
            tensors[-1]["dtype"] = im.TensorType.F32
            folded["region"] = 0
        return tensors, rows

    def _with_biases(self) -> dict[int, bytes]:
        first, biases = len(self.draft.tensors), self.draft.constant_biases.values()
        return self.draft.contents | {first + i: bias.tobytes() for i, bias in enumerate(biases)}

    def adopt(self, trainer: Trainer) -> None:
        """Take over what calibration found."""
        draft, state = self.draft, trainer.state
        for tensor, entry in zip(draft.tensors, state.tensor_state, strict=False):
            tensor["scale"], tensor["zero_point"] = entry["scale"], entry["zero_point"]
        for row, found in zip(draft.rows, state.layer_state, strict=True):
            row["error_ratio"] = found["error_ratio"]
            row["gradient_exponent"] = found["gradient_exponent"]
        for number in draft.constant_biases:
            folded = state.parameters[number].bias_folded.astype("<i4").tobytes()
            draft.contents[int(draft.rows[number]["bias_folded"])] = folded

    def trained_tensors(self) -> tuple[TrainedTensor, ...]:
        """Return what training changes."""
        return tuple(
            TrainedTensor(name, index, int(row["bytes"]))
            for index, (name, row) in enumerate(zip(self.draft.names, self.draft.tensors, strict=True))
            if int(row["flags"]) & im.TRAINED_STATE
        )


def _aligned(n: int) -> int:
    return -n % 4 + n
