"""Opening a serial line, and why that fails.

Any URL of pyserial's ``serial_for_url`` will do: a device path, ``socket://HOST:PORT``, ``rfc2217://…``.
"""

import errno
from typing import cast

import serial

from fqtbench.errors import LinkError
from fqtbench.wire.line import POLL_S, WRITE_TIMEOUT_S, Port, SerialLine
from fqtbench.wire.terminal import TerminalLine, is_terminal


def open_line(url: str, baud: int) -> SerialLine:
    """Open a serial line exclusively at `baud`, 8N1.

    Raises:
        LinkError: no such port, no permission, held by another program, or refused.
    """
    try:
        port = serial.serial_for_url(url, do_not_open=True)
        port.baudrate = baud
        port.timeout = POLL_S
        port.write_timeout = WRITE_TIMEOUT_S
        if isinstance(port, serial.Serial):
            port.exclusive = True
        port.open()
        if is_terminal(port):
            return TerminalLine(port, url)
        return SerialLine(cast(Port, port), url)
    except (OSError, ValueError) as error:
        raise LinkError(_why_not_open(url, error)) from error


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
