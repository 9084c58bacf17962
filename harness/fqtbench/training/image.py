"""The model image: a versioned, checksummed binary that holds a network and its plan (docs/image.md).

The structures are those of `firmware/engine/image.h`, declared once more here as NumPy dtypes; a test compares
sizes and offsets with the C compiler's.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import ImageError
from fqtbench.training.arithmetic import ARITH_ID

MAGIC: Final = 0x49545146
VERSION: Final = 3
NONE: Final = 0xFFFF
CRC_START: Final = 16

REGION_IN_IMAGE: Final = 254  # a constant tensor: it stays in the image
REGION_SAMPLE: Final = 255  # the input tensor: it lies in the slot that received it


class LayerType(IntEnum):
    """Layer numbers of the format."""

    CONVOLUTION = 1
    FULLY_CONNECTED = 2
    MAX_POOL = 3
    AVERAGE_POOL = 4
    FLATTEN = 5
    SOFTMAX_CROSS_ENTROPY = 6
    ADD = 7
    FORK = 8
    DEQUANTIZE = 9


WEIGHTED: Final = (LayerType.CONVOLUTION, LayerType.FULLY_CONNECTED)


class LayerFlag(IntFlag):
    """Flags of a layer; the masks say which folded activation clamped its inputs."""

    RELU = 1
    RELU6 = 2  # with RELU
    TRAINED = 4  # its weights
    BIAS_TRAINED = 8
    TRACKED = 16  # the range of its output follows what is observed
    MASK_INPUT = 32
    MASK_INPUT_HIGH = 64  # with MASK_INPUT: ReLU6
    MASK_OTHER = 128
    MASK_OTHER_HIGH = 256
    WHOLE = 512  # never updated in part


class Normalization(IntEnum):
    """What is done to a gradient before the rate is applied."""

    STANDARDIZE = 0
    QAS = 1
    NONE = 2


class Rounding(IntEnum):
    """How a weight is written back."""

    RESIDUAL = 0
    STOCHASTIC = 1
    NEAREST = 2


class PartialRule(IntEnum):
    """Which structures of a layer a sample updates."""

    FULL = 0
    DYNAMIC = 1
    TOP_K = 2
    RANDOM_K = 3
    SAMPLED = 4


class WeightRanges(IntEnum):
    """How the range of a weight tensor changes."""

    FIXED = 0
    GROW = 1
    DYNAMIC = 2


class ErrorRanges(IntEnum):
    """How the range of an error tensor changes."""

    FIXED = 0
    CALIBRATED = 1
    TRACKED = 2


class TensorType(IntEnum):
    """Element types of a tensor."""

    U8 = 0
    I16 = 1
    I32 = 2
    F32 = 3
    I8 = 4


TRAINED_STATE: Final = 1  # tensor flag
TENSOR_STATES: Final = (
    0xFFFF  # numbers under which a device gives out the states of all tensors, and of all layers
)
LAYER_STATES: Final = 0xFFFE

HEADER: Final = np.dtype(
    [
        ("magic", "<u4"),
        ("version", "<u2"),
        ("header_bytes", "<u2"),
        ("total_bytes", "<u4"),
        ("crc32", "<u4"),
        ("arith_id", "<u2"),
        ("n_regions", "<u2"),
        ("n_tensors", "<u2"),
        ("n_layers", "<u2"),
        ("n_rates", "<u2"),
        ("n_classes", "<u2"),
        ("tensors_offset", "<u4"),
        ("layers_offset", "<u4"),
        ("rates_offset", "<u4"),
        ("sample_bytes", "<u4"),
        ("region_bytes", "<u4", (4,)),
        ("tensor_state_offset", "<u4"),
        ("layer_state_offset", "<u4"),
        ("slots_offset", "<u4"),
        ("slot_stride", "<u4"),
        ("ring_offset", "<u4"),
        ("ring_half_bytes", "<u4"),
        ("n_slots", "<u2"),
        ("batch", "<u2"),
        ("configuration", "u1"),
        ("recipe", "u1"),
        ("normalization", "u1"),
        ("rounding", "u1"),
        ("track_period", "<u2"),
        ("partial", "u1"),
        ("weight_ranges", "u1"),
        ("error_ranges", "u1"),
        ("reserved", "u1", (3,)),
        ("seed", "<u4"),
        ("lambda_min", "<f4"),
        ("lambda_max", "<f4"),
        ("momentum", "<f4"),
        ("reserved2", "<u4", (2,)),
    ]
)

TENSOR: Final = np.dtype(
    [
        ("dtype", "u1"),
        ("region", "u1"),
        ("flags", "u1"),
        ("reserved", "u1"),
        ("offset", "<u4"),
        ("bytes", "<u4"),
        ("init_offset", "<u4"),
        ("h", "<u2"),
        ("w", "<u2"),
        ("c", "<u2"),
        ("reserved2", "<u2"),
        ("scale", "<f4"),
        ("zero_point", "<i4"),
    ]
)

TENSOR_FIELDS: Final = (
    *("in", "other", "out", "error_in", "error_other", "error_out"),
    *("weights", "plane", "velocity", "bias", "bias_step", "bias_folded"),
    *("argmax", "scratch", "selection"),
)

LAYER: Final = np.dtype(
    [
        ("type", "<u2"),
        ("flags", "<u2"),
        ("kernel_h", "<u2"),
        ("kernel_w", "<u2"),
        ("stride_h", "<u2"),
        ("stride_w", "<u2"),
        ("pad_top", "<u2"),
        ("pad_left", "<u2"),
        ("groups", "<u2"),
        *((name, "<u2") for name in TENSOR_FIELDS),
        ("error_ratio", "<f4"),
        ("gradient_exponent", "<i4"),
    ]
)

RATE: Final = np.dtype([("first_step", "<u4"), ("rate", "<f4")])

TENSOR_STATE: Final = np.dtype(
    [("scale", "<f4"), ("zero_point", "<i4"), ("range_min", "<f4"), ("range_max", "<f4")]
)
LAYER_STATE: Final = np.dtype(
    [
        ("error_ratio", "<f4"),
        ("gradient_exponent", "<i4"),
        ("acc_min", "<i4"),
        ("acc_max", "<i4"),
        ("error_max", "<f4"),
        ("saturated", "<i2"),
        ("updated", "<u2"),
    ]
)


def record(structure: np.dtype[Any], /, **values: object) -> NDArray[Any]:
    """Return a 0-d array of `structure`, zero but for `values`; out-of-range integers raise ImageError."""
    row = np.zeros((), structure)
    for name, value in values.items():
        try:
            row[name] = value
        except OverflowError as error:
            raise ImageError(f"model image: {name} = {value} does not fit its field") from error
    return row


@dataclass(frozen=True)
class Image:
    """A parsed model image."""

    data: bytes
    header: NDArray[Any]
    tensors: NDArray[Any]
    layers: NDArray[Any]
    rates: NDArray[Any]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Check magic, version, length and CRC, and read the tables; a malformed image raises ImageError."""
        if len(data) < HEADER.itemsize:
            raise ImageError(f"model image: {len(data)} bytes are less than its header of {HEADER.itemsize}")
        header = np.frombuffer(data, HEADER, 1)[0]
        if header["magic"] != MAGIC:
            raise ImageError(f"model image: it begins with 0x{header['magic']:08x}, not with 'FQTI'")
        if header["version"] != VERSION or header["header_bytes"] != HEADER.itemsize:
            raise ImageError(f"model image: format version {header['version']}, this program reads {VERSION}")
        if header["arith_id"] != ARITH_ID:
            raise ImageError(f"model image: arith_id {header['arith_id']}, this program computes {ARITH_ID}")
        if header["total_bytes"] != len(data):
            raise ImageError(f"model image: {header['total_bytes']} bytes by its header, {len(data)} in hand")
        if zlib.crc32(data[CRC_START:]) != header["crc32"]:
            raise ImageError("model image: its CRC is wrong; compile it again")
        return cls(
            data,
            header,
            cls._table(data, TENSOR, int(header["tensors_offset"]), int(header["n_tensors"])),
            cls._table(data, LAYER, int(header["layers_offset"]), int(header["n_layers"])),
            cls._table(data, RATE, int(header["rates_offset"]), int(header["n_rates"])),
        )

    @staticmethod
    def _table(data: bytes, dtype: np.dtype[Any], offset: int, n: int) -> NDArray[Any]:
        if offset + n * dtype.itemsize > len(data):
            raise ImageError(f"model image: a table of {n} entries at {offset} ends behind the image")
        return np.frombuffer(data, dtype, n, offset)

    def initial(self, tensor: int) -> bytes:
        """Return the initial content of tensor number `tensor`."""
        entry = self.tensors[tensor]
        start, size = int(entry["init_offset"]), int(entry["bytes"])
        if start == 0:
            return bytes(size)
        if start + size > len(self.data):
            raise ImageError(f"model image: tensor {tensor} begins at {start} and ends behind the image")
        return self.data[start : start + size]


