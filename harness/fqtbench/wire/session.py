"""One session with a board: frames out by credit, replies in order, each exactly once.

`Session` knows sequence numbers, credits and recovery, and nothing of what the frames mean; `Device` does that.
docs/wire.md states the rules.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from fqtbench.errors import BoardError, DeviceError, LinkError
from fqtbench.wire.frames import REPLY_TO, Deframer, Frame, Type, encode
from fqtbench.wire.line import Line
from fqtbench.wire.messages import GRANT_BYTES, describe_reset

_MAX_BACKOFF: Final = 16
"""The retransmission time-out grows to this many times its first value."""

_RESENT_PATIENCE: Final = 1 / 20
"""Part of the retransmission time-out after which the board is asked for a frame that was sent again: it complains of
damaged frames only once until a good one comes, and on a noisy line the second try is as likely to be lost."""


# For every reply; in Python 3.11 each `Type.NAME` is a call.
_NOP: Final = Type.NOP
_NAK: Final = Type.NAK
_ERROR: Final = Type.ERROR

_AHEAD: Final = 32
"""Frames that are made at once, before there are credits for them. Between two replies other processes have the
processor and its caches: what is done for many frames in a row costs a fraction of what it costs one by one."""


@dataclass(slots=True)
class _Sent:
    """A frame that has not been answered yet; `reply`, of type `answer`, waits here for the replies before it."""

    seq: int
    type: Type
    answer: Type
    data: bytes
    reply: Frame | None = None
    times_sent: int = 1


class Session:
    """The sequence, credits and recovery of one session. `window` is the device's, from its HELLO.

    The rest is as in `Device`.
    """

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
        late_s: float = 0.0,
    ) -> None:
        self._line = line
        self._deframer = deframer
        self._session = session
        self._window = window
        self._grant = grant
        self._retransmit_timeout_s = retransmit_timeout_s
        self._attempts = attempts
        self._silence_deadline_s = silence_deadline_s
        self._late_s = late_s
        self._next_seq = 1
        self._sent: deque[_Sent] = deque()  # of consecutive seq
        self._owed = 0  # frames in `_sent` that are no NOPs
        self._patience_s = retransmit_timeout_s
        self._asks = 0
        self._asked = False
        self._asked_at_seq: int | None = None  # the next seq when ASK was sent; None = its answer has come
        self._last_nak: tuple[int, int] | None = None
        self.retransmissions = 0

    def exchange(self, requests: Iterable[tuple[Type, bytes]]) -> Iterator[Frame]:
        """Send each request as credits allow and yield its reply (ERROR included) as received, in order.

        A reply may be kept for `late_s`, to be yielded with the next ones; ERROR is not kept. While the caller looks at
        one reply the device works on the next request. A caller may stop early: the next exchange takes in, and drops,
        what is still to come.
        """
        while self._sent:
            self._spend_credits()
            self._oldest_reply()
        frames = self._frames(requests)
        there: list[Frame] = []
        since_s = time.monotonic()
        try:
            while self._send_on(frames):
                reply = self._oldest_reply()
                there.append(reply)
                if reply.type == _ERROR or time.monotonic() - since_s >= self._late_s:
                    yield from there
                    there.clear()
                    since_s = time.monotonic()
        except BoardError:
            yield from there
            raise
        yield from there

    def _send_on(self, frames: Iterator[_Sent]) -> bool:
        """Spend the credits, on NOPs behind the last frame; return whether a reply is owed.

        The replies to NOPs are taken in by the next exchange.
        """
        limit = self._limit()
        while self._next_seq <= limit:
            frame = next(frames, None)
            if frame is None:
                self._spend_credits()
                break
            self._send(frame)
        return self._owed > 0

    def _frames(self, requests: Iterable[tuple[Type, bytes]]) -> Iterator[_Sent]:
        """Yield the frames of one exchange, made some ahead; nothing else is numbered before they are sent."""
        pending = iter(requests)
        while batch := list(islice(pending, _AHEAD)):
            yield from [self._frame(seq, *request) for seq, request in enumerate(batch, self._next_seq)]

    def _frame(self, seq: int, type_: Type, payload: bytes) -> _Sent:
        return _Sent(seq, type_, REPLY_TO[type_], encode(type_, self._session, seq, payload))

    def _limit(self) -> int:
        """Highest seq to send: within the grant, and not so far beyond a lost reply that the device forgets it."""
        missing = self._next_seq
        for sent in self._sent:
            if sent.reply is None:
                missing = sent.seq
                break
        return min(self._grant, missing + self._window - 1)

    def _send(self, frame: _Sent) -> None:
        self._sent.append(frame)
        self._owed += frame.type is not _NOP
        self._next_seq = frame.seq + 1
        self._line.write(frame.data)

    def _spend_credits(self) -> None:
        """Send NOPs for the credits that are left, before a reply is waited for.

        A virtual board's time stands still where the next frame may begin, until that frame is there.
        """
        while self._owed and self._next_seq <= self._limit():
            self._send(self._frame(self._next_seq, _NOP, b""))

    def _oldest_reply(self) -> Frame:
        """Wait for the reply to the oldest frame, every credit being spent; recover what was lost.

        Raises `LinkError`.
        """
        oldest = self._sent[0]
        self._patience_s = self._retransmit_timeout_s
        self._asks = 0
        heard: float | None = None  # on a clock that nobody looks at before a read brings no reply
        ask_at = 0.0
        while oldest.reply is None:
            alive = False
            for frame in self._deframer.feed(self._line.read()):
                alive |= self._take(frame)
            if oldest.reply is not None:
                break
            now = time.monotonic()
            if alive or heard is None:
                heard = now
                ask_at = now + self._patience_s
            if now >= heard + self._silence_deadline_s:
                raise LinkError(self._silence(oldest, now - heard))
            if now >= ask_at:
                self._patience_s = min(self._patience_s * 2, self._retransmit_timeout_s * _MAX_BACKOFF)
                ask_at = now + self._patience_s
                self._ask()
        self._sent.popleft()
        self._owed -= oldest.type is not _NOP
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
        if frame.session != self._session:
            self._refuse_reset(frame)
            return False
        if len(frame.payload) < GRANT_BYTES:
            return False
        grant = int.from_bytes(frame.payload[:GRANT_BYTES], "little")
        self._grant = max(self._grant, grant)
        if frame.type == _NAK:
            self._on_nak(int.from_bytes(frame.payload[GRANT_BYTES : GRANT_BYTES + 4], "little"), grant)
        else:
            self._take_reply(frame)
        return True

    def _take_reply(self, frame: Frame) -> None:
        position = frame.seq - self._sent[0].seq if self._sent else -1
        if not 0 <= position < len(self._sent):
            return
        sent = self._sent[position]
        if sent.reply is not None or frame.type not in (sent.answer, _ERROR):
            return
        sent.reply = frame
        self._asks = 0
        self._asked = False
        self._last_nak = None
        if position and any(s.reply is None for s in islice(self._sent, position)):
            self._suspect_loss()

    def _refuse_reset(self, frame: Frame) -> None:
        """Raise `DeviceError` if a frame of another session, or of none, says that the board has lost this one."""
        if frame.type == Type.BOOT and len(frame.payload) >= 8:
            reason = describe_reset(int.from_bytes(frame.payload[4:8], "little"))
            raise DeviceError(
                f"{self._line.name}: the board reset itself in the middle of a run (reason: {reason}); what it had "
                "learned is lost. Run again; if it happens again, check its supply and cable"
            )
        if frame.type == _ERROR and frame.payload[4:6] == b"\x03\x00":
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
