"""A serial port of this computer, read and written with one system call each.

pyserial takes eight to read a reply. Between two replies other processes have the processor and its caches, so that a
system call costs as much as what is done with a reply's bytes.
"""

import os
import select
from typing import Final, TypeGuard

import serial

from fqtbench.wire.line import CHUNK_BYTES, SerialLine

_WAIT_DECISECONDS: Final = 1  # `line.POLL_S`, and the shortest time that a terminal can wait
_MAX_SELECTABLE: Final = 1024  # select's limit on descriptors


def is_terminal(port: object) -> TypeGuard[serial.Serial]:
    """Whether an open port is a `TerminalLine`'s: not a URL's, and not where the system is not POSIX."""
    # spy:// is a Serial too, and reads in its own way.
    return os.name == "posix" and type(port) is serial.Serial and port.fileno() < _MAX_SELECTABLE


class TerminalLine(SerialLine):
    """Reads by a descriptor of its own that waits, and writes by the port's, which doesn't.

    `path`: what `port` was opened by. Raises OSError if it can't be opened again.
    """

    def __init__(self, port: serial.Serial, path: str) -> None:
        import termios  # noqa: PLC0415 - Windows has none

        super().__init__(port, path)
        self._writer = port.fileno()
        # O_NONBLOCK: to open a port must not wait for a carrier.
        self._reader = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            attributes = termios.tcgetattr(self._reader)
            attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 0, _WAIT_DECISECONDS
            termios.tcsetattr(self._reader, termios.TCSANOW, attributes)
        except termios.error as error:
            self.close()
            raise OSError(*error.args) from error
        os.set_blocking(self._reader, True)

    def write(self, data: bytes) -> None:
        """Send all of `data`; raises `LinkError` if the line is gone or takes nothing for 20 s."""
        try:
            sent = os.write(self._writer, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._error("writing to", error) from error
        if sent < len(data):
            super().write(data[sent:])  # waits for room

    def read(self) -> bytes:
        """Return what has arrived, at most 4096 bytes; waits 0.1 s for the first byte."""
        try:
            return os.read(self._reader, CHUNK_BYTES) or self._late()
        except OSError as error:
            raise self._error("reading from", error) from error

    def _late(self) -> bytes:
        """Return what came just behind a read that waited in vain; nothing is a reason to fail if that didn't wait."""
        if not select.select((self._reader,), (), (), 0.0)[0]:
            return b""
        received = os.read(self._reader, CHUNK_BYTES)
        if not received:
            raise OSError("it is ready, but has no bytes; does another program read it?")
        return received

    def close(self) -> None:
        """Release the port; closing twice is fine."""
        if self._reader >= 0:
            os.close(self._reader)
        self._reader = self._writer = -1
        super().close()