def _aligned(n: int) -> int:
    return -n % 4 + n


def build(
    header: NDArray[Any],
    tensors: Sequence[NDArray[Any]],
    layers: Sequence[NDArray[Any]],
    rates: Sequence[tuple[int, float]],
    contents: dict[int, bytes],
) -> bytes:
    """Lay out an image: header, tables, then `contents` by tensor number, each aligned to 4 bytes."""
    tensor_table = np.array([t[()] for t in tensors], TENSOR)
    layer_table = np.array([row[()] for row in layers], LAYER)
    rate_table = np.array(list(rates), RATE)
    header = header.copy()
    offset = HEADER.itemsize
    for name, table in (("tensors", tensor_table), ("layers", layer_table), ("rates", rate_table)):
        header[f"{name}_offset"] = offset
        header[f"n_{name}"] = len(table)
        offset += table.nbytes
    blobs = []
    for number, content in sorted(contents.items()):
        tensor_table[number]["init_offset"] = offset
        blobs.append(content.ljust(_aligned(len(content)), b"\0"))
        offset += len(blobs[-1])
    header["magic"], header["version"], header["header_bytes"] = MAGIC, VERSION, HEADER.itemsize
    header["arith_id"], header["total_bytes"] = ARITH_ID, offset
    tables = tensor_table.tobytes() + layer_table.tobytes() + rate_table.tobytes()
    body = header.tobytes()[CRC_START:] + tables + b"".join(blobs)
    header["crc32"] = zlib.crc32(body)
    return header.tobytes()[:CRC_START] + body
