"""The PPK2's serial port: which one is meant, and opening it.

From its firmware of mid-2024 on a PPK2 has two ports: samples and commands on USB interface 1, a shell on the other
(github.com/IRNAS/ppk2-api-python, pull request 47).
"""

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import serial
from serial.tools import list_ports

from fqtbench.board import USB_SERIAL
from fqtbench.errors import MonitorError
from fqtbench.printable import printable

_WITH_INTERFACE: Final = re.compile(r"(.+?)(?:-if([0-9a-f]{2}))?")
_PATH: Final = re.compile(r"/.*|\.{1,2}/.*|COM[0-9]+|\\\\.*")
_WRITE_TIMEOUT_S: Final = 5.0


class UsbPort(NamedTuple):
    """A serial port on USB, as pyserial lists it."""

    device: str
    vid: int
    pid: int
    serial_number: str
    interface: int | None

    def is_called(self, address: str) -> bool:
        """Whether the address is its serial number or its vid:pid:serial, either with its -ifNN or without one."""
        identity = USB_SERIAL.fullmatch(address)
        if identity is not None:
            vid, pid, number, interface = identity.groups()
            if (int(vid, 16), int(pid, 16)) != (self.vid, self.pid):
                return False
        else:
            match = _WITH_INTERFACE.fullmatch(address)
            number, interface = match.groups() if match else (address, None)
        return number == self.serial_number and (interface is None or int(interface, 16) == self.interface)

    def __str__(self) -> str:
        suffix = "" if self.interface is None else f"-if{self.interface:02x}"
        return f"{self.vid:04x}:{self.pid:04x}:{self.serial_number}{suffix} at {self.device}"


def usb_ports(listed: Iterable[Any] | None = None) -> list[UsbPort]:
    """Return this host's serial ports that have USB ids and a serial number. `listed`: what pyserial lists."""
    ports = []
    for port in list_ports.comports() if listed is None else listed:
        if port.vid is None or port.pid is None or not port.serial_number:
            continue
        # On Linux the location ends with configuration and interface: 1-2:1.1.
        interface = re.search(r":\d+\.(\d+)$", port.location or "")
        number = printable(port.serial_number)
        ports.append(
            UsbPort(port.device, port.vid, port.pid, number, int(interface[1]) if interface else None)
        )
    return sorted(ports)


def find_port(address: str, ports: Iterable[UsbPort] | None = None) -> tuple[str, str | None]:
    """Return what to open, and the serial number if it is known.

    `address`: a path, a serial number or vid:pid:serial, the latter two with -ifNN where a device has several ports.

    Raises MonitorError if no port, or more than one, is called so.
    """
    known = usb_ports() if ports is None else list(ports)
    if _PATH.fullmatch(address):
        real = os.path.realpath(address)
        return address, next((p.serial_number for p in known if os.path.realpath(p.device) == real), None)
    found = [port for port in known if port.is_called(address)]
    if len(found) == 1:
        return found[0].device, found[0].serial_number
    if found:
        raise MonitorError(
            f"PPK2 {address}: {len(found)} serial ports are called so ({_listed(found)}); append the -ifNN of the one "
            "that is meant, which for a PPK2 is -if01, or write its path"
        )
    raise MonitorError(
        f"PPK2 {address}: no serial port of this host is called so (attached: {_listed(known) or 'none'}); "
        "is it plugged in, and switched on?"
    )


def open_port(device: str, name: str) -> serial.Serial:
    """Open a port for this process alone; MonitorError if that fails. USB has no baud rate."""
    try:
        return serial.Serial(device, exclusive=True, timeout=0, write_timeout=_WRITE_TIMEOUT_S)
    except (serial.SerialException, OSError, ValueError) as error:
        raise MonitorError(f"{name}: {_why_not_open(device, error)}") from error


def _why_not_open(device: str, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code in (errno.EACCES, errno.EPERM):
        return f"no permission to open {device}; add yourself to the group that owns it (on Debian: dialout)"
    if code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error):
        return (
            f"another program holds {device}; close it (Nordic's Power Profiler? another run?) and try again"
        )
    if not Path(device).exists():
        return f"there is no {device}; is it plugged in, and switched on?"
    return f"{device} can't be opened ({printable(str(error))}); is this the port of a PPK2?"


def _listed(ports: Iterable[UsbPort]) -> str:
    return ", ".join(map(str, ports))
