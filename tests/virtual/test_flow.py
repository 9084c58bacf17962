"""Promise: when host frames begin depends on virtual time alone, never on when the host wrote them."""

import pytest

from fqtbench.virtual.flow import Flow
from fqtbench.virtual.schedule import Schedule
from fqtbench.virtual.uart_line import FrameBuffer

_GAP = 100


class _Wire:
    """A clock, and what began when."""

    def __init__(self) -> None:
        self.schedule = Schedule()
        self.begun: list[tuple[bytes, int]] = []
        self.flow = Flow(self.schedule, _GAP, lambda frame, at: self.begun.append((frame, at)))

    def until(self, now: int) -> None:
        self.schedule.fire(now)


def test_a_frame_begins_a_gap_after_rts() -> None:
    wire = _Wire()
    wire.flow.frames.add(b"abc\0")
    wire.flow.rts(True, 1000)
    wire.until(1099)
    assert wire.begun == []
    wire.until(1105)  # a block may end a little late; the frame begins where the rule says
    assert wire.begun == [(b"abc\0", 1100)]


def test_time_stands_still_until_the_frame_is_in_hand_and_it_begins_at_the_same_instant() -> None:
    wire = _Wire()
    wire.flow.rts(True, 1000)
    wire.until(1100)
    assert wire.flow.frozen
    wire.flow.frames.add(b"ab")
    wire.flow.try_start()
    assert wire.flow.frozen
    wire.flow.frames.add(b"c\0")
    wire.flow.try_start()
    assert not wire.flow.frozen
    assert wire.begun == [(b"abc\0", 1100)]


@pytest.mark.parametrize(("tx_end", "begins"), [(1050, 1150), (3000, 3100)])
def test_the_gap_counts_from_the_last_bit_sent(tx_end: int, begins: int) -> None:
    wire = _Wire()
    wire.flow.frames.add(b"a\0")
    wire.flow.rts(True, 1000)
    wire.flow.begin_transfer()
    wire.until(2000 if tx_end > 2000 else 1040)
    assert wire.begun == []
    wire.flow.end_transfer(tx_end)
    wire.until(begins)
    assert wire.begun == [(b"a\0", begins)]


def test_each_assertion_admits_one_frame() -> None:
    wire = _Wire()
    wire.flow.frames.add(b"a\0b\0c\0")
    wire.until(500)
    assert wire.begun == []
    for now in (1000, 1010):
        wire.flow.rts(True, now)
        wire.flow.rts(False, now + 5)
    wire.until(1100)
    assert wire.begun == [(b"a\0", 1100)]
    wire.flow.begin_transfer()  # the frame is on the line for 400 cycles
    wire.flow.end_transfer(1500)
    wire.until(5000)
    assert wire.begun == [(b"a\0", 1100), (b"b\0", 1600)]
    assert not wire.flow.frozen


def test_a_reset_calls_off_what_was_about_to_begin() -> None:
    wire = _Wire()
    wire.flow.frames.add(b"a\0")
    wire.flow.rts(True, 0)
    wire.flow.reset()
    wire.until(10_000)
    assert wire.begun == []
    assert not wire.flow.frozen


def test_a_reset_thaws() -> None:
    wire = _Wire()
    wire.flow.rts(True, 0)
    wire.until(_GAP)
    assert wire.flow.frozen
    wire.flow.reset()
    assert not wire.flow.frozen


def test_frames_are_cut_at_their_delimiter_and_leading_zeros_belong_to_the_next() -> None:
    buffer = FrameBuffer()
    buffer.add(b"\0\0ab\0\0cd\0e")
    assert [buffer.take(), buffer.take(), buffer.take()] == [b"\0\0ab\0", b"\0cd\0", None]
    buffer.add(b"\0")
    assert buffer.take() == b"e\0"
