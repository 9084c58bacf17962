"""What can be wrong with a debug probe."""

from fqtbench.lab.checks.subject import Subject
from fqtbench.lab.finding import Finding, Severity, finding_of
from fqtbench.lab.host import Host, UsbDevice
from fqtbench.lab.usb import FIRMWARE, install, probe_rule


def check_probe_attached(subject: Subject, host: Host) -> Finding | None:
    """No such probe, two of them, or one that pyOCD is not allowed to see."""
    if subject.probe is None:
        return None
    found = host.probes_called(subject.probe)
    if len(found) == 1:
        return None
    if found:
        which = ", ".join(f"{probe.description} {probe.probe_id}" for probe in found)
        wrong = f"{len(found)} probes have this id: {which}"
        return Finding("probe", Severity.ERROR, subject.about_probe, wrong, "unplug all but one")
    for device in host.usb_probes_called(subject.probe):
        return _unseen(subject, host, device)
    if host.probes_error is not None:
        return finding_of("probe", subject.about_probe, host.probes_error)
    ids = ", ".join(probe.probe_id for probe in host.probes) or "none"
    return Finding(
        "probe",
        Severity.ERROR,
        subject.about_probe,
        f"not attached to this host (attached: {ids})",
        "check cable, power and id; `fqtbench boards --suggest` writes what is plugged in",
    )


def _unseen(subject: Subject, host: Host, device: UsbDevice) -> Finding:
    """A probe that is plugged in, and that pyOCD does not list."""
    closed = forbidden_file(host, device)
    if closed is not None:
        return Finding(
            "permission",
            Severity.ERROR,
            subject.about_probe,
            f"{device} is plugged in, but {host.user.name} may not use {closed}",
            install(probe_rule(device.vid, device.pid), "50-fqtbench.rules"),
        )
    wrong = f"{device} is plugged in, but pyOCD does not see it"
    remedy = "close other programs that use it, plug it in again, and update its firmware"
    return Finding("probe", Severity.ERROR, subject.about_probe, wrong, remedy)


def forbidden_file(host: Host, device: UsbDevice) -> str | None:
    """Return the first of a USB device's files that the user may not use."""
    files = [file for file in (device.node, *device.hidraw) if file is not None and host.exists(file)]
    return next((file for file in files if not host.may_use(file)), None)


def check_probe_firmware(subject: Subject, host: Host) -> Finding | None:
    """A probe whose firmware pyOCD can't work with, or not well."""
    for device in host.usb_probes_called(subject.probe) if subject.probe else []:
        known = FIRMWARE.get((device.vid, device.pid))
        if known is not None:
            severity = Severity.ERROR if known.fatal else Severity.WARNING
            return Finding("probe-firmware", severity, subject.about_probe, known.wrong, known.remedy)
    return None


def check_probe_busy(subject: Subject, host: Host) -> Finding | None:
    """A probe that somebody works with: another fqtbench, or any other program."""
    probe = subject.instance.probe
    if probe is None or subject.instance.launch:
        return None
    holder = host.probe_holder(probe)
    if holder is not None:
        remedy = "wait for it (`fqtbench run --wait SECONDS`), or end it"
        return Finding("probe-busy", Severity.ERROR, subject.about_probe, f"in use by {holder}", remedy)
    nodes = [device.node for device in host.usb_probes_called(probe) if device.node is not None]
    users = [process for node in nodes for process in host.holders(node)]
    if not users:
        return None
    who = ", ".join(str(process) for process in users)
    return Finding("probe-busy", Severity.ERROR, subject.about_probe, f"open in {who}", "close that program")
