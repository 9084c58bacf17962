"""A board's profiler, at the address that its launched command printed (docs/profiling.md)."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fqtbench.bench.job import Watch
from fqtbench.errors import BoardError, LinkError

_DEADLINE_S: Final = 60.0  # a cold virtual board compiles its hook first
_MAX_ANSWER_BYTES: Final = 64 << 20
_RECEIVE_BYTES: Final = 1 << 18

_Count = Annotated[int, Field(ge=0, lt=1 << 62)]
_Positive = Annotated[int, Field(ge=1, lt=1 << 62)]


class Trace(BaseModel):
    """What the firmware executed between `begin` and `end`.

    `nodes`: (parent, function's first address, section, element, calls) each, its number the index, node 0 the root;
    `cells`: (node, address of a block, its bytes, executions, cycles, instructions). The cells' cycles and
    `outside_cycles` (asleep, or entering exceptions) add up to `cycles`. `strays` counts jumps that no call explains.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cycles: _Count
    outside_cycles: _Count
    strays: _Count
    nodes: tuple[tuple[_Count, _Count, _Count, int, _Count], ...]
    cells: tuple[tuple[_Count, _Count, _Count, _Positive, _Count, _Count], ...]


class Profiler(Protocol):
    """Something that counts what a board's firmware executes."""

    def begin(self, watch: Watch) -> None:
        """Begin to count; raises LinkError or BoardError, as `end` does."""
        ...

    def end(self) -> Trace:
        """Stop counting, and return what was counted."""
        ...


class SocketProfiler:
    """A profiler behind a TCP connection: JSON, a request and an answer a line. Implements `Profiler`."""

    def __init__(self, connection: socket.socket, url: str) -> None:
        self._connection, self._url = connection, url

    def begin(self, watch: Watch) -> None:
        """Begin to count as soon as the board waits for the host."""
        self._ask({"do": "begin", "watch": watch.model_dump(mode="json")})

    def end(self) -> Trace:
        """Stop as soon as the board waits for the host."""
        answer = self._ask({"do": "end"})
        try:
            return Trace.model_validate(answer)
        except ValidationError as error:
            raise LinkError(f"profiler {self._url}: its answer is no profile: {error.errors()[0]}") from error

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
            line = self._line()
        except OSError as error:
            raise LinkError(f"profiler {self._url}: {error or type(error).__name__}") from error
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise LinkError(f"profiler {self._url}: its answer is not JSON: {line[:80]!r}") from error
        if not isinstance(answer, dict):
            raise LinkError(f"profiler {self._url}: its answer is no object: {line[:80]!r}")
        if "error" in answer:
            raise BoardError(f"profiler {self._url}: {answer['error']}")
        return answer

    def _line(self) -> bytes:
        received = bytearray()
        while not received.endswith(b"\n"):
            data = self._connection.recv(_RECEIVE_BYTES)
            if not data or len(received) + len(data) > _MAX_ANSWER_BYTES:
                raise LinkError(f"profiler {self._url}: its answer broke off after {len(received)} bytes")
            received += data
        return bytes(received)


@contextmanager
def open_profiler(url: str) -> Iterator[SocketProfiler]:
    """Connect to the profiler at `url`, tcp://HOST:PORT; LinkError if there is none."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "tcp" or parts.hostname is None or parts.port is None:
            raise ValueError
    except ValueError:
        raise LinkError(f"profiler {url}: the address must be tcp://HOST:PORT") from None
    try:
        connection = socket.create_connection((parts.hostname, parts.port), _DEADLINE_S)
    except OSError as error:
        raise LinkError(f"profiler {url}: can't connect: {error}; is the board's process alive?") from error
    with connection:
        yield SocketProfiler(connection, url)
