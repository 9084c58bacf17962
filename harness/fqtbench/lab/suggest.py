"""An inventory, bench.toml, from what is plugged in.

Only what ids say exactly is written as a fact: a port belongs to the probe whose serial number it has. What must be
chosen stays a comment with its candidates, so that an unfinished file is refused, naming the key.
"""

import json
from collections.abc import Iterable, Sequence

from fqtbench.bench.ports import SerialPort
from fqtbench.bench.probes import AttachedProbe
from fqtbench.board import BoardInstance, BoardModel, probe_key
from fqtbench.lab.host import Host, UsbDevice
from fqtbench.lab.usb import probe_name
from fqtbench.printable import printable

_HEAD = "# Boards on this bench, as `fqtbench boards --suggest` found them plugged in (docs/bench.md).\n"


def suggest(host: Host, models: dict[str, BoardModel], known: Iterable[BoardInstance]) -> str:
    """Return the text of a bench.toml with a board for each probe that no board of `known` uses."""
    used = {probe_key(board.probe) for board in known if board.probe is not None}
    taken = {board.name for board in known}
    probes = [probe for probe in host.probes if probe_key(probe.probe_id) not in used]
    parts = [_HEAD]
    paired: set[str] = set()
    for probe in probes:
        ports = _ports_of(probe, host.ports)
        paired |= {port.device for port in ports}
        parts.append(_board(probe, ports, host, models, taken))
    of_used = {port.device for port in host.ports if probe_key(port.serial_number or "") in used}
    others = [port for port in host.ports if port.device not in paired | of_used]
    parts += [_others("Serial ports of no probe, e.g. adapters:", map(_described, others))] if others else []
    unseen = [str(device) for device in _unseen(host)]
    parts += (
        [_others("Probes that pyOCD does not see; `fqtbench doctor` says why:", unseen)] if unseen else []
    )
    if not probes:
        parts.append("# No probe is plugged in that has no board yet.\n")
    return "\n".join(parts)


def _ports_of(probe: AttachedProbe, ports: Iterable[SerialPort]) -> list[SerialPort]:
    return [port for port in ports if probe_key(port.serial_number or "") == probe_key(probe.probe_id)]


def _board(
    probe: AttachedProbe,
    ports: Sequence[SerialPort],
    host: Host,
    models: dict[str, BoardModel],
    taken: set[str],
) -> str:
    fitting = [m.name for m in models.values() if m.pyocd_target and m.pyocd_target == probe.target]
    lines = [f"# {printable(probe.description)}", "[[board]]"]
    name = _free_name(fitting[0] if len(fitting) == 1 else "board", taken)
    lines.append(f"name = {_quoted(name)}")
    if len(fitting) == 1:
        lines.append(f"model = {_quoted(fitting[0])}")
    else:
        candidates = fitting or sorted(m.name for m in models.values() if m.link == "uart")
        lines.append(f'# model = "…"  # which one its id does not say: {", ".join(candidates)}')
    lines.append(f"probe = {_quoted(probe.probe_id)}")
    if len(host.probes_called(probe.probe_id)) > 1:
        lines.append("# ^ several attached probes have this id: fqtbench can't tell them apart")
    if len(ports) == 1:
        lines.append(f"serial = {_quoted(_address(ports[0], host.ports))}  # {printable(_place(ports[0]))}")
    else:
        lines.append(f"# serial: {len(ports) or 'no'} ports have the probe's serial number; choose one")
        lines += [
            f"# serial = {_quoted(_address(port, host.ports))}  # {printable(_place(port))}"
            for port in ports or host.ports
        ]
    return "\n".join(lines) + "\n"


def _free_name(stem: str, taken: set[str]) -> str:
    number = 1
    while f"{stem}-{number}" in taken:
        number += 1
    taken.add(f"{stem}-{number}")
    return f"{stem}-{number}"


def _address(port: SerialPort, ports: Iterable[SerialPort]) -> str:
    """Return the surest name of a port: its identity if no other port has the same, else its socket."""
    identity = port.identity
    if identity is not None and sum(other.identity == identity for other in ports) == 1:
        return identity
    return port.by_path or port.device


def _unseen(host: Host) -> list[UsbDevice]:
    seen = {probe_key(probe.probe_id) for probe in host.probes}
    return [
        device
        for device in host.usb_devices
        if probe_name(device.vid, device.pid) and probe_key(device.serial_number or "") not in seen
    ]


def _others(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"# {title}", *(f"#   {printable(line)}" for line in lines)]) + "\n"


def _described(port: SerialPort) -> str:
    return f"{port.identity or port.by_path or port.device}  ({port.product or 'no name'}, {_place(port)})"


def _place(port: SerialPort) -> str:
    return port.by_id or port.by_path or port.device


def _quoted(text: str) -> str:
    """Return a TOML basic string; JSON's are such, once unprintable characters are gone."""
    return json.dumps(printable(text), ensure_ascii=False)
