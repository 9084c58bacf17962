"""The computer that a bench hangs on: its USB devices, serial ports, processes and permissions, read and never changed.

Sources of the formats: Linux, Documentation/ABI/testing/sysfs-bus-usb (USB devices), sysfs-class-tty,
Documentation/filesystems/proc.rst (comm, fd, status); systemd's udev database, /run/udev/data; group(5).
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from fqtbench.bench.lock import Holder, probe_holder
from fqtbench.bench.ports import SerialPort, read_hex, read_text, serial_ports
from fqtbench.bench.probes import AttachedProbe, attached_probes, unknown_targets
from fqtbench.board import probe_key
from fqtbench.errors import ProbeError
from fqtbench.lab.usb import probe_name

_READ: Final = 4
_WRITE: Final = 2


@dataclass(frozen=True)
class UsbDevice:
    """A USB device: its name in sysfs, its ids, and the files by which programs use it."""

    name: str
    vid: int
    pid: int
    serial_number: str | None
    product: str | None
    node: str | None
    hidraw: tuple[str, ...]

    def __str__(self) -> str:
        number = f"serial number {self.serial_number}" if self.serial_number else "without a serial number"
        kind = probe_name(self.vid, self.pid) or self.product or "USB device"
        return f"{kind} {self.vid:04x}:{self.pid:04x}, {number}"


@dataclass(frozen=True)
class Process:
    """A running process."""

    pid: int
    name: str
    user: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid} of {self.user})"


@dataclass(frozen=True)
class User:
    """Who asks: name, user id, and the ids of the groups that count for this process."""

    name: str
    uid: int
    groups: frozenset[int]


@dataclass(frozen=True)
class Group:
    """A group of users, by /etc/group."""

    name: str
    gid: int
    members: frozenset[str]


class Host:
    """What is plugged in and who uses it, at one moment: everything is read at most once.

    `root` is where /sys, /proc, /dev, /run and /etc are; without them (Windows, macOS) what they would tell is unknown.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        user: User | None = None,
        list_probes: Callable[[], list[AttachedProbe]] = attached_probes,
        find_unknown_targets: Callable[[Iterable[str]], frozenset[str]] = unknown_targets,
        find_holder: Callable[[str], Holder | None] = probe_holder,
    ) -> None:
        self.root = root.resolve()
        self._given_user = user
        self._list_probes, self._find_unknown = list_probes, find_unknown_targets
        self.probe_holder = find_holder
        self.probes_error: ProbeError | None = None
        self._known_targets: dict[str, bool] = {}

    # -- probes

    @cached_property
    def probes(self) -> list[AttachedProbe]:
        """The probes that pyOCD sees; none, and `probes_error`, if it can't tell."""
        try:
            return self._list_probes()
        except ProbeError as error:
            self.probes_error = error
            return []

    def probes_called(self, probe_id: str) -> list[AttachedProbe]:
        """Return the probes with this id; more than one is possible."""
        return [probe for probe in self.probes if probe_key(probe.probe_id) == probe_key(probe_id)]

    def knows_target(self, target: str) -> bool:
        """Whether pyOCD knows this chip; ProbeError if it does not answer."""
        if target not in self._known_targets:
            self._known_targets[target] = not self._find_unknown([target])
        return self._known_targets[target]

    # -- USB devices and serial ports

    @cached_property
    def ports(self) -> list[SerialPort]:
        """The serial ports on USB."""
        return serial_ports(self.root)

    @cached_property
    def usb_devices(self) -> list[UsbDevice]:
        """The USB devices, hubs included."""
        devices = []
        for folder in sorted((self.root / "sys/bus/usb/devices").glob("*")):
            vid, pid = read_hex(folder / "idVendor"), read_hex(folder / "idProduct")
            if vid is None or pid is None:
                continue  # an interface
            bus, number = read_text(folder / "busnum") or "", read_text(folder / "devnum") or ""
            node = f"/dev/bus/usb/{int(bus):03d}/{int(number):03d}" if (bus + number).isdecimal() else None
            hidraw = tuple(f"/dev/{path.name}" for path in sorted(folder.glob("*:*/*/hidraw/hidraw*")))
            product = read_text(folder / "product")
            devices.append(
                UsbDevice(folder.name, vid, pid, read_text(folder / "serial"), product, node, hidraw)
            )
        return devices

    def usb_probes_called(self, probe_id: str) -> list[UsbDevice]:
        """Return the USB devices that are probes and have this serial number, whether pyOCD sees them or not."""
        return [
            device
            for device in self.usb_devices
            if probe_name(device.vid, device.pid)
            and probe_key(device.serial_number or "") == probe_key(probe_id)
        ]

    def port_at(self, path: str) -> SerialPort | None:
        """Return the serial port on USB that a path means, through links; None if it means something else."""
        place = self.place(path)
        return next((port for port in self.ports if place == self.place(port.device)), None)

    def latency_timer_ms(self, port: SerialPort) -> int | None:
        """Return how long an FTDI adapter gathers bytes before it sends them; None if it has no such timer."""
        name = port.device.rpartition("/")[2]
        text = read_text(self.root / "sys/bus/usb-serial/devices" / name / "latency_timer") or ""
        return int(text) if text.isdecimal() else None

    def udev_properties(self, port: SerialPort) -> frozenset[str]:
        """Return the names of a port's udev properties that are set to 1."""
        number = read_text(self.root / "sys/class/tty" / port.device.rpartition("/")[2] / "dev")
        lines = _text(self.root / f"run/udev/data/c{number}").splitlines()
        return frozenset(line[2:-2] for line in lines if line.startswith("E:") and line.endswith("=1"))

    # -- files and who may use them

    def place(self, path: str) -> Path:
        """Return where a path of the host leads, under `root`, through all links."""
        return Path(os.path.realpath(self.root / path.lstrip("/")))

    def exists(self, path: str) -> bool:
        """Whether there is anything at a path."""
        return self.place(path).exists()

    def may_use(self, path: str) -> bool:
        """Whether the user may read and write a file: by the kernel's word for whoever asks, else by its mode."""
        if self._given_user is None:
            return os.access(self.place(path), os.R_OK | os.W_OK)
        status = self.place(path).stat()
        if self.user.uid == 0:
            return True
        if status.st_uid == self.user.uid:
            wanted = (_READ | _WRITE) << 6
        elif status.st_gid in self.user.groups:
            wanted = (_READ | _WRITE) << 3
        else:
            wanted = _READ | _WRITE
        return status.st_mode & wanted == wanted

    @cached_property
    def user(self) -> User:
        """Who asks."""
        if self._given_user is not None:
            return self._given_user
        uid = os.getuid()
        return User(self._user_names.get(uid, str(uid)), uid, frozenset({os.getegid(), *os.getgroups()}))

    def group_of(self, path: str) -> Group | None:
        """Return the group that owns a file and may write to it; None if it may not."""
        status = self.place(path).stat()
        if not status.st_mode & _WRITE << 3:
            return None
        return next((group for group in self._groups if group.gid == status.st_gid), None)

    # -- processes

    def holders(self, path: str) -> list[Process]:
        """Return the processes that have a file open, as far as they may be looked at."""
        wanted = self._shown(path)
        return [process for process, files in self._open_files if wanted in files]

    def running(self, name: str) -> list[Process]:
        """Return the processes with this name, as the kernel shortens it: to 15 characters."""
        return [process for process in self._processes if process.name == name]

    def _shown(self, path: str) -> str:
        """Return a path as the kernel shows it: without links, from the host's root on."""
        place = self.place(path)
        return f"/{place.relative_to(self.root)}" if place.is_relative_to(self.root) else str(place)

    @cached_property
    def _processes(self) -> list[Process]:
        found = []
        for folder in (self.root / "proc").glob("[0-9]*"):
            if folder.name.isdecimal() and (name := read_text(folder / "comm")):
                found.append(Process(int(folder.name), name, self._owner(folder)))
        return sorted(found, key=lambda process: process.pid)

    def _owner(self, folder: Path) -> str:
        uids = [
            line.split()[1] for line in _text(folder / "status").splitlines() if line.startswith("Uid:\t")
        ]
        uid = int(uids[0]) if uids and uids[0].isdecimal() else -1
        return self._user_names.get(uid, f"user {uid}" if uids else "an unknown user")

    @cached_property
    def _open_files(self) -> list[tuple[Process, frozenset[str]]]:
        return [(p, _links(self.root / "proc" / str(p.pid) / "fd")) for p in self._processes]

    @cached_property
    def _user_names(self) -> dict[int, str]:
        fields = [line.split(":") for line in _text(self.root / "etc/passwd").splitlines()]
        return {int(f[2]): f[0] for f in fields if len(f) > 2 and f[2].isdecimal() and f[0].isprintable()}

    @cached_property
    def _groups(self) -> list[Group]:
        fields = [line.split(":") for line in _text(self.root / "etc/group").splitlines()]
        return [
            Group(f[0], int(f[2]), frozenset(f[3].split(",")))
            for f in fields
            if len(f) == 4 and f[2].isdecimal() and f[0].isprintable()
        ]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _links(folder: Path) -> frozenset[str]:
    """Return where the links of a folder lead; another user's processes show nothing."""
    found = set()
    with suppress(OSError):
        for link in folder.iterdir():
            with suppress(OSError):
                found.add(str(link.readlink()))
    return frozenset(found)
