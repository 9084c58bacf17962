"""The outside of a virtual UART: a pseudo-terminal or a TCP socket on loopback, never blocking."""

import errno
import os
import socket
import tempfile
from pathlib import Path
from typing import Final, Protocol

_CHUNK_BYTES: Final = 1 << 16
_MAX_BACKLOG_BYTES: Final = 1 << 20  # of either direction; a host that sends more without credits loses it


class Line(Protocol):
    """Bytes from and to the host."""

    url: str

    def readers(self) -> list[int]:
        """Return the file descriptors to wait on."""

    def writers(self) -> list[int]:
        """Return those to wait on until they take the bytes that wait."""

    def poll(self) -> bytes:
        """Return what has arrived, without waiting."""

    def send(self, data: bytes) -> None:
        """Hand bytes to the host; what it doesn't fetch is kept up to a megabyte."""

    def unpublish(self) -> None:
        """Remove what was published; callable from another thread, just before the process ends."""

    def close(self) -> None:
        """Close, and remove what was published."""


class PtyLine:
    """A pseudo-terminal, published through a symbolic link.

    Raw mode is set before the name is published, so that no boot byte is echoed into the chip; the slave stays open
    here, so that a host may come and go.
    """

    def __init__(self, link: Path | None = None) -> None:
        import pty  # noqa: PLC0415 - Windows has neither of these two, and needs only the socket
        import tty  # noqa: PLC0415

        if link is not None and link.exists() and not link.is_symlink():
            raise FileExistsError(errno.EEXIST, "there is a file already, which is not a link", str(link))
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._folder: Path | None = None
        if link is None:
            self._folder = Path(tempfile.mkdtemp(prefix="fqtbench-"))
            link = self._folder / "uart"
        self._link = link
        link.unlink(missing_ok=True)
        self._name = os.ttyname(self._slave)
        link.symlink_to(self._name)
        self.url = str(link)
        self._pending = bytearray()

    def readers(self) -> list[int]:
        """Return the master's descriptor."""
        return [self._master]

    def writers(self) -> list[int]:
        """Return the master's descriptor while bytes wait."""
        return [self._master] if self._pending else []

    @property
    def backlog_bytes(self) -> int:
        """What waits to be sent."""
        return len(self._pending)

    def poll(self) -> bytes:
        """Return what the host has written; also sends what it had no room for."""
        self._flush()
        try:
            return os.read(self._master, _CHUNK_BYTES)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EIO):
                return b""
            raise

    def send(self, data: bytes) -> None:
        """Write to the host."""
        if len(self._pending) < _MAX_BACKLOG_BYTES:
            self._pending += data
        self._flush()

    def _flush(self) -> None:
        while self._pending:
            try:
                sent = os.write(self._master, self._pending)
            except BlockingIOError:
                return
            del self._pending[:sent]

    def unpublish(self) -> None:
        """Remove the link, unless another board has taken the name."""
        if self._link.is_symlink() and str(self._link.readlink()) == self._name:
            self._link.unlink(missing_ok=True)
        if self._folder is not None:
            self._folder.rmdir()

    def close(self) -> None:
        """Remove the link, close both ends."""
        self.unpublish()
        os.close(self._master)
        os.close(self._slave)


class TcpLine:
    """A listening socket on 127.0.0.1 for one client; a second one is refused by closing its connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4)
        self._listener.setblocking(False)
        self._client: socket.socket | None = None
        self.accepted = 0  # clients until now
        self.url = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pending = bytearray()

    def readers(self) -> list[int]:
        """Return listener and client."""
        return [self._listener.fileno()] + ([self._client.fileno()] if self._client else [])

    def writers(self) -> list[int]:
        """Return the client while bytes wait for it."""
        return [self._client.fileno()] if self._client and self._pending else []

    def poll(self) -> bytes:
        """Send the client what waits, return what it has sent; then take a new one if there is none."""
        self._flush()
        data = self._receive()
        self._accept()
        return data

    def _receive(self) -> bytes:
        if self._client is None:
            return b""
        try:
            data = self._client.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._drop()
        return data

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        if self._client is not None:
            client.close()
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self.accepted += 1

    @property
    def backlog_bytes(self) -> int:
        """What waits to be sent."""
        return len(self._pending)

    def send(self, data: bytes) -> None:
        """Send to the client; without one it is lost, as on a cable that nobody holds."""
        if self._client is not None and len(self._pending) < _MAX_BACKLOG_BYTES:
            self._pending += data
        self._flush()

    def _flush(self) -> None:
        while self._pending and self._client is not None:
            try:
                sent = self._client.send(self._pending)
            except BlockingIOError:
                return
            except OSError:
                self._drop()
                return
            del self._pending[:sent]

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None
        self._pending.clear()

    def unpublish(self) -> None:
        """Nothing outlives the process."""

    def close(self) -> None:
        """Close both sockets."""
        self._drop()
        self._listener.close()


class FrameBuffer:
    """Host bytes, cut into frames: up to and including a 0x00 behind at least one other byte."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, data: bytes) -> None:
        """Append bytes from the host."""
        if len(self._bytes) < _MAX_BACKLOG_BYTES:
            self._bytes += data

    def take(self) -> bytes | None:
        """Return the oldest complete frame with its delimiters, or None."""
        leading = len(self._bytes) - len(self._bytes.lstrip(b"\0"))
        end = self._bytes.find(0, leading)
        if end < 0:
            return None
        frame = bytes(self._bytes[: end + 1])
        del self._bytes[: end + 1]
        return frame
