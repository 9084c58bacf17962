"""Promises of the whole firmware, kept by the prebuilt ELF on the virtual nRF52840."""

import json
import random
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from fqtbench.errors import DeviceError
from fqtbench.training import image as im
from fqtbench.training.compile import CompiledModel, Memory, compile_model
from fqtbench.training.reference import Trainer
from fqtbench.training.spec import Conv2d, Flatten, FullyConnected, NetworkSpec, TrainingSpec
from fqtbench.wire import Device, Line, Step, open_line

PREBUILT = Path(__file__).resolve().parents[2] / "firmware" / "prebuilt"
FLASH_BYTES, IMAGE_ORIGIN = 0x100000, 0x40000
N_SAMPLES = 24

pytest.importorskip("unicorn")
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def model() -> CompiledModel:
    """A small convolutional network on random samples."""
    network = NetworkSpec(
        layers=(
            Conv2d(type="conv2d", filters=4, kernel=3, stride=2, padding="same", activation="relu"),
            Flatten(type="flatten"),
            FullyConnected(type="fully_connected", units=10, activation="linear"),
        )
    )
    x, y = samples()
    memory = Memory(flash_bytes=FLASH_BYTES - IMAGE_ORIGIN, arena_bytes=200_000)
    return compile_model(network, TrainingSpec(batch=8), x[:8], y[:8], 10, memory, 1, N_SAMPLES)


def samples() -> tuple[np.ndarray, np.ndarray]:
    """Return x (n, 28, 28, 1) and y (n,)."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (N_SAMPLES, 28, 28, 1)).astype(np.uint8)
    return x, rng.integers(0, 10, N_SAMPLES).astype(np.uint16)


def flash_file(path: Path, image: bytes) -> Path:
    """Write the flash's content: firmware, and the image behind it."""
    flash = bytearray(b"\xff" * FLASH_BYTES)
    with (PREBUILT / "nrf52840.elf").open("rb") as file:
        for segment in ELFFile(file).iter_segments():
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                at = segment["p_paddr"]
                flash[at : at + segment["p_filesz"]] = segment.data()
    flash[IMAGE_ORIGIN : IMAGE_ORIGIN + len(image)] = image
    path.write_bytes(flash)
    return path


@contextmanager
def board(flash: Path) -> Iterator[Line]:
    """Run a virtual board with that flash; its line. It ends when its standard input closes."""
    arguments = [sys.executable, "-m", "fqtbench.virtual", "nrf52840", "--flash", str(flash)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        serial = json.loads(process.stdout.readline())["serial"]
        with open_line(serial, 1_000_000) as line:
            yield line
    finally:
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


class Hesitant:
    """A host that is slow at random: delays are what it is for."""

    name = "hesitant line"

    def __init__(self, line: Line) -> None:
        self._line = line
        self._random = random.Random(4)

    def write(self, data: bytes) -> None:
        """Pass `data` on in two pieces, late."""
        cut = self._random.randrange(len(data))
        for piece in (data[:cut], data[cut:]):
            time.sleep(self._random.random() * 0.01)
            self._line.write(piece)

    def read(self) -> bytes:
        """Pass on what arrived."""
        return self._line.read()


def train(line: Line) -> tuple[list[Step], int]:
    """Train on every sample once; return the steps and the checksum."""
    device = Device(line, reply_timeout_s=60, retransmit_timeout_s=20)
    hello = device.hello()
    assert hello.image_problem is None
    assert hello.chip == 0x52840
    manifest = json.loads((PREBUILT / "manifest.json").read_text(encoding="utf-8"))
    assert hello.build_id.hex() == manifest["chips"]["nrf52840"]["build_id"]
    x, y = samples()
    steps = list(device.train((a.tobytes(), int(b)) for a, b in zip(x, y, strict=True)))
    status = device.status()
    assert (status.frames_bad, status.duplicates, status.overruns) == (0, 0, 0)
    assert 0 < status.stack_peak_bytes < status.stack_bytes
    assert not device.perturbed
    return steps, device.checksum().crc32


def test_it_computes_what_the_reference_defines(model: CompiledModel, tmp_path: Path) -> None:
    """Each step's loss and prediction, and the trained state at the end: the reference's bits."""
    with board(flash_file(tmp_path / "flash.bin", model.image)) as line:
        steps, checksum = train(line)
    reference = Trainer(model.image)
    for step, a, b in zip(steps, *samples(), strict=True):
        expected = reference.train(a.tobytes(), int(b))
        assert np.float32(step.loss).tobytes() == np.float32(expected.loss).tobytes()
        assert step.predicted == expected.predicted
        assert step.updated == (step.step % 8 == 0)
        assert (step.update_cycles > 0) == step.updated
    assert checksum == reference.checksum()


def test_the_hosts_timing_does_not_show(model: CompiledModel, tmp_path: Path) -> None:
    """A slow host and a quick one see the same cycles in every phase of every step."""
    with board(flash_file(tmp_path / "flash.bin", model.image)) as line:
        quick = train(line)
    with board(flash_file(tmp_path / "flash2.bin", model.image)) as line:
        slow = train(Hesitant(line))
    assert quick == slow


def test_a_single_command_is_answered_at_once(model: CompiledModel, tmp_path: Path) -> None:
    """RTS is withdrawn before the board waits for a frame that the host has no reason to send; no ASK is needed."""
    with board(flash_file(tmp_path / "flash.bin", model.image)) as line:
        device = Device(line, reply_timeout_s=60, retransmit_timeout_s=100, silence_deadline_s=90)
        device.hello()
        draw = random.Random(6)
        sizes = [draw.randrange(780) for _ in range(100)]
        for count, size in enumerate(sizes, start=1):
            (sunk,) = device.sink([draw.randbytes(size)])
            assert sunk.frames == count
        assert sunk.payload_bytes == sum(sizes)
        status = device.status()
        assert (status.frames_bad, status.duplicates, status.overruns, device.retransmissions) == (0, 0, 0, 0)


def test_without_an_image_it_says_so(tmp_path: Path) -> None:
    """Erased image flash: HELLO works and names the problem."""
    with board(flash_file(tmp_path / "flash.bin", b"")) as line:
        hello = Device(line, reply_timeout_s=60).hello()
    assert hello.image_problem == "there is no model image in its flash; flash one"


def test_restarting_does_not_mend_an_image_that_the_wire_can_not_use(
    model: CompiledModel, tmp_path: Path
) -> None:
    """A ring too small for its window: refused at the start, and again by RESTART."""
    image = bytearray(model.image)
    assert im.HEADER.fields is not None
    struct.pack_into("<I", image, int(im.HEADER.fields["ring_half_bytes"][1]), 64)
    crc = zlib.crc32(bytes(image[im.CRC_START :]))
    struct.pack_into("<I", image, int(im.HEADER.fields["crc32"][1]), crc)
    with board(flash_file(tmp_path / "flash.bin", bytes(image))) as line:
        device = Device(line, reply_timeout_s=60)
        assert device.hello().image_problem is not None
        with pytest.raises(DeviceError, match="restarting failed"):
            device.restart()
        assert device.hello().image_problem is not None
