"""Promises of `Device`: it streams, recovers, and every failure is one sentence that says what to do."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fqtbench.errors import DeviceError, LinkError
from fqtbench.training.arithmetic import ARITH_ID
from fqtbench.wire import Device
from fqtbench.wire.frames import PROTOCOL_VERSION, Deframer, Type
from tests.wire.native_device import SAMPLE_BYTES, NativeBoard, crc_chain

pytestmark = pytest.mark.timeout(60)

SAMPLES = [(bytes([n]) * SAMPLE_BYTES, n % 9) for n in range(40)]
RESET_SAMPLE = (b"\xee" * SAMPLE_BYTES, 9)


class Watching:
    """Passes everything on and tells `watch` about each frame that the host sends."""

    name = "watched line"

    def __init__(self, board: NativeBoard, watch: Callable[[Type], None]) -> None:
        self._board = board
        self._watch = watch
        self._deframer = Deframer()

    def write(self, data: bytes) -> None:
        """Pass `data` on."""
        self._board.write(data)
        for frame in self._deframer.feed(data):
            assert frame is not None
            self._watch(Type(frame.type))

    def read(self) -> bytes:
        """Pass on what arrived."""
        return self._board.read()


class Silent:
    """A line on which nothing ever comes."""

    name = "/dev/ttyNOBODY"

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        """Swallow `data`."""
        self.written += len(data)

    def read(self) -> bytes:
        """Nothing."""
        return b""


def test_hello_says_who_the_board_is(device_executable: Path) -> None:
    """HELLO's fields arrive in their places."""
    with NativeBoard(device_executable, n_slots=3) as board:
        hello = Device(board).hello()
    assert (hello.protocol, hello.arith_id, hello.chip) == (PROTOCOL_VERSION, ARITH_ID, 0x12345678)
    assert hello.build_id == bytes(range(1, 9))
    assert (hello.clock_hz, hello.baud) == (64_000_000, 1_000_000)
    assert (hello.window, hello.max_body_bytes, hello.sample_bytes) == (3, SAMPLE_BYTES + 16, SAMPLE_BYTES)
    assert (hello.arena_bytes, hello.image_crc, hello.reset_reason) == (65536, 0xC0FFEE, 1)
    assert hello.device_id == 0x1122334455667788
    assert hello.image_problem is None


def test_the_next_sample_travels_before_the_last_is_answered(device_executable: Path) -> None:
    """With two slots, two frames are under way: the second TRAIN is sent before the first reply is yielded."""
    sent: list[Type] = []
    with NativeBoard(device_executable) as board:
        device = Device(Watching(board, sent.append))
        device.hello()
        sent.clear()
        steps = device.train(SAMPLES)
        next(steps)
        assert sent == [Type.TRAIN, Type.TRAIN]


def test_a_step_says_how_many_structures_of_each_layer_it_updated(device_executable: Path) -> None:
    """The counts arrive in the order of the image."""
    with NativeBoard(device_executable) as board:
        device = Device(board)
        device.hello()
        assert [step.structures for step in device.train(SAMPLES[:3])] == [(3, 1), (3, 2), (3, 3)]


def test_a_stream_may_be_left_early(device_executable: Path) -> None:
    """What was under way is trained and its replies are taken in; the next command gets its own."""
    with NativeBoard(device_executable) as board:
        device = Device(board)
        device.hello()
        next(device.train(SAMPLES))
        assert device.checksum().crc32 == crc_chain(SAMPLES[:2])
        assert [sunk.frames for sunk in device.sink([b"x", b"yz"])] == [1, 2]


def test_rts_follows_the_rule(device_executable: Path) -> None:
    """Asserted whenever the device waits for the host; the native chip ends itself otherwise."""
    with NativeBoard(device_executable, n_slots=4) as board:
        device = Device(board)
        device.hello()
        assert len(list(device.train(SAMPLES))) == len(SAMPLES)
        assert len(list(device.evaluate(SAMPLES))) == len(SAMPLES)
        assert device.status().frames_good > len(SAMPLES)
        assert board.end() == (0, "")


def test_evaluating_does_not_train(device_executable: Path) -> None:
    """EVALUATE leaves the trained state alone; RESTART takes it back to the start."""
    with NativeBoard(device_executable) as board:
        device = Device(board)
        device.hello()
        assert len(list(device.evaluate(SAMPLES))) == len(SAMPLES)
        assert device.checksum().steps == 0
        assert list(device.train(SAMPLES))[-1].step == len(SAMPLES)
        device.restart()
        assert device.checksum().steps == 0


