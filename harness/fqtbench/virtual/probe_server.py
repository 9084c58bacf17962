"""A debug probe on a TCP socket, for pyOCD's `remote:` probes: many may connect, one holds the probe.

The server never blocks and never runs the CPU: whoever runs it selects on `readers()` and `writers()` between
two slices of CPU time and calls `service()`, which answers what has arrived. It binds to 127.0.0.1 only.
"""

import logging
import select
import socket
import time
from typing import Final

from fqtbench.virtual.debugport import DebugPort
from fqtbench.virtual.probe_protocol import (
    MAX_TRANSFER_BYTES,
    STATUS_GENERAL_ERROR,
    STATUS_PROBE_ERROR,
    ProbeSession,
    RequestError,
    format_error,
    format_result,
    parse_request,
)
from fqtbench.virtual.target import Target

_LOG: Final = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
_MAX_CONNECTIONS: Final = 8  # one works, the others are being told that it does
_MAX_LINE_BYTES: Final = 5 * MAX_TRANSFER_BYTES  # JSON takes up to 5 characters for a byte: "255, "
_MAX_PENDING_BYTES: Final = 8 * MAX_TRANSFER_BYTES  # of answers that a client does not fetch
_RECEIVE_BYTES: Final = 1 << 18
_REQUESTS_PER_SERVICE: Final = 64  # a client that floods must not starve the CPU


class _Connection:
    """One client's socket with its buffers. Every method returns or closes; none blocks or raises."""

    def __init__(self, sock: socket.socket, name: str, session: ProbeSession) -> None:
        self.sock = sock
        self.name = name
        self.session = session
        self.since_s = time.monotonic()
        self.open = True
        self._received = bytearray()
        self._scanned = 0  # bytes of `_received` known to hold no line end
        self._pending = bytearray()

    @property
    def sending(self) -> bool:
        return bool(self._pending)

    def receive(self) -> None:
        try:
            data = self.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or len(self._received) + len(data) > _MAX_LINE_BYTES:
            self.close()
            return
        self._received += data

    def has_line(self) -> bool:
        end = self._received.find(b"\n", self._scanned)
        self._scanned = len(self._received) if end < 0 else end
        return end >= 0

    def take_line(self) -> bytes:
        """Return the next line; only after `has_line`."""
        line = bytes(self._received[: self._scanned])
        del self._received[: self._scanned + 1]
        self._scanned = 0
        return line

    def send(self, data: bytes) -> None:
        self._pending += data
        self.flush()
        if len(self._pending) > _MAX_PENDING_BYTES:
            self.close()

    def flush(self) -> None:
        if not self._pending or not self.open:
            return
        try:
            sent = self.sock.send(self._pending)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._pending[:sent]

    def close(self) -> None:
        if self.open:
            self.open = False
            self.sock.close()


class ProbeServer:
    """Serves `target` as the probe `remote:127.0.0.1:PORT` until `close()`.

    `port` 0 takes any free port; raises `OSError` if the port is taken. `product_name` is what `pyocd list`
    calls it. The first client that sends a request holds the probe until its connection ends, however it
    ends; every request of another is refused with the holder's address.
    """

    def __init__(
        self,
        target: Target,
        port: int = 0,
        product_name: str = "virtual board",
    ) -> None:
        self._debug_port = DebugPort(target)
        self._product_name = product_name
        self._listener = socket.create_server((HOST, port), backlog=_MAX_CONNECTIONS)
        self._listener.setblocking(False)
        self.port: Final[int] = self._listener.getsockname()[1]
        self._connections: list[_Connection] = []
        self._holder: _Connection | None = None
        self.requests = 0

    @property
    def probe_id(self) -> str:
        """The id to give to pyOCD."""
        return f"remote:{HOST}:{self.port}"

    def readers(self) -> list[socket.socket]:
        """Return the sockets to wait on for something to read."""
        return [self._listener, *(c.sock for c in self._connections)]

    def writers(self) -> list[socket.socket]:
        """Return the sockets to wait on for room to write; mostly none."""
        return [c.sock for c in self._connections if c.sending]

    def service(self, timeout_s: float = 0.0) -> bool:
        """Wait up to `timeout_s` for clients, answer what they asked, and return whether there was anything.

        A client that asks faster than it can be served gets at most 64 answers per call; True then
        means that the rest waits for the next call, without the sockets becoming readable again.

        pyOCD sends its next request some 0.1 ms after an answer: a board whose core runs serves it best by
        calling again with a timeout of that order while the result is True, before the next slice.
        """
        backlog = any(c.has_line() for c in self._connections)
        ready, writable, _ = select.select(self.readers(), self.writers(), [], 0.0 if backlog else timeout_s)
        for connection in self._connections:
            if connection.sock in writable:
                connection.flush()
            if connection.sock in ready:
                connection.receive()
        self._forget_closed()  # before anyone new is looked at, so that a dead holder frees the probe
        if self._listener in ready:
            self._accept()
        answered = False
        for connection in self._connections:
            answered |= self._answer(connection)
        self._forget_closed()
        return answered or bool(ready)

    def close(self) -> None:
        """Close every connection and stop listening."""
        for connection in self._connections:
            connection.close()
        self._forget_closed()
        self._listener.close()

    def _accept(self) -> None:
        try:
            sock, (host, port) = self._listener.accept()
        except OSError:  # the client has gone already
            return
        if len(self._connections) >= _MAX_CONNECTIONS:
            sock.close()
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = ProbeSession(self._debug_port, self.probe_id, self._product_name)
        self._connections.append(_Connection(sock, f"{host}:{port}", session))

    def _forget_closed(self) -> None:
        self._connections = [c for c in self._connections if c.open]
        if self._holder is not None and not self._holder.open:
            self._holder = None
            if self._debug_port.reset_asserted:  # nobody is left who could release the board
                self._debug_port.assert_reset(False)

    def _answer(self, connection: _Connection) -> bool:
        """Answer the lines that a client has sent; return whether there were any."""
        for count in range(_REQUESTS_PER_SERVICE):
            if not connection.open or not connection.has_line():
                return count > 0
            self.requests += 1
            connection.send(self._answer_line(connection, connection.take_line()))
        return True

    def _answer_line(self, connection: _Connection, line: bytes) -> bytes:
        identifier = -1
        try:
            identifier, name, arguments = parse_request(line)
            self._require_holder(connection)
            return format_result(identifier, connection.session.execute(name, arguments))
        except RequestError as error:
            return format_error(identifier, error.status, str(error))
        except Exception:  # a defect of the virtual chip: the client must hear of it instead of hanging
            _LOG.exception("request failed: %.200r", line)
            return format_error(identifier, STATUS_GENERAL_ERROR, "the virtual board failed; see its log")

    def _require_holder(self, connection: _Connection) -> None:
        if self._holder is None:
            self._holder = connection
        if self._holder is not connection:
            held_s = time.monotonic() - self._holder.since_s
            raise RequestError(
                f"probe {self.probe_id} is in use by {self._holder.name} (connected for {held_s:.0f} s); "
                "close that debugger or fqtbench run, then try again",
                STATUS_PROBE_ERROR,
            )
