"""The board as a Python object."""

import secrets
import struct
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from fqtbench.errors import DeviceError, LinkError
from fqtbench.wire.frames import PROTOCOL_VERSION, READ_MAX_BYTES, Deframer, Frame, Type, body_bytes, encode
from fqtbench.wire.line import Line
from fqtbench.wire.messages import (
    GRANT_BYTES,
    Checksum,
    Evaluated,
    Hello,
    Restarted,
    Status,
    Step,
    Sunk,
    describe_error,
    describe_image,
    split_grant,
)
from fqtbench.wire.session import Session, wait_for

_FIRST_HELLO_WAIT_S: Final = 0.5
_MAX_FLUSH_S: Final = 2.0
_LABEL: Final = struct.Struct("<HH")
_READ: Final = struct.Struct("<HHII")
_ERROR: Final = struct.Struct("<HHI")
_ERROR_TYPE: Final = Type.ERROR  # for every reply; in Python 3.11 `Type.ERROR` is a call
_NO_IMAGE: Final = 4


class Device:
    """A board that runs the fqtbench firmware, over one serial line.

    Call `hello` first. A sample is ``(bytes, label)``: the network's input as uint8 in NHWC order, and its class.
    Samples are streamed: while the board works on one, the next is already on its way.

    Args:
        line: the open line.
        reply_timeout_s: how long `hello` waits in all.
        retransmit_timeout_s: after this long without a reply the board is asked what it has received; doubles.
        attempts: how often a frame is sent, and the board asked, before the line is given up. With one byte in 500
            damaged a sample of 784 bytes gets through once in five times: 64 fail it less than once in a million.
        silence_deadline_s: the longest time without a sign of life; longer than the longest training step.
        late_s: how long an answer may be kept, to be yielded with the next ones. What is done for many answers in a
            row costs a fraction of what it costs one by one: in between others have the processor and its caches.

    Raises (every method):
        LinkError: the line failed, or the board is silent.
        DeviceError: the board answered with an error, or has reset itself.
    """

    def __init__(
        self,
        line: Line,
        *,
        reply_timeout_s: float = 10.0,
        retransmit_timeout_s: float = 2.0,
        attempts: int = 64,
        silence_deadline_s: float = 60.0,
        late_s: float = 0.0,
    ) -> None:
        self._line = line
        self._deframer = Deframer()
        self._reply_timeout_s = reply_timeout_s
        self._retransmit_timeout_s = retransmit_timeout_s
        self._attempts = attempts
        self._silence_deadline_s = silence_deadline_s
        self._late_s = late_s
        self._session: Session | None = None
        self._hello: Hello | None = None
        self._earlier_retransmissions = 0

    @property
    def retransmissions(self) -> int:
        """Frames sent more than once since this object exists."""
        return self._earlier_retransmissions + (self._session.retransmissions if self._session else 0)

    @property
    def perturbed(self) -> bool:
        """Whether anything was sent again, so that the run's timing on the line is not the ordinary one."""
        return self.retransmissions > 0

    @property
    def frames_corrupt(self) -> int:
        """Damaged frames received from the board."""
        return self._deframer.frames_corrupt

    def hello(self) -> Hello:
        """Start a session and return what the board says about itself; earlier sessions end.

        The model image may be unusable: see `Hello.image_problem`.
        """
        self._earlier_retransmissions = self.retransmissions
        self._session = None
        self._flush()
        deadline = time.monotonic() + self._reply_timeout_s
        wait_s = _FIRST_HELLO_WAIT_S
        while (now := time.monotonic()) < deadline:
            hello = self._try_hello(min(now + wait_s, deadline))
            if hello is not None:
                self._hello = hello
                return hello
            wait_s *= 2
        raise LinkError(
            f"{self._line.name}: no answer to HELLO within {self._reply_timeout_s:.0f} s. Is the fqtbench firmware on "
            "the board (`fqtbench flash BOARD`), is this its port, and is nothing else talking to it?"
        )

    def _flush(self) -> None:
        """Drop what is left of earlier sessions: read until the line is quiet."""
        deadline = time.monotonic() + _MAX_FLUSH_S
        while self._line.read() and time.monotonic() < deadline:
            pass
        self._deframer.clear()

    def _try_hello(self, deadline: float) -> Hello | None:
        """Send one HELLO with a nonce of its own; only the reply to this one counts."""
        nonce = secrets.randbits(16) << 16 | (1 + secrets.randbelow(0xFFFF))  # session 0 means none
        session = nonce & 0xFFFF
        payload = struct.pack("<IHH", nonce, PROTOCOL_VERSION, 0)
        self._line.write(b"\0" + encode(Type.HELLO, session, 0, payload))

        def wanted(frame: Frame) -> bool:
            """BOOT too: the board has just started, and what was sent before is lost."""
            answer = frame.type in (Type.HELLO_REPLY, Type.ERROR) and frame.session == session
            return answer or frame.type == Type.BOOT

        frame = wait_for(self._line, self._deframer, deadline, wanted)
        if frame is None or frame.type == Type.BOOT:
            return None
        grant, rest = split_grant(frame.payload)
        if frame.type == Type.ERROR:
            raise self._device_error(Type.HELLO, rest)
        if len(rest) != Hello.LAYOUT.size:
            raise DeviceError(
                f"{self._line.name}: the board's HELLO has {len(rest)} bytes, expected {Hello.LAYOUT.size}; "
                "flash the firmware that comes with this fqtbench"
            )
        hello = Hello.unpack(rest)
        if hello.nonce != nonce:
            return None
        self._session = Session(
            self._line,
            self._deframer,
            session,
            hello.window,
            grant,
            retransmit_timeout_s=self._retransmit_timeout_s,
            attempts=self._attempts,
            silence_deadline_s=self._silence_deadline_s,
            late_s=self._late_s,
        )
        return hello

    def train(self, samples: Iterable[tuple[bytes, int]]) -> Iterator[Step]:
        """Train on each sample in order and yield each step's record; nothing is sent before the first `next`."""
        return map(Step.unpack, self._exchange(self._sample_frames(Type.TRAIN, samples)))

    def evaluate(self, samples: Iterable[tuple[bytes, int]]) -> Iterator[Evaluated]:
        """Run each sample forward, without learning, and yield the predictions in order."""
        return map(Evaluated.unpack, self._exchange(self._sample_frames(Type.EVALUATE, samples)))

    def checksum(self) -> Checksum:
        """Return the CRC-32 of the trained state."""
        return Checksum.unpack(self._one(Type.CHECKSUM))

    def read_tensor(self, tensor: int, n_bytes: int) -> bytes:
        """Return the first `n_bytes` of a tensor that lives in the board's RAM."""
        pieces = [(at, min(READ_MAX_BYTES, n_bytes - at)) for at in range(0, n_bytes, READ_MAX_BYTES)]
        requests = ((Type.READ, _READ.pack(tensor, 0, at, length)) for at, length in pieces)
        return b"".join(self._exchange(requests))

    def status(self) -> Status:
        """Return the board's memory use and frame counters."""
        return Status.unpack(self._one(Type.STATUS))

    def restart(self) -> None:
        """Load the image again: initial weights, step 0."""
        restarted = Restarted.unpack(self._one(Type.RESTART))
        if restarted.image_status != 0:
            clause = describe_image(restarted.image_status, restarted.image_detail)
            raise DeviceError(f"{self._line.name}: restarting failed: {clause}")

    def sink(self, payloads: Iterable[bytes]) -> Iterator[Sunk]:
        """Send payloads that the board only counts: a test of the line. Each must fit `Hello.max_body_bytes`."""
        return map(Sunk.unpack, self._exchange((Type.SINK, payload) for payload in payloads))

    def _sample_frames(
        self, type_: Type, samples: Iterable[tuple[bytes, int]]
    ) -> Iterator[tuple[Type, bytes]]:
        """Yield the frames of samples; a wrong length is refused here, before it travels."""
        for sample, label in samples:
            hello = self._hello
            if hello is not None and hello.image_problem is None and len(sample) != hello.sample_bytes:
                raise DeviceError(
                    f"{self._line.name}: the network on the board takes samples of {hello.sample_bytes} bytes, this "
                    f"one has {len(sample)}; flash the image that belongs to this data set"
                )
            yield type_, _LABEL.pack(label, 0) + sample

    def _one(self, type_: Type) -> bytes:
        """Send a frame without payload and return its reply's payload."""
        (payload,) = self._exchange([(type_, b"")])
        return payload

    def _exchange(self, requests: Iterable[tuple[Type, bytes]]) -> Iterator[bytes]:
        """Yield the payloads, after `grant`, of the replies to `requests` in order; an ERROR is raised."""
        if self._session is None or self._hello is None:
            raise DeviceError(f"{self._line.name}: no session with the board yet; call hello() first")
        limit = self._hello.max_body_bytes
        kinds: deque[Type] = deque()

        def checked() -> Iterator[tuple[Type, bytes]]:
            for type_, payload in requests:
                if body_bytes(len(payload)) > limit:
                    raise DeviceError(
                        f"{self._line.name}: a {type_.name} of {len(payload)} bytes does not fit the board's "
                        f"receive slots ({limit} bytes a frame)"
                    )
                kinds.append(type_)
                yield type_, payload

        for frame in self._session.exchange(checked()):
            kind = kinds.popleft()
            if frame.type == _ERROR_TYPE:
                raise self._device_error(kind, frame.payload[GRANT_BYTES:])
            yield frame.payload[GRANT_BYTES:]

    def _device_error(self, kind: Type, payload: bytes) -> DeviceError:
        code, _, detail = _ERROR.unpack(payload)
        clause = describe_error(code, detail)
        if code == _NO_IMAGE and self._hello is not None and self._hello.image_problem is not None:
            clause = self._hello.image_problem
        return DeviceError(f"{self._line.name}: the board refused {kind.name}: {clause}")
