"""Promise: a slow device costs an ASK, never a frame sent twice."""

from collections import deque

from fqtbench.wire.frames import Deframer, Type, encode
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
