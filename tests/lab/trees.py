"""Trees of files as Linux and udev lay them out for what is plugged in: /sys, /dev, /proc, /run and /etc of a host.

Sources: sysfs-bus-usb, sysfs-class-tty (Documentation/ABI), proc(5), group(5); /dev/serial is made by udev's
60-serial.rules. Shapes are those of a J-Link (two CDC ACM ports), an FTDI adapter and a DAPLink on a Linux 6.1 host.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from fqtbench.bench.lock import Holder
from fqtbench.bench.probes import AttachedProbe
from fqtbench.board import BoardInstance, load_models
from fqtbench.errors import ProbeError
from fqtbench.lab.checks import Subject
from fqtbench.lab.host import Host, User

PCI = "sys/devices/pci0000:00/0000:00:14.0/usb1"
JLINK = "000683000000"
MODELS = load_models()


class Tree:
    """A host's files under `root`. `probes` is what pyOCD would list, `held` who holds which probe."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.probes: list[AttachedProbe] = []
        self.probes_error: ProbeError | None = None
        self.held: dict[str, Holder] = {}
        self.unknown_targets: set[str] = set()
        self.gid = root.stat().st_gid
        self._write("etc/passwd", "root:x:0:0::/root:/bin/sh\nada:x:1000:1000:Ada:/home/ada:/bin/bash\n")
        self.groups({"dialout": self.gid})

    def host(self, user: User | None = None) -> Host:
        """Return the host; by default whoever runs the test asks."""

        def list_probes() -> list[AttachedProbe]:
            if self.probes_error is not None:
                raise self.probes_error
            return self.probes

        def unknown(targets: Iterable[str]) -> frozenset[str]:
            return frozenset(targets) & self.unknown_targets

        return Host(self.root, user, list_probes, unknown, self.held.get)

    def ada(self, *groups: int) -> User:
        """Return a user who owns no file of the tree."""
        return User("ada", os.getuid() + 1, frozenset(groups))

    def groups(self, groups: dict[str, int], **members: str) -> None:
        """Write /etc/group."""
        lines = [f"{name}:x:{gid}:{members.get(name, '')}\n" for name, gid in groups.items()]
        self._write("etc/group", "".join(lines))

    def usb(
        self, name: str, vid: int, pid: int, serial: str | bytes | None, product: str = "", number: int = 5
    ) -> None:
        """Plug in a USB device."""
        folder = f"{PCI}/{name}"
        self._write(f"{folder}/idVendor", f"{vid:04x}\n")
        self._write(f"{folder}/idProduct", f"{pid:04x}\n")
        self._write(f"{folder}/busnum", "1\n")
        self._write(f"{folder}/devnum", f"{number}\n")
        if serial is not None:
            self._write(f"{folder}/serial", (serial.encode() if isinstance(serial, str) else serial) + b"\n")
        if product:
            self._write(f"{folder}/product", f"{product}\n")
        self._write(f"dev/bus/usb/001/{number:03d}", "")
        self._link(f"sys/bus/usb/devices/{name}", f"{folder}")

    def acm(self, tty: str, usb: str, interface: int) -> None:
        """Give a USB device a CDC ACM port."""
        self._port(tty, usb, interface, f"{PCI}/{usb}/{usb}:1.{interface}")

    def ftdi(self, tty: str, usb: str, latency_ms: int) -> None:
        """Give a USB device an FTDI port."""
        place = f"{PCI}/{usb}/{usb}:1.0/{tty}"
        self._port(tty, usb, 0, place)
        self._write(f"{place}/latency_timer", f"{latency_ms}\n")
        self._link(f"sys/bus/usb-serial/devices/{tty}", place)

    def hidraw(self, usb: str, name: str) -> None:
        """Give a USB device a HID interface."""
        self._write(f"{PCI}/{usb}/{usb}:1.3/0003:0D28:0204.0001/hidraw/{name}/dev", "244:0\n")
        self._write(f"dev/{name}", "")

    def _port(self, tty: str, usb: str, interface: int, device: str) -> None:
        self._write(f"{PCI}/{usb}/{usb}:1.{interface}/bInterfaceNumber", f"{interface:02x}\n")
        self._write(f"{device}/tty/{tty}/dev", "166:0\n")
        self._link(f"{device}/tty/{tty}/device", device)
        self._link(f"sys/class/tty/{tty}", f"{device}/tty/{tty}")
        self._write(f"dev/{tty}", "")
        self._link(f"dev/serial/by-path/pci-0000:00:14.0-usb-0:{usb}:1.{interface}", f"dev/{tty}")

    def by_id(self, name: str, tty: str) -> None:
        """Let udev name a port."""
        self._link(f"dev/serial/by-id/{name}", f"dev/{tty}")

    def udev(self, **properties: str) -> None:
        """Set the properties of the port 166:0 in udev's database."""
        self._write("run/udev/data/c166:0", "".join(f"E:{k}={v}\n" for k, v in properties.items()))

    def process(self, pid: int, name: str, *files: str, uid: int = 1000) -> None:
        """Run a process that has `files` open."""
        self._write(f"proc/{pid}/comm", f"{name}\n")
        self._write(f"proc/{pid}/status", f"Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
        folder = self.root / f"proc/{pid}/fd"
        folder.mkdir(parents=True)
        for number, file in enumerate(files):
            (folder / str(number)).symlink_to(file)

    def _write(self, path: str, content: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        file.chmod(0o660)

    def _link(self, link: str, target: str) -> None:
        """Link relatively, as sysfs and udev do."""
        path = self.root / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.relpath(self.root / target, path.parent))


def jlink(root: Path) -> Tree:
    """Return a host with one J-Link, which has two ports; pyOCD sees it."""
    tree = Tree(root)
    tree.usb("1-2", 0x1366, 0x1051, JLINK, "J-Link")
    for interface, tty in ((0, "ttyACM0"), (2, "ttyACM1")):
        tree.acm(tty, "1-2", interface)
        tree.by_id(f"usb-SEGGER_J-Link_{JLINK}-if{interface:02x}", tty)
    tree.probes.append(AttachedProbe("683000000", "Segger J-Link"))
    return tree


def desk(
    probe: str = JLINK, serial: str = f"1366:1051:{JLINK}-if00", model: str = "nrf52840", **more: str
) -> Subject:
    """Return a board on that J-Link."""
    return Subject(BoardInstance(name="desk", model=model, probe=probe, serial=serial, **more), MODELS[model])
