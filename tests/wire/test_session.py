"""Promises: a slow device costs an ASK, never a frame sent twice; replies that are kept are not lost."""

from collections import deque
from itertools import repeat

import pytest

from fqtbench.errors import LinkError
from fqtbench.wire.frames import Deframer, Frame, Type, encode
from fqtbench.wire.session import Session

_SESSION, _WINDOW = 7, 1


class _SlowDevice:
    """Answers the first frame only after an ASK, and the ASK only after the second frame has been sent."""

    name = "slow device"

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self._replies: deque[bytes] = deque()

    def write(self, data: bytes) -> None:
        self.written.append(data)
        match len(self.written):
            case 2:  # the ASK
                self._say(Type.SUNK, 1, (2).to_bytes(4, "little") + bytes(8))
            case 3:  # the second frame: the answer to the ASK was on its way before it
                self._say(Type.NAK, 0, (2).to_bytes(4, "little") * 2)
                self._say(Type.SUNK, 2, (3).to_bytes(4, "little") + bytes(8))

    def _say(self, kind: Type, seq: int, payload: bytes) -> None:
        self._replies.append(encode(kind, _SESSION, seq, payload))

    def read(self) -> bytes:
        return self._replies.popleft() if self._replies else b""


def test_the_answer_to_an_ask_sends_nothing_again_that_came_after_it() -> None:
    line = _SlowDevice()
    session = Session(
        line, Deframer(), _SESSION, _WINDOW, 1, retransmit_timeout_s=0.01, attempts=5, silence_deadline_s=10
    )
    replies = list(session.exchange([(Type.SINK, b"one"), (Type.SINK, b"two")]))
    assert [reply.seq for reply in replies] == [1, 2]
    assert session.retransmissions == 0
    assert len(line.written) == 3


class _QuickDevice:
    """Answers each frame at once; the last of `n_good` with ERROR if `refuses`, after which the line breaks."""

    name = "quick device"

    def __init__(self, n_good: int, *, refuses: bool = False) -> None:
        self.n_answered = 0
        self._n_good, self._refuses = n_good, refuses

    def write(self, data: bytes) -> None:
        """Nothing is looked at."""

    def read(self) -> bytes:
        self.n_answered += 1
        seq = self.n_answered
        if seq > self._n_good:
            raise LinkError("unplugged")
        kind = Type.ERROR if self._refuses and seq == self._n_good else Type.SUNK
        return encode(kind, _SESSION, seq, (seq + _WINDOW).to_bytes(4, "little") + bytes(8))


def _kept(line: _QuickDevice) -> Session:
    """Return a session that keeps replies for longer than any test lasts."""
    return Session(
        line,
        Deframer(),
        _SESSION,
        _WINDOW,
        1,
        retransmit_timeout_s=600,
        attempts=5,
        silence_deadline_s=600,
        late_s=600,
    )


def test_kept_replies_come_with_the_last_one() -> None:
    replies = list(_kept(_QuickDevice(40)).exchange(repeat((Type.SINK, b""), 40)))
    assert [reply.seq for reply in replies] == list(range(1, 41))


def test_kept_replies_come_before_the_line_s_failure() -> None:
    replies: list[Frame] = []
    with pytest.raises(LinkError, match="unplugged"):
        replies.extend(_kept(_QuickDevice(5)).exchange(repeat((Type.SINK, b""))))
    assert [reply.seq for reply in replies] == [1, 2, 3, 4, 5]


def test_an_error_is_not_kept() -> None:
    """Who hears of it stops: no more is sent."""
    line = _QuickDevice(3, refuses=True)
    for reply in _kept(line).exchange(repeat((Type.SINK, b""))):
        if reply.type == Type.ERROR:
            break
    assert line.n_answered == 3
