"""Promise: a model image says what it holds, and nothing malformed is taken for one."""

import re
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from fqtbench.errors import ImageError
from fqtbench.training import image as im
from fqtbench.training.compile import CompiledModel, Memory, compile_model
from fqtbench.training.spec import NetworkSpec, TrainingSpec
from tests.tools import require

_ENGINE: Final = Path(__file__).resolve().parents[2] / "firmware" / "engine"


def _compiled(
    memory: Memory = Memory(1 << 20, 1 << 20),  # noqa: B008 - a frozen constant
    side: int = 6,
    spare_scratch: int = 1 << 15,
) -> CompiledModel:
    network = NetworkSpec.model_validate(
        {
            "layers": [
                {"type": "conv2d", "filters": 4},
                {"type": "max_pool"},
                {"type": "fully_connected", "units": 3, "activation": "linear"},
            ]
        }
    )
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (8, side, side, 2)).astype(np.uint8)
    y = rng.integers(0, 3, 8).astype(np.uint16)
    training = TrainingSpec(batch=8, scratch_bytes=spare_scratch)
    return compile_model(network, training, x, y, 3, memory, seed=1, n_steps=8)


def test_what_is_built_is_parsed() -> None:
    model = _compiled()
    image = im.Image.parse(model.image)
    types = [im.LayerType(int(layer["type"])).name for layer in image.layers]
    assert types == ["CONVOLUTION", "FULLY_CONNECTED", "SOFTMAX_CROSS_ENTROPY"]  # the pool is fused
    assert image.header["sample_bytes"] == 6 * 6 * 2
    assert image.header["region_bytes"][0] == model.plan.peak_bytes
    parts = ("weights", "plane", "bias", "bias step", "folded bias")
    layers = ("0:conv2d", "1:fully_connected")
    assert {t.name for t in model.trained_tensors} == {
        f"{layer} {part}" for layer in layers for part in parts
    }


def test_the_same_inputs_give_the_same_image() -> None:
    assert _compiled().image == _compiled().image


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: b"", "less than its header"),
        (lambda d: b"XXXX" + d[4:], "not with 'FQTI'"),
        (lambda d: d[:4] + struct.pack("<H", 99) + d[6:], "format version 99"),
        (lambda d: d[:16] + struct.pack("<H", 99) + d[18:], "arith_id 99"),
        (lambda d: d[:-4], "in hand"),
        (lambda d: d[:-1] + bytes([d[-1] ^ 1]), "CRC is wrong"),
    ],
)
def test_a_malformed_image_is_refused_with_its_reason(change, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ImageError, match=re.escape(message)):
        im.Image.parse(change(_compiled().image))


def test_a_table_that_ends_behind_the_image_is_refused() -> None:
    data = bytearray(_compiled().image)
    offset = im.HEADER.fields["layers_offset"][1]  # type: ignore[index]
    struct.pack_into("<I", data, offset, len(data) - 4)
    struct.pack_into("<I", data, 12, zlib.crc32(bytes(data[16:])))
    with pytest.raises(ImageError, match="ends behind the image"):
        im.Image.parse(bytes(data))


def test_too_little_arena_names_the_bytes_missing_and_the_largest_buffer() -> None:
    need = _compiled(spare_scratch=0).plan.peak_bytes
    with pytest.raises(ImageError, match=r"100 more than the board's .* largest buffer is "):
        _compiled(Memory(1 << 20, need - 100))


def test_too_little_flash_names_the_bytes_missing_and_the_largest_layer() -> None:
    need = len(_compiled().image)
    with pytest.raises(ImageError, match=r"8 more than the board .* largest layer is 1:fully_connected"):
        _compiled(Memory(need - 8, 1 << 20))


def test_a_sample_that_the_wire_can_not_take_is_refused() -> None:
    """Half a ring holds two frames; its limit is the device's own."""
    limit = re.search(
        r"LINK_MAX_RING_HALF_BYTES (0x\w+)u", (_ENGINE.parent / "wire/link.h").read_text("utf-8")
    )
    assert limit is not None
    model = _compiled(side=89)
    assert im.Image.parse(model.image).header["ring_half_bytes"] <= int(limit[1], 16)
    with pytest.raises(
        ImageError, match=rf"receive ring; the boards' DMA fills {2 * int(limit[1], 16)} at most"
    ):
        _compiled(side=91)


def test_c_and_python_agree_on_every_field(tmp_path: Path) -> None:
    """image.h and image.py declare the same structures."""
    compiler = require("cc", "gcc")
    structures = {
        "image_header": im.HEADER,
        "image_tensor": im.TENSOR,
        "image_layer": im.LAYER,
        "image_rate": im.RATE,
        "fqt_tensor_state": im.TENSOR_STATE,
        "fqt_layer_state": im.LAYER_STATE,
    }
    lines, expected = [], []
    for structure, dtype in structures.items():
        assert dtype.fields is not None
        lines.append(f'printf("%zu\\n", sizeof(struct {structure}));')
        expected.append(dtype.itemsize)
        for name, (_, offset) in ((n, f[:2]) for n, f in dtype.fields.items()):
            lines.append(f'printf("%zu\\n", offsetof(struct {structure}, {name}));')
            expected.append(offset)
    source = tmp_path / "layout.c"
    source.write_text(
        '#include <stddef.h>\n#include <stdio.h>\n#include "fqt.h"\nint main(void) {' + "\n".join(lines) + "}"
    )
    program = tmp_path / "layout"
    subprocess.run([compiler, "-std=c11", f"-I{_ENGINE}", "-o", program, source], check=True, timeout=60)
    printed = subprocess.run([program], check=True, timeout=10, capture_output=True, text=True).stdout
    assert [int(line) for line in printed.split()] == expected
