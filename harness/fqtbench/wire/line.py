"""The serial line: bytes out and in, under deadlines, with every failure a `LinkError`.

Any URL of pyserial's ``serial_for_url`` will do: a device path, ``socket://HOST:PORT``, ``rfc2217://…``.
"""

import errno
import os
import select
from typing import Final, Protocol, Self, cast

import serial

from fqtbench.errors import LinkError

_POLL_S: Final = 0.05
"""How long one read blocks at most; the caller's deadline is checked that often."""

_WRITE_TIMEOUT_S: Final = 20.0
_CHUNK_BYTES: Final = 4096
_MAX_SELECTABLE: Final = 1024  # select's limit on descriptors


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
    """A serial port at 8N1, held exclusively until closed."""

    def __init__(self, port: Port, name: str) -> None:
        self._port = port
        self._name = name
        self._descriptor = _descriptor(port)

    @property
    def name(self) -> str:
        """The URL or path that it was opened by."""
        return self._name

    def write(self, data: bytes) -> None:
        """Send all of `data`; raises `LinkError` if the line is gone or takes nothing for 20 s."""
        try:
            if self._descriptor is not None:
                data = data[_write_some(self._descriptor, data) :]
            if data:
                self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise self._link_error("writing to", error) from error

    def read(self) -> bytes:
        """Return what has arrived, at most 4096 bytes; waits 50 ms for the first byte.

        Two system calls instead of pyserial's eight, which cost more than all that a step's reply does else.
        """
        try:
            if self._descriptor is None:
                return self._read_port()
            if not select.select((self._descriptor,), (), (), _POLL_S)[0]:
                return b""
            received = os.read(self._descriptor, _CHUNK_BYTES)
        except (serial.SerialException, OSError) as error:
            raise self._link_error("reading from", error) from error
        if not received:
            raise self._link_error(
                "reading from", "it is ready, but has no bytes; does another program read it?"
            )
        return received

    def _read_port(self) -> bytes:
        """A socket's in_waiting is 0 or 1, a port's the true count: ask again until it is 0."""
        received = b""
        while len(received) < _CHUNK_BYTES:
            waiting = self._port.in_waiting
            if received and not waiting:
                break
            piece = self._port.read(min(waiting or 1, _CHUNK_BYTES))
            if not piece:
                break
            received += piece
        return received

    def close(self) -> None:
        """Release the port; closing twice is fine."""
        self._descriptor = None
        self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _link_error(self, doing: str, error: Exception | str) -> LinkError:
        if isinstance(error, serial.SerialTimeoutException):
            return LinkError(
                f"{self._name}: the serial line accepted no bytes for {_WRITE_TIMEOUT_S:.0f} s; "
                "is the board powered, and nothing holding its flow control?"
            )
        return LinkError(
            f"{self._name}: {doing} the serial line failed ({error}); was the board unplugged or its "
            "debug probe restarted? Plug it in again and repeat the command"
        )


def _descriptor(port: Port) -> int | None:
    """Return the descriptor of a port that can be waited for: one of this computer's, where the system is POSIX."""
    if os.name != "posix" or type(port) is not serial.Serial:  # spy:// reads in its own way
        return None
    number = port.fileno()
    return number if number < _MAX_SELECTABLE else None


def _write_some(descriptor: int, data: bytes) -> int:
    """Write what there is room for; returns its length. pyserial waits for room for the rest."""
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0


def open_line(url: str, baud: int) -> SerialLine:
    """Open a serial line exclusively at `baud`, 8N1.

    Raises:
        LinkError: no such port, no permission, held by another program, or refused.
    """
    try:
        port = serial.serial_for_url(url, do_not_open=True)
        port.baudrate = baud
        port.timeout = _POLL_S
        port.write_timeout = _WRITE_TIMEOUT_S
        if isinstance(port, serial.Serial):
            port.exclusive = True
        port.open()
    except (serial.SerialException, OSError, ValueError) as error:
        raise LinkError(_why_not_open(url, error)) from error
    return SerialLine(cast(Port, port), url)


def _why_not_open(url: str, error: Exception) -> str:
    code = getattr(error, "errno", None)
    text = str(error)
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return (
            f"{url}: no such serial port; is the board plugged in and powered? "
            "`fqtbench boards` lists what is attached"
        )
    if code in (errno.EACCES, errno.EPERM):
        return (
            f"{url}: no permission to open the serial port; add yourself to the group that owns it "
            "(on Debian: `sudo adduser $USER dialout`, then log in again)"
        )
    if code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        return (
            f"{url}: another program holds the serial port; close it (a terminal? another run?) and try again"
        )
    if "Connection refused" in text or code == errno.ECONNREFUSED:
        return f"{url}: nothing listens there; is the board's server running?"
    return f"{url}: can't open the serial port ({text})"
