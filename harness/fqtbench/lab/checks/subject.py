"""The board that a check looks at, and where on this host its parts should be."""

from dataclasses import dataclass
from typing import Final

from fqtbench.bench.ports import SerialPort, find_port
from fqtbench.board import BoardInstance, BoardModel
from fqtbench.errors import LinkError
from fqtbench.lab.host import Host

REMOTE: Final = "remote:"


@dataclass(frozen=True)
class Subject:
    """The board that is looked at."""

    instance: BoardInstance
    model: BoardModel

    @property
    def probe(self) -> str | None:
        """The id of its probe on this host's USB."""
        probe = self.instance.probe
        return None if probe is None or probe.startswith(REMOTE) or self.instance.launch else probe

    @property
    def about_probe(self) -> str:
        """What messages call its probe."""
        return f"probe {self.instance.probe}"

    @property
    def about_line(self) -> str:
        """What messages call its serial line."""
        return f"serial line {self.instance.serial}"

    def line(self, host: Host) -> str | None:
        """Return the path of its serial line on this host; None if it is elsewhere, or nowhere, or no path (COM3)."""
        serial = self.instance.serial
        if serial is None or "://" in serial or self.instance.launch:
            return None
        try:
            line = find_port(serial, host.ports)
        except LinkError:
            return None
        return line if line.startswith("/") else None

    def port(self, host: Host) -> SerialPort | None:
        """Return its serial port, if that is one on USB and is there."""
        line = self.line(host)
        return None if line is None else host.port_at(line)
