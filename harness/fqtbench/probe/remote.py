"""The TCP connection behind a `remote:HOST:PORT` probe, with a deadline on every answer.

pyOCD's own socket waits for ever when the server dies (it reads end-of-file in a loop). `RemoteSocket` has
the same methods and raises pyOCD's `ProbeDisconnected` instead; every later use of it fails at once.
"""

import re
import socket
import time
from typing import Final, NamedTuple

from pyocd.core import exceptions
from pyocd.probe.tcp_client_probe import TCPClientProbe

from fqtbench.errors import ProbeError

PREFIX: Final = "remote:"
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 20.0  # a mass erase behind one request may take 15 s on a real board
_RECEIVE_BYTES: Final = 1 << 18


class RemoteAddress(NamedTuple):
    """Host name or IPv4 address, and port."""

    host: str
    port: int


def parse_remote(probe_id: str) -> RemoteAddress:
    """Return the address in `remote:HOST:PORT`; raise `ProbeError` for anything else, IPv6 included."""
    match = re.fullmatch(r"remote:([A-Za-z0-9._-]+):(\d{1,5})", probe_id)
    if match is None or not 0 < int(match[2]) < 1 << 16:
        hint = "; pyOCD speaks IPv4 only" if probe_id.count(":") > 2 else ""
        raise ProbeError(f"probe {probe_id}: a remote probe is written remote:HOST:PORT{hint}")
    return RemoteAddress(match[1], int(match[2]))


class RemoteSocket:
    """Stands in for `pyocd.utility.sockets.ClientSocket`."""

    def __init__(self, address: RemoteAddress) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._buffer = bytearray()

    def connect(self) -> None:
        """Connect, over IPv4; raises pyOCD's `ProbeError`."""
        try:
            ipv4 = socket.getaddrinfo(*self._address, family=socket.AF_INET, type=socket.SOCK_STREAM)
            host = str(ipv4[0][4][0])
            self._socket = socket.create_connection((host, self._address.port), timeout=_CONNECT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            where = f"{self._address.host}:{self._address.port}"
            raise exceptions.ProbeError(
                f"no probe server answers at {where} ({error.strerror or error}); "
                "is the board, or `pyocd server`, running there?"
            ) from error

    def close(self) -> None:
        """Close; harmless when closed."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def set_timeout(self, timeout_s: float) -> None:
        """Ignored: the deadline is per answer."""

    def write(self, data: bytes) -> None:
        """Send all of `data`; raises `ProbeDisconnected`."""
        try:
            sock = self._require_open()
            sock.settimeout(_ANSWER_S)
            sock.sendall(data)
        except OSError as error:
            raise self._lost(f"the connection broke ({error.strerror or error})") from error

    def readline(self) -> bytes:
        """Return the next line with its end; raises `ProbeDisconnected` at the end of file or deadline."""
        deadline = time.monotonic() + _ANSWER_S
        scanned = 0
        while (end := self._buffer.find(b"\n", scanned)) < 0:
            scanned = len(self._buffer)
            self._buffer += self._receive(deadline)
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    def _receive(self, deadline: float) -> bytes:
        left_s = deadline - time.monotonic()
        try:
            if left_s <= 0:
                raise TimeoutError
            sock = self._require_open()
            sock.settimeout(left_s)
            data = sock.recv(_RECEIVE_BYTES)
        except TimeoutError as error:
            raise self._lost(f"the probe server has been silent for {_ANSWER_S:.0f} s") from error
        except OSError as error:
            raise self._lost(f"the connection broke ({error.strerror or error})") from error
        if not data:
            raise self._lost("the probe server has closed the connection")
        return data

    def _require_open(self) -> socket.socket:
        if self._socket is None:
            raise self._lost("the connection is closed")
        return self._socket

    def _lost(self, reason: str) -> exceptions.ProbeDisconnected:
        self.close()
        return exceptions.ProbeDisconnected(reason)


def remote_probe(probe_id: str) -> TCPClientProbe:
    """Return pyOCD's probe object for `remote:HOST:PORT`, not yet connected, on a `RemoteSocket`."""
    address = parse_remote(probe_id)
    probe = TCPClientProbe(f"{address.host}:{address.port}")
    probe._socket = RemoteSocket(address)
    return probe
