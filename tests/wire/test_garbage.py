"""Promise: no bytes on the line make the device read or write out of bounds, hang, or forget how to talk.

The device is built with address and undefined-behaviour sanitizers, which end it at the first finding.
"""

import random
import zlib
from pathlib import Path

import pytest
from cobs import cobs

from fqtbench.wire import Device
from fqtbench.wire.frames import Type, encode
from tests.wire.native_device import SAMPLE_BYTES, NativeBoard, crc_chain

pytestmark = pytest.mark.timeout(120)


def odd_frame(draw: random.Random) -> bytes:
    """Return a frame whose CRC is right and whose fields, lengths and types are anything."""
    session = draw.choice([0, 7, draw.randrange(0x10000)])
    length = draw.choice([0, 1, 4, 8, 12, SAMPLE_BYTES + 4, draw.randrange(700)])
    body = bytes([draw.randrange(12), draw.choice([0, 0, 1]), *session.to_bytes(2, "little")])
    body += draw.choice([0, 1, 2, 3, 0xFFFFFFFF]).to_bytes(4, "little") + draw.randbytes(length)
    body = body[: draw.choice([len(body), draw.randrange(len(body))])]
    return bytes(cobs.encode(body + zlib.crc32(body).to_bytes(4, "little"))) + b"\0"


def hello(session: int) -> bytes:
    """Return a good HELLO."""
    return encode(Type.HELLO, session, 0, session.to_bytes(4, "little") + b"\1\0\0\0")


def garbage(draw: random.Random) -> bytes:
    """Return a few hundred bytes of one kind of nonsense or another."""
    match draw.randrange(6):
        case 0:
            return draw.randbytes(draw.randrange(3000))
        case 1:
            return bytes(draw.randrange(50))
        case 2:
            return bytes([draw.randrange(1, 256)]) * draw.randrange(3000)
        case 3:
            return hello(7) + b"".join(
                encode(draw.randrange(12), 7, n, draw.randbytes(12)) for n in range(1, 6)
            )
        case 4:
            return odd_frame(draw)
        case _:
            return b"\x3c\xa5\x5a\xc3" * draw.randrange(400) + bytes(draw.randrange(2))


@pytest.mark.parametrize("n_slots", [1, 2, 8])
@pytest.mark.parametrize("seed", range(4))
def test_device_survives_garbage(sanitized_executable: Path, seed: int, n_slots: int) -> None:
    """After a storm of nonsense the device greets, trains exactly what it is given, and ends without a finding."""
    draw = random.Random(seed)
    given = [(draw.randbytes(SAMPLE_BYTES), draw.randrange(9)) for _ in range(20)]
    with NativeBoard(sanitized_executable, seed=seed + 1, n_slots=n_slots) as board:
        for _ in range(300):
            board.write(garbage(draw))
            board.drain()
        device = Device(board, reply_timeout_s=60, retransmit_timeout_s=0.5, attempts=40)
        device.hello()
        device.restart()
        steps = list(device.train(given))
        checksum = device.checksum().crc32
        code, findings = board.end()
    assert (code, findings) == (0, "")
    assert len(steps) == len(given)
    assert checksum == crc_chain(given)


@pytest.mark.parametrize("image_status", [1, 5, 6])
def test_device_without_an_image_survives_garbage(sanitized_executable: Path, image_status: int) -> None:
    """The same with the fallback's small slots and ring."""
    draw = random.Random(image_status)
    with NativeBoard(sanitized_executable, image_status=image_status) as board:
        for _ in range(300):
            board.write(garbage(draw))
            board.drain()
        answer = Device(board, reply_timeout_s=60).hello()
        code, findings = board.end()
    assert (code, findings) == (0, "")
    assert answer.image_status == image_status
    assert answer.max_body_bytes == 128
