"""Promise: whatever the line does to the bytes, every sample is trained exactly once and in order.

The device is the firmware's own app and wire; its stand-in engine chains a CRC over the samples that it gets.
"""

import random
import secrets
from pathlib import Path

import pytest

from fqtbench.wire import Device
from tests.wire.faults import Faults, FaultyLine
from tests.wire.native_device import SAMPLE_BYTES, NativeBoard, crc_chain

pytestmark = pytest.mark.timeout(120)

FAULTS = {
    "none": Faults(),
    "corrupt bytes": Faults(corrupt_per_byte=1 / 2000),
    "dropped frames": Faults(drop_per_frame=0.01),
    "repeated frames": Faults(repeat_per_frame=0.05),
    "garbage": Faults(garbage_per_frame=0.02),
    "bursts longer than the ring": Faults(garbage_per_frame=0.01, garbage_bytes=3000),
    "all at once": Faults(1 / 4000, 0.005, 0.01, 0.01),
}


@pytest.fixture(autouse=True)
def _the_same_nonces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session's number is part of each frame; drawn from a seed, the same faults hit the same bytes."""
    draw = random.Random(1)
    monkeypatch.setattr(secrets, "randbits", draw.getrandbits)
    monkeypatch.setattr(secrets, "randbelow", draw.randrange)


def samples(count: int, seed: int) -> list[tuple[bytes, int]]:
    """Return random samples; some are full of zeros or ones, which COBS and the ring treat specially."""
    draw = random.Random(seed)
    fills = [bytes(SAMPLE_BYTES), b"\xff" * SAMPLE_BYTES, b"\x3c\xa5\x5a\xc3" * (SAMPLE_BYTES // 4)]
    return [
        (draw.choice(fills) if draw.random() < 0.2 else draw.randbytes(SAMPLE_BYTES), draw.randrange(9))
        for _ in range(count)
    ]


@pytest.mark.parametrize("n_slots", [1, 2, 5])
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
def test_every_sample_once_and_in_order(device_executable: Path, faults: Faults, n_slots: int) -> None:
    """Every STEP comes once, in order, and the device's chain over the samples is the host's."""
    given = samples(300, seed=n_slots)
    with NativeBoard(device_executable, seed=n_slots, n_slots=n_slots) as board:
        device = Device(
            FaultyLine(board, faults, seed=17 + n_slots),
            reply_timeout_s=30,
            retransmit_timeout_s=0.05,
            attempts=40,
        )
        device.hello()
        steps = list(device.train(given))
        checksum = device.checksum()
        status = device.status()
    assert [step.step for step in steps] == list(range(1, len(given) + 1))
    assert [step.updated for step in steps] == [n % 4 == 0 for n in range(1, len(given) + 1)]
    assert checksum.crc32 == crc_chain(given)
    assert checksum.steps == len(given)
    assert status.arena_peak_bytes > 0
    assert device.perturbed == (device.retransmissions > 0)
    if faults == Faults():
        assert (device.retransmissions, device.frames_corrupt, status.frames_bad, status.duplicates) == (
            0,
            0,
            0,
            0,
        )


def test_long_replies_survive_a_bad_line(device_executable: Path) -> None:
    """A READ whose reply is lost, too long for the device's cache, is executed again."""
    with NativeBoard(device_executable) as board:
        line = FaultyLine(board, Faults(corrupt_per_byte=1 / 1500), seed=5)
        device = Device(line, reply_timeout_s=30, retransmit_timeout_s=0.05, attempts=40)
        device.hello()
        for _ in range(40):
            assert device.read_tensor(7, 2000) == bytes(i * 7 & 0xFF for i in range(2000))
    assert device.retransmissions > 0
    assert device.frames_corrupt > 0


class Bursting:
    """Writes `burst` behind the first TRAIN, in the same write: it arrives while the device computes."""

    name = "bursting line"

    def __init__(self, board: NativeBoard, burst: bytes) -> None:
        self._board = board
        self._burst = burst

    def write(self, data: bytes) -> None:
        """Pass `data` on."""
        if len(data) > SAMPLE_BYTES:
            data, self._burst = data + self._burst, b""
        self._board.write(data)

    def read(self) -> bytes:
        """Pass on what arrived."""
        return self._board.read()


@pytest.mark.parametrize(
    "filler", [b"\x01", b"\xff", b"\x3c\xa5\x5a\xc3"], ids=["ones", "white", "nearly blank"]
)
def test_an_overrun_is_counted_and_recovered(device_executable: Path, filler: bytes) -> None:
    """More bytes during a step than the ring holds: the device notices, starts its receiver again, loses no sample."""
    given = samples(50, seed=3)
    burst = filler * (4000 // len(filler)) + b"\x55"
    with NativeBoard(device_executable) as board:
        device = Device(Bursting(board, burst), retransmit_timeout_s=0.05, attempts=40)
        device.hello()
        assert len(list(device.train(given))) == len(given)
        assert device.checksum().crc32 == crc_chain(given)
        status = device.status()
    assert status.frames_bad > 0
    if filler == b"\x01":
        assert status.overruns > 0
