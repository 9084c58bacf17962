"""One session with a board: frames out by credit, replies in order, each exactly once.

`Session` knows sequence numbers, credits and recovery, and nothing of what the frames mean; `Device` does that.
docs/wire.md states the rules.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from fqtbench.errors import DeviceError, LinkError
from fqtbench.wire.frames import REPLY_TO, Deframer, Frame, Type, encode
from fqtbench.wire.line import Line
from fqtbench.wire.messages import describe_reset, split_grant

_MAX_BACKOFF: Final = 16
"""The retransmission time-out grows to this many times its first value."""

_RESENT_PATIENCE: Final = 1 / 20
"""Part of the retransmission time-out after which the board is asked for a frame that was sent again: it complains of
damaged frames only once until a good one comes, and on a noisy line the second try is as likely to be lost."""


@dataclass(slots=True)
class _Sent:
    """A frame that has not been answered yet; `reply` waits here for the replies before it."""

    seq: int
    type: Type
    data: bytes
    reply: Frame | None = None
    times_sent: int = 1


class Session:
    """The sequence, credits and recovery of one session. `window` is the device's, from its HELLO."""

    def __init__(
        self,
        line: Line,
        deframer: Deframer,
        session: int,
        window: int,
        grant: int,
        *,
        retransmit_timeout_s: float,
        attempts: int,
        silence_deadline_s: float,
    ) -> None:
        self._line = line
        self._deframer = deframer
        self._session = session
        self._window = window
        self._grant = grant
        self._retransmit_timeout_s = retransmit_timeout_s
        self._attempts = attempts
        self._silence_deadline_s = silence_deadline_s
        self._next_seq = 1
        self._sent: deque[_Sent] = deque()
        self._patience_s = retransmit_timeout_s
        self._asks = 0
        self._asked = False
        self._asked_at_seq: int | None = None  # the next seq when ASK was sent; None = its answer has come
        self._last_nak: tuple[int, int] | None = None
        self.retransmissions = 0

    def exchange(self, requests: Iterable[tuple[Type, bytes]]) -> Iterator[Frame]:
        """Send each request as credits allow and yield its reply (ERROR included), in order.

        While the caller looks at one reply the device works on the next request. A caller may stop early: the
        next exchange takes in, and drops, what is still to come.
        """
        while self._sent:
            self._oldest_reply()
        pending = iter(requests)
        exhausted = False
        while True:
            while not exhausted and self._next_seq <= self._limit():
                request = next(pending, None)
                if request is None:
                    exhausted = True
                else:
                    self._send(*request)
            if not self._owed:
                return  # the replies to NOPs are taken in by the next exchange
            yield self._oldest_reply()

    @property
    def _owed(self) -> bool:
        """Whether the device owes the reply to more than NOPs."""
        return any(sent.type != Type.NOP for sent in self._sent)

    def _limit(self) -> int:
        """Highest seq to send: within the grant, and not so far beyond a lost reply that the device forgets it."""
        missing = next((s.seq for s in self._sent if s.reply is None), self._next_seq)
        return min(self._grant, missing + self._window - 1)

    def _send(self, type_: Type, payload: bytes) -> None:
        frame = encode(type_, self._session, self._next_seq, payload)
        self._sent.append(_Sent(self._next_seq, type_, frame))
        self._next_seq += 1
        self._line.write(frame)

    def _oldest_reply(self) -> Frame:
        """Wait for the reply to the oldest frame, recovering what was lost; raises `LinkError`.

        Before that every credit is spent, on NOPs if need be: a virtual board's time stands still where the next frame
        may begin, until that frame is there.
        """
        while self._owed and self._next_seq <= self._limit():
            self._send(Type.NOP, b"")
        oldest = self._sent[0]
        began = heard = time.monotonic()
        self._patience_s = self._retransmit_timeout_s
        ask_at = began + self._patience_s
        self._asks = 0
        while oldest.reply is None:
            frames = list(self._deframer.feed(self._line.read()))
            now = time.monotonic()
            for frame in frames:
                if self._take(frame):
                    heard = now
                    ask_at = now + self._patience_s
            if oldest.reply is None and now >= heard + self._silence_deadline_s:
                raise LinkError(self._silence(oldest, now - heard))
            if oldest.reply is None and now >= ask_at:
                self._patience_s = min(self._patience_s * 2, self._retransmit_timeout_s * _MAX_BACKOFF)
                ask_at = now + self._patience_s
                self._ask()
        self._sent.popleft()
        return oldest.reply

    def _silence(self, oldest: _Sent, silent_s: float) -> str:
        return (
            f"{self._line.name}: the board has been silent for {silent_s:.0f} s; it owes the reply to "
            f"{oldest.type.name} (frame {oldest.seq}). Check its power and cable, then reset it and run again; if its "
            "training steps really take that long, raise silence_deadline_s"
        )

    def _take(self, frame: Frame | None) -> bool:
        """Use one frame from the device; True if it is a sign of life in this session."""
        if frame is None:
            self._suspect_loss()
            return False
        self._refuse_reset(frame)
        if frame.session != self._session or len(frame.payload) < 4:
            return False
        grant, rest = split_grant(frame.payload)
        self._grant = max(self._grant, grant)
        if frame.type == Type.NAK:
            self._on_nak(int.from_bytes(rest[:4], "little"), grant)
            return True
        sent = next((s for s in self._sent if s.seq == frame.seq), None)
        if sent is None or sent.reply is not None or frame.type not in (REPLY_TO.get(sent.type), Type.ERROR):
            return True
        sent.reply = Frame(frame.type, frame.session, frame.seq, rest)
        self._asks = 0
        self._asked = False
        self._last_nak = None
        if any(s.reply is None for s in self._sent if s.seq < sent.seq):
            self._suspect_loss()
        return True

    def _refuse_reset(self, frame: Frame) -> None:
        """Raise `DeviceError` if the frame says that the board has lost the session."""
        if frame.type == Type.BOOT and len(frame.payload) >= 8:
            reason = describe_reset(int.from_bytes(frame.payload[4:8], "little"))
            raise DeviceError(
                f"{self._line.name}: the board reset itself in the middle of a run (reason: {reason}); what it had "
                "learned is lost. Run again; if it happens again, check its supply and cable"
            )
        lost = (
            frame.type == Type.ERROR and frame.payload[4:6] == b"\x03\x00" and frame.session != self._session
        )
        if lost:
            raise DeviceError(
                f"{self._line.name}: the board no longer knows this session: it reset itself, or another program "
                "talks to it. Close other programs that use the port and run again"
            )

    def _suspect_loss(self) -> None:
        """A reply was damaged or is missing: ask once, the answer will tell what to send again."""
        if self._sent and not self._asked:
            self._ask()

    def _ask(self) -> None:
        self._asks += 1
        if self._asks > self._attempts:
            raise LinkError(
                f"{self._line.name}: no reply to {self._sent[0].type.name} (frame {self._sent[0].seq}) after asking "
                f"{self._attempts} times; check cable and power, reset the board and run again"
            )
        self._asked = True
        self._asked_at_seq = self._next_seq
        self._last_nak = None
        self._line.write(b"\0" + encode(Type.ASK, self._session, 0))

    def _on_nak(self, expected: int, grant: int) -> None:
        """Send again what the device never accepted, and what it answered without our hearing."""
        self._asked = False
        if (expected, grant) == self._last_nak:
            return
        self._last_nak = (expected, grant)
        answered = grant - self._window
        # The answer to an ASK knows nothing of what was sent after it.
        end = self._next_seq if self._asked_at_seq is None else self._asked_at_seq
        self._asked_at_seq = None
        lost = (s for s in self._sent if s.seq <= answered or expected <= s.seq < end)
        again = [s for s in lost if s.reply is None]
        if again:
            self._patience_s = self._retransmit_timeout_s * _RESENT_PATIENCE
        for sent in again:
            if sent.times_sent > self._attempts:
                raise LinkError(
                    f"{self._line.name}: frame {sent.seq} ({sent.type.name}) did not get through in "
                    f"{self._attempts} attempts; the line is too noisy: use a shorter cable, another port, no hub"
                )
            sent.times_sent += 1
            self.retransmissions += 1
            self._line.write(b"\0" + sent.data)


def wait_for(
    line: Line, deframer: Deframer, deadline: float, wanted: Callable[[Frame], bool]
) -> Frame | None:
    """Return the first frame that is `wanted`, or None at the monotonic `deadline`; others are dropped."""
    while time.monotonic() < deadline:
        for frame in deframer.feed(line.read()):
            if frame is not None and wanted(frame):
                return frame
    return None
