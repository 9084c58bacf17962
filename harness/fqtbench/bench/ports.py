"""The serial ports of this host, and the one that a USB identity means.

On Linux they are read from sysfs, whose root may lie anywhere; elsewhere from pyserial, which knows no interfaces.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serial.tools import list_ports

from fqtbench.board import USB_SERIAL
from fqtbench.errors import LinkError
from fqtbench.printable import printable

_LINK_FOLDERS: Final = ("by-id", "by-path")
_TEXT_LIMIT: Final = 128  # a USB string descriptor has at most 126 characters


@dataclass(frozen=True)
class SerialPort:
    """A serial port on USB.

    `interface` is the number of its USB interface (a J-Link may have two ports), `usb` the name of its USB device in
    sysfs; `by_id` and `by_path` are udev's links to it. Texts come from the device: unprintable characters are gone.
    """

    device: str
    vid: int
    pid: int
    serial_number: str | None
    interface: int | None = None
    product: str | None = None
    usb: str | None = None
    by_id: str | None = None
    by_path: str | None = None

    @property
    def identity(self) -> str | None:
        """What bench.toml calls it, vid:pid:serial[-ifNN]; None if it has no serial number."""
        if self.serial_number is None:
            return None
        suffix = "" if self.interface is None else f"-if{self.interface:02x}"
        return f"{self.vid:04x}:{self.pid:04x}:{self.serial_number}{suffix}"

    def is_called(self, identity: str) -> bool:
        """Whether this USB identity means it: exactly, but for the case of hexadecimal digits."""
        match = USB_SERIAL.fullmatch(identity)
        if match is None:
            return False
        vid, pid, serial_number, interface = match.groups()
        return ((int(vid, 16), int(pid, 16), serial_number) == (self.vid, self.pid, self.serial_number)) and (
            interface is None or int(interface, 16) == self.interface
        )

    def __str__(self) -> str:
        return f"{self.identity or f'{self.vid:04x}:{self.pid:04x} without a serial number'} at {self.device}"


def find_port(address: str, ports: Iterable[SerialPort] | None = None) -> str:
    """Return what to open for a board's `serial`: the device of a USB identity, any other URL as it is.

    LinkError if no port, or more than one, has this identity.
    """
    if USB_SERIAL.fullmatch(address) is None:
        return address
    known = list(serial_ports() if ports is None else ports)
    found = [port for port in known if port.is_called(address)]
    if len(found) == 1:
        return found[0].device
    if found:
        raise LinkError(
            f"{address}: {len(found)} serial ports are called so ({_listed(found)}); "
            "write which one into bench.toml, with its -ifNN or as a path of /dev/serial/by-path"
        )
    raise LinkError(
        f"{address}: no serial port of this host is called so (attached: {_listed(known) or 'none'}); "
        "is the board plugged in and powered? `fqtbench doctor` looks for reasons"
    )


def serial_ports(root: Path = Path("/")) -> list[SerialPort]:
    """Return the serial ports on USB, by device. `root` is where /sys and /dev are, on Linux."""
    if sys.platform != "linux":
        return _listed_by_pyserial()
    links = {folder: _links(root / "dev/serial" / folder) for folder in _LINK_FOLDERS}
    ports = []
    for tty in sorted((root / "sys/class/tty").glob("*")):
        interface = _interface_of(tty / "device")
        if interface is None:
            continue
        usb = interface.parent
        vid, pid = read_hex(usb / "idVendor"), read_hex(usb / "idProduct")
        if vid is None or pid is None:
            continue
        ports.append(
            SerialPort(
                device=f"/dev/{tty.name}",
                vid=vid,
                pid=pid,
                serial_number=read_text(usb / "serial"),
                interface=read_hex(interface / "bInterfaceNumber"),
                product=read_text(usb / "product"),
                usb=usb.name,
                by_id=links["by-id"].get(tty.name),
                by_path=links["by-path"].get(tty.name),
            )
        )
    return ports


def read_text(path: Path) -> str | None:
    """Return the first line of a sysfs file as a device wrote it, without what could harm a terminal; None if empty."""
    try:
        line = path.read_bytes().decode("utf-8", "replace").partition("\n")[0]
    except OSError:
        return None
    return printable(line[:_TEXT_LIMIT]).strip() or None


def read_hex(path: Path) -> int | None:
    """Return the hexadecimal number in a sysfs file; None if there is none."""
    text = read_text(path) or ""
    return int(text, 16) if re.fullmatch("[0-9A-Fa-f]{1,8}", text) else None


def _interface_of(device: Path) -> Path | None:
    """Return the folder of the USB interface that a tty belongs to; None if it is not on USB."""
    if not device.exists():
        return None
    place = device.resolve()
    # A CDC port's device is the interface, a usb-serial one's lies in it.
    for folder in (place, place.parent):
        if (folder / "bInterfaceNumber").exists():
            return folder
    return None


def _links(folder: Path) -> dict[str, str]:
    """Return tty name → /dev/serial/<folder>/<link>."""
    return {
        link.resolve().name: f"/dev/serial/{folder.name}/{link.name}"
        for link in sorted(folder.glob("*"))
        if link.is_symlink()
    }


def _listed_by_pyserial() -> list[SerialPort]:
    return [
        SerialPort(port.device, port.vid, port.pid, port.serial_number, product=port.product)
        for port in sorted(list_ports.comports())
        if port.vid is not None and port.pid is not None
    ]


def _listed(ports: Iterable[SerialPort]) -> str:
    return ", ".join(str(port) for port in ports)
