"""The serial line: bytes out and in, under deadlines, with every failure a `LinkError`."""

from typing import Final, Protocol, Self

import serial

from fqtbench.errors import LinkError

POLL_S: Final = 0.1
"""How long one read blocks at most; the caller's deadline is checked that often."""

WRITE_TIMEOUT_S: Final = 20.0
CHUNK_BYTES: Final = 4096


class Line(Protocol):
    """What `Device` needs of a transport."""

    @property
    def name(self) -> str:
        """The line's name in messages."""
        ...

    def write(self, data: bytes) -> None:
        """Send all of `data`; raises `LinkError`."""
        ...

    def read(self) -> bytes:
        """Return the bytes that are there, waiting a fraction of a second for the first; may be empty."""
        ...


class Port(Protocol):
    """What `SerialLine` uses of a pyserial port; each of its URL handlers has it."""

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once; of a socket only whether there are any."""
        ...

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, fewer after the time-out."""
        ...

    def write(self, data: bytes, /) -> int | None:
        """Send all of `data`."""
        ...

    def close(self) -> None:
        """Release the port."""
        ...


class SerialLine:
    """An open port of pyserial's, until closed."""

    def __init__(self, port: Port, name: str) -> None:
        self._port = port
        self._name = name

    @property
    def name(self) -> str:
        """The URL or path that it was opened by."""
        return self._name

    def write(self, data: bytes) -> None:
        """Send all of `data`; raises `LinkError` if the line is gone or takes nothing for 20 s."""
        try:
            self._port.write(data)
        except OSError as error:  # pyserial's exceptions are such
            raise self._error("writing to", error) from error

    def read(self) -> bytes:
        """Return what has arrived, at most 4096 bytes; waits 0.1 s for the first byte."""
        try:
            return self._read_port()
        except OSError as error:
            raise self._error("reading from", error) from error

    def _read_port(self) -> bytes:
        """A socket's in_waiting is 0 or 1, a port's the true count: ask again until it is 0."""
        received = b""
        while len(received) < CHUNK_BYTES:
            waiting = self._port.in_waiting
            if received and not waiting:
                break
            piece = self._port.read(min(waiting or 1, CHUNK_BYTES))
            if not piece:
                break
            received += piece
        return received

    def close(self) -> None:
        """Release the port; closing twice is fine."""
        self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _error(self, doing: str, error: Exception) -> LinkError:
        if isinstance(error, serial.SerialTimeoutException):
            return LinkError(
                f"{self._name}: the serial line accepted no bytes for {WRITE_TIMEOUT_S:.0f} s; "
                "is the board powered, and nothing holding its flow control?"
            )
        return LinkError(
            f"{self._name}: {doing} the serial line failed ({error}); was the board unplugged or its "
            "debug probe restarted? Plug it in again and repeat the command"
        )
