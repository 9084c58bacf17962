"""What can be wrong with a serial line."""

import re
from typing import Final

from fqtbench.bench.ports import SerialPort, find_port
from fqtbench.board import USB_SERIAL
from fqtbench.errors import LinkError
from fqtbench.lab.checks.subject import Subject
from fqtbench.lab.finding import Finding, Severity, finding_of
from fqtbench.lab.host import Host
from fqtbench.lab.usb import install, latency_rule, modem_rule

_MODEM_MANAGER: Final = "ModemManager"
_BRLTTY: Final = "brltty"
_NUMBERED: Final = re.compile(r"/dev/tty(USB|ACM)\d+")
_LATENCY_MS: Final = 1
_MM_IGNORE: Final = frozenset({"ID_MM_DEVICE_IGNORE", "ID_MM_PORT_IGNORE"})
_STOP_MODEM_MANAGER: Final = "`sudo systemctl stop ModemManager`, or for good "
_REMOVE_BRLTTY: Final = (
    "unless a braille display hangs on this host, `sudo systemctl mask --now brltty-udev.service brltty.service`, "
    "or remove the package brltty; then plug the adapter in again"
)


def check_line_attached(subject: Subject, host: Host) -> Finding | None:
    """No such serial port, or two of them."""
    serial = subject.instance.serial
    if serial is None or "://" in serial or subject.instance.launch:
        return None
    try:
        line = find_port(serial, host.ports)
    except LinkError as error:
        return _blame_brltty(host, finding_of("serial", subject.about_line, error))
    if not line.startswith("/") or host.exists(line):
        return None
    attached = ", ".join(str(port) for port in host.ports) or "none"
    wrong = f"there is no such port (attached: {attached})"
    remedy = "check cable, power and name; `fqtbench boards --suggest` writes what is plugged in"
    return _blame_brltty(host, Finding("serial", Severity.ERROR, subject.about_line, wrong, remedy))


def _blame_brltty(host: Host, missing: Finding) -> Finding:
    """brltty takes adapters for braille displays, and their ports away."""
    running = host.running(_BRLTTY)
    if not running:
        return missing
    wrong = f"{missing.wrong}; {running[0]} is running, which takes adapters with common chips away"
    return Finding(_BRLTTY, missing.severity, missing.about, wrong, _REMOVE_BRLTTY)


def check_line_permission(subject: Subject, host: Host) -> Finding | None:
    """A port that belongs to a group, mostly dialout, which the user is not in."""
    line = subject.line(host)
    if line is None or not host.exists(line) or host.may_use(line):
        return None
    name = host.user.name
    group = host.group_of(line)
    wrong = f"{name} may not read and write {line}"
    if group is None:
        remedy = f"ask whoever looks after this host for access to {line}: no group has it"
    elif name in group.members:
        wrong += f"; {name} is in group {group.name}, but was logged in before that"
        remedy = f"log out and in again, or `newgrp {group.name}`"
    else:
        wrong += f", which group {group.name} may"
        remedy = f"`sudo usermod -aG {group.name} {name}`, then log out and in again"
    return Finding("permission", Severity.ERROR, subject.about_line, wrong, remedy)


def check_line_busy(subject: Subject, host: Host) -> Finding | None:
    """A port that another program has open. Of a pseudo-terminal, the program that is its other end always has."""
    port = subject.port(host)
    holders = [] if port is None else host.holders(port.device)
    if port is None or not holders:
        return None
    names = {process.name for process in holders}
    if _MODEM_MANAGER in names:
        remedy = _STOP_MODEM_MANAGER + install(modem_rule(port.vid, port.pid), "60-fqtbench-modem.rules")
    elif _BRLTTY in names:
        remedy = _REMOVE_BRLTTY
    else:
        remedy = "close that program, or wait for it"
    wrong = f"open in {', '.join(str(process) for process in holders)}"
    return Finding("serial-busy", Severity.ERROR, subject.about_line, wrong, remedy)


def check_modem_manager(subject: Subject, host: Host) -> Finding | None:
    """ModemManager, which talks to new ports to see whether they are modems."""
    port = subject.port(host)
    running = host.running(_MODEM_MANAGER)
    if port is None or not running or host.udev_properties(port) & _MM_IGNORE:
        return None
    wrong = f"{running[0]} may try it for a modem whenever it is plugged in"
    remedy = install(modem_rule(port.vid, port.pid), "60-fqtbench-modem.rules")
    return Finding("modem-manager", Severity.WARNING, subject.about_line, wrong, remedy)


def check_latency_timer(subject: Subject, host: Host) -> Finding | None:
    """An FTDI adapter that waits 16 ms before it passes on a reply."""
    port = subject.port(host)
    timer_ms = None if port is None else host.latency_timer_ms(port)
    if port is None or timer_ms is None or timer_ms <= _LATENCY_MS:
        return None
    wrong = f"its latency timer is {timer_ms} ms: each reply of the board may come so much later"
    remedy = install(latency_rule(port.vid, port.pid), "60-fqtbench-latency.rules")
    return Finding("latency-timer", Severity.WARNING, subject.about_line, wrong, remedy)


def check_line_name(subject: Subject, host: Host) -> Finding | None:
    """A name that may mean another port tomorrow."""
    port, serial = subject.port(host), subject.instance.serial or ""
    if port is None:
        return None
    if _NUMBERED.fullmatch(serial):
        wrong = "numbered in the order of plugging in: it may be another board's tomorrow"
        better = port.identity or port.by_path
        remedy = f'write serial = "{better}" into bench.toml' if better else "name it by udev"
        return Finding("serial-name", Severity.WARNING, subject.about_line, wrong, remedy)
    by_name = USB_SERIAL.fullmatch(serial) or serial.startswith("/dev/serial/by-id/")
    twins = [other for other in host.ports if other != port and _same_to_udev(other, port)]
    if by_name and twins:
        which = ", ".join(f"{twin.device} ({twin.by_path or 'no path'})" for twin in (port, *twins))
        wrong = f"{len(twins) + 1} ports go by this name: {which}"
        remedy = "write the path of the right one, /dev/serial/by-path/…, into bench.toml"
        return Finding("serial-name", Severity.ERROR, subject.about_line, wrong, remedy)
    if by_name and port.serial_number is None:
        wrong = "its adapter has no serial number: a second one of its kind would take its name"
        remedy = f'write serial = "{port.by_path}" into bench.toml, and leave it in that socket'
        return Finding("serial-name", Severity.WARNING, subject.about_line, wrong, remedy)
    return None


def _same_to_udev(a: SerialPort, b: SerialPort) -> bool:
    """Whether two ports get one name in /dev/serial/by-id."""
    return (a.vid, a.pid, a.serial_number, a.interface, a.product) == (
        (b.vid, b.pid, b.serial_number, b.interface, b.product)
    )