def test_a_slow_step_is_not_a_failure(device_executable: Path) -> None:
    """A board that is stopped for several time-outs is asked, not flooded: nothing is sent twice."""
    asks = 0

    def watch(type_: Type) -> None:
        nonlocal asks
        asks += type_ == Type.ASK
        if type_ == Type.ASK and asks == 3:
            board.process.send_signal(signal.SIGCONT)

    with NativeBoard(device_executable) as board:
        device = Device(Watching(board, watch), retransmit_timeout_s=0.1)
        device.hello()
        board.process.send_signal(signal.SIGSTOP)
        assert len(list(device.train(SAMPLES))) == len(SAMPLES)
        assert device.checksum().crc32 == crc_chain(SAMPLES)
    assert asks >= 3
    assert not device.perturbed


def test_a_reset_in_the_middle_of_a_run(device_executable: Path) -> None:
    """The board starts again: DeviceError with the reason; after hello() it works."""
    with NativeBoard(device_executable) as board:
        device = Device(board)
        device.hello()
        with pytest.raises(
            DeviceError, match=r"native board: the board reset itself .*power-on or brown-out"
        ):
            list(device.train([*SAMPLES[:5], RESET_SAMPLE, *SAMPLES]))
        device.hello()
        assert list(device.train(SAMPLES))[-1].step == len(SAMPLES)


def test_another_program_takes_the_board(device_executable: Path) -> None:
    """Somebody else's HELLO ends this session: the next command says so."""
    with NativeBoard(device_executable) as board:
        device, intruder = Device(board, retransmit_timeout_s=0.2), Device(board)
        device.hello()
        intruder.hello()
        with pytest.raises(DeviceError, match="no longer knows this session"):
            device.checksum()


@pytest.mark.parametrize(
    ("status", "detail", "sentence"),
    [
        (1, 0, "there is no model image in its flash; flash one"),
        (5, 0xABCD, r"damaged \(CRC 0x0000ABCD computed\)"),
        (6, 4096, "needs 4096 bytes of RAM more than the board has"),
        (7, 3 << 16 | 99, "layer 3 of the model image has type 99"),
    ],
)
def test_an_unusable_image_is_explained(
    device_executable: Path, status: int, detail: int, sentence: str
) -> None:
    """HELLO works without an image, and a TRAIN is refused with the reason."""
    with NativeBoard(device_executable, image_status=status, image_detail=detail) as board:
        device = Device(board)
        hello = device.hello()
        assert hello.image_problem is not None
        with pytest.raises(DeviceError, match=sentence):
            list(device.train([(b"", 0)]))
        with pytest.raises(DeviceError, match=sentence):
            device.checksum()
        assert device.status().arena_peak_bytes == 0


def test_refusals_are_sentences(device_executable: Path) -> None:
    """A wrong label, length or tensor: what was refused and why; the session goes on."""
    with NativeBoard(device_executable) as board:
        device = Device(board)
        with pytest.raises(DeviceError, match=r"call hello\(\) first"):
            device.checksum()
        device.hello()
        with pytest.raises(DeviceError, match="refused TRAIN: label 10 is not a class"):
            list(device.train([(bytes(SAMPLE_BYTES), 10)]))
        with pytest.raises(DeviceError, match=r"samples of 300 bytes, this one has 299"):
            list(device.train([(bytes(SAMPLE_BYTES - 1), 1)]))
        with pytest.raises(DeviceError, match="refused READ: tensor 6 is unknown"):
            device.read_tensor(6, 10)
        with pytest.raises(DeviceError, match="does not fit the board's receive slots"):
            list(device.sink([bytes(400)]))
        assert device.checksum().steps == 0


def test_nobody_answers_hello() -> None:
    """LinkError names the port, what was waited for and how long."""
    line = Silent()
    with pytest.raises(
        LinkError, match=r"/dev/ttyNOBODY: no answer to HELLO within 1 s\. Is the fqtbench firmware"
    ):
        Device(line, reply_timeout_s=0.6).hello()
    assert line.written > 0


def test_a_board_that_falls_silent(device_executable: Path) -> None:
    """LinkError after the silence deadline, with the frame that it owes a reply."""
    with NativeBoard(device_executable) as board:
        device = Device(board, retransmit_timeout_s=0.05, silence_deadline_s=0.5)
        device.hello()
        board.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(
                LinkError, match=r"silent for \d+ s; it owes the reply to CHECKSUM \(frame 1\)"
            ):
                device.checksum()
        finally:
            board.process.send_signal(signal.SIGCONT)
