"""Promise: the engine refuses what it can't train, each reason with its own code, and touches no memory for it."""

import ctypes
import struct
import zlib

import numpy as np
import pytest

from fqtbench.training import image as im
from fqtbench.training.compile import compile_model
from fqtbench.training.spec import NetworkSpec, TrainingSpec
from tests.engine.native import Engine
from tests.engine.networks import ROOMY

_NETWORK = NetworkSpec.model_validate(
    {
        "layers": [
            {"type": "conv2d", "filters": 4},
            {"type": "fully_connected", "units": 3, "activation": "linear"},
        ]
    }
)


def _image() -> bytes:
    x = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 2)).astype(np.uint8)
    y = np.zeros(8, np.uint16)
    return compile_model(_NETWORK, TrainingSpec(batch=8), x, y, 3, ROOMY, seed=1, n_steps=8).image


def _field(dtype: np.dtype, name: str) -> int:  # type: ignore[type-arg]
    assert dtype.fields is not None
    return int(dtype.fields[name][1])


def _patched(offset: int, layout: str, value: float, fix_crc: bool = True) -> bytes:
    data = bytearray(_image())
    struct.pack_into(layout, data, offset, value)
    if fix_crc:
        struct.pack_into("<I", data, _field(im.HEADER, "crc32"), zlib.crc32(bytes(data[im.CRC_START :])))
    return bytes(data)


def _moved(tensor: str, to: str) -> bytes:
    """Return the image with a tensor of layer 0, the trained convolution, where another one of it lies."""
    image = im.Image.parse(_image())
    moved, other = (int(image.layers[0][field]) for field in (tensor, to))
    return _patched(_tensor(moved, "offset"), "<I", int(image.tensors[other]["offset"]))


def _tensor(number: int, name: str) -> int:
    return (
        int(im.Image.parse(_image()).header["tensors_offset"])
        + number * im.TENSOR.itemsize
        + _field(im.TENSOR, name)
    )


def _layer(number: int, name: str) -> int:
    return (
        int(im.Image.parse(_image()).header["layers_offset"])
        + number * im.LAYER.itemsize
        + _field(im.LAYER, name)
    )


def test_the_unpatched_image_is_accepted(engine_library: ctypes.CDLL) -> None:
    assert Engine(engine_library, _image()).status == 0


@pytest.mark.parametrize(
    ("image", "status", "detail"),
    [
        (lambda: bytes(4096), 1, None),
        (lambda: _patched(_field(im.HEADER, "version"), "<H", 7), 2, 7),
        (lambda: _patched(_field(im.HEADER, "arith_id"), "<H", 9), 3, 9),
        (lambda: _patched(_field(im.HEADER, "total_bytes"), "<I", 1 << 24), 4, 1 << 24),
        (lambda: _patched(_field(im.HEADER, "seed"), "<I", 77, fix_crc=False), 5, None),
        (lambda: _patched(_layer(0, "type"), "<H", 200), 7, 200),
        (lambda: _patched(_layer(1, "type"), "<H", 10), 7, 1 << 16 | 10),
        (lambda: _patched(_field(im.HEADER, "normalization"), "<B", 3), 8, 2),
        (lambda: _patched(_tensor(1, "offset"), "<I", 1 << 30), 9, 1),
        (lambda: _patched(_tensor(0, "scale"), "<f", float("nan")), 9, 0),
        (lambda: _patched(_tensor(0, "flags"), "<B", 1), 9, 0),
        (lambda: _patched(_layer(0, "stride_h"), "<B", 0), 10, 0),
        (lambda: _patched(_layer(1, "in"), "<H", 0), 10, 1),
        (lambda: _patched(_field(im.HEADER, "slots_offset"), "<I", 1 << 20), 11, None),
    ],
)
def test_each_reason_has_its_code(
    engine_library: ctypes.CDLL, image, status: int, detail: int | None
) -> None:  # type: ignore[no-untyped-def]
    engine = Engine(engine_library, image())
    assert engine.status == status
    if detail is not None:
        assert engine.detail == detail


@pytest.mark.parametrize(
    ("tensor", "to", "status"),
    [
        ("out", "scratch", 10),
        ("error_out", "scratch", 10),
        ("scratch", "weights", 9),
        ("scratch", "bias_step", 9),
    ],
)
def test_what_a_kernel_writes_is_kept_from_what_it_reads_addresses_in(
    engine_library: ctypes.CDLL, tensor: str, to: str, status: int
) -> None:
    assert Engine(engine_library, _moved(tensor, to)).status == status


def test_an_arena_too_small_says_by_how_many_bytes(engine_library: ctypes.CDLL) -> None:
    need = int(im.Image.parse(_image()).header["region_bytes"][0])
    engine = Engine(engine_library, _image(), need - 64)
    assert (engine.status, engine.detail) == (6, 64)


def test_no_corruption_of_a_table_gets_through_to_undefined_behaviour(engine_library: ctypes.CDLL) -> None:
    """Flip bytes of header and tables; what is still accepted must train without a trap (UBSan is on)."""
    rng = np.random.default_rng(5)
    original = _image()
    tables_end = int(im.Image.parse(original).header["rates_offset"])
    accepted = 0
    for _ in range(2000):
        data = bytearray(original)
        for position in rng.integers(im.CRC_START, tables_end, rng.integers(1, 4)):
            data[position] = rng.integers(0, 256)
        struct.pack_into("<I", data, _field(im.HEADER, "crc32"), zlib.crc32(bytes(data[im.CRC_START :])))
        engine = Engine(engine_library, bytes(data), 1 << 16)
        if engine.status == 0:
            accepted += 1
            size = int(im.Image.parse(bytes(data)).header["sample_bytes"])
            for _ in range(9):
                engine.train(bytes(rng.integers(0, 256, size).astype(np.uint8)), label=0)
    assert 0 < accepted < 2000
