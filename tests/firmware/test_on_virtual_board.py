"""Promises of the whole firmware, kept by the prebuilt ELF on every virtual board."""

import random
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fqtbench.board import BoardModel
from fqtbench.errors import DeviceError
from fqtbench.probe import elf_segments
from fqtbench.training import image as im
from fqtbench.training.compile import CompiledModel, Memory, compile_model
from fqtbench.training.reference import Trainer
from fqtbench.training.spec import Conv2d, Flatten, FullyConnected, NetworkSpec, TrainingSpec
from fqtbench.wire import Device, Line, Step, open_line
from tests.boards import PREBUILT, VIRTUAL, launched, manifest

N_SAMPLES = 24
IMAGE_BYTES, ARENA_BYTES = 0x10000, 150_000  # every board has more

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
    memory = Memory(flash_bytes=IMAGE_BYTES, arena_bytes=ARENA_BYTES)
    return compile_model(network, TrainingSpec(batch=8), x[:8], y[:8], 10, memory, 1, N_SAMPLES)


def samples() -> tuple[np.ndarray, np.ndarray]:
    """Return x (n, 28, 28, 1) and y (n,)."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (N_SAMPLES, 28, 28, 1)).astype(np.uint8)
    return x, rng.integers(0, 10, N_SAMPLES).astype(np.uint16)


class Bench:
    """A kind of board, and where its flash is written."""

    def __init__(self, board: BoardModel, folder: Path) -> None:
        self.board = board
        self._folder = folder

    @contextmanager
    def start(self, image: bytes) -> Iterator[Line]:
        """Run a virtual board with the firmware and an image in its flash; its line."""
        memory = self.board.memory
        flash = bytearray(b"\xff" * memory.flash_bytes)
        for segment in elf_segments(PREBUILT / f"{self.board.firmware}.elf"):
            at = segment.address - memory.flash_origin
            flash[at : at + len(segment.data)] = segment.data
        at = memory.image_origin - memory.flash_origin
        flash[at : at + len(image)] = image
        file = self._folder / "flash.bin"
        file.write_bytes(flash)
        with launched(self.board, "--flash", str(file)) as said:
            assert self.board.uart is not None
            with open_line(said["serial"], self.board.uart.baud) as line:
                yield line


@pytest.fixture(params=VIRTUAL, ids=lambda board: board.name)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(request.param, tmp_path)


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


def train(line: Line, board: BoardModel) -> tuple[list[Step], int]:
    """Train on every sample once; return the steps and the checksum."""
    device = Device(line, reply_timeout_s=60, retransmit_timeout_s=20)
    hello = device.hello()
    assert hello.image_problem is None
    assert hello.chip == board.chip_id
    assert hello.build_id.hex() == manifest(board)["build_id"]
    assert hello.clock_hz == board.clock_hz
    x, y = samples()
    steps = list(device.train((a.tobytes(), int(b)) for a, b in zip(x, y, strict=True)))
    status = device.status()
    assert (status.frames_bad, status.duplicates, status.overruns) == (0, 0, 0)
    assert 0 < status.stack_peak_bytes < status.stack_bytes
    assert not device.perturbed
    return steps, device.checksum().crc32


def test_it_computes_what_the_reference_defines(model: CompiledModel, bench: Bench) -> None:
    """Each step's loss and prediction, and the trained state at the end: the reference's bits, on every board."""
    with bench.start(model.image) as line:
        steps, checksum = train(line, bench.board)
    reference = Trainer(model.image)
    for step, a, b in zip(steps, *samples(), strict=True):
        expected = reference.train(a.tobytes(), int(b))
        assert np.float32(step.loss).tobytes() == np.float32(expected.loss).tobytes()
        assert step.predicted == expected.predicted
        assert step.updated == (step.step % 8 == 0)
        assert (step.update_cycles > 0) == step.updated
    assert checksum == reference.checksum()


def test_the_hosts_timing_does_not_show(model: CompiledModel, bench: Bench) -> None:
    """A slow host and a quick one see the same cycles in every phase of every step."""
    with bench.start(model.image) as line:
        quick = train(line, bench.board)
    with bench.start(model.image) as line:
        slow = train(Hesitant(line), bench.board)
    assert quick == slow


def test_a_single_command_is_answered_at_once(model: CompiledModel, bench: Bench) -> None:
    """RTS is withdrawn before the board waits for a frame that the host has no reason to send; no ASK is needed."""
    with bench.start(model.image) as line:
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


def test_without_an_image_it_says_so(bench: Bench) -> None:
    """Erased image flash: HELLO works and names the problem."""
    with bench.start(b"") as line:
        hello = Device(line, reply_timeout_s=60).hello()
    assert hello.image_problem == "there is no model image in its flash; flash one"


def test_restarting_does_not_mend_an_image_that_the_wire_can_not_use(
    model: CompiledModel, bench: Bench
) -> None:
    """A ring too small for its window: refused at the start, and again by RESTART."""
    image = bytearray(model.image)
    assert im.HEADER.fields is not None
    struct.pack_into("<I", image, int(im.HEADER.fields["ring_half_bytes"][1]), 64)
    crc = zlib.crc32(bytes(image[im.CRC_START :]))
    struct.pack_into("<I", image, int(im.HEADER.fields["crc32"][1]), crc)
    with bench.start(bytes(image)) as line:
        device = Device(line, reply_timeout_s=60)
        assert device.hello().image_problem is not None
        with pytest.raises(DeviceError, match="restarting failed"):
            device.restart()
        assert device.hello().image_problem is not None
