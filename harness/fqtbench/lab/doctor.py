"""Why a board would not work: first what is seen without touching it, then monitor, probe, chip and line are tried."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from fqtbench.bench.firmware import load_firmware
from fqtbench.bench.job import Charge, ExamineJob
from fqtbench.bench.pool import Pool, Task
from fqtbench.errors import FqtbenchError
from fqtbench.lab.checks import CHECKS, Subject
from fqtbench.lab.checks.probe import forbidden_file
from fqtbench.lab.finding import Finding, Severity, finding_of
from fqtbench.lab.host import Host
from fqtbench.lab.usb import install, probe_name, probe_rule

_DEADLINE_S: Final = 120.0
_ABOUT: Final = {
    "monitor": "power monitor",
    "probe": "probe and chip",
    "port": "serial port",
    "line": "serial line",
    "firmware": "chip",
}


@dataclass(frozen=True)
class Diagnosis:
    """What was found of one board; `tried` are the parts that were tried and work."""

    board: str
    findings: tuple[Finding, ...]
    tried: tuple[str, ...]

    def has(self, severities: Iterable[Severity]) -> bool:
        """Whether any finding is that severe."""
        return any(finding.severity in set(severities) for finding in self.findings)


def examine(subject: Subject, host: Host, program: bool = False) -> Diagnosis:
    """Look at one board, and if nothing forbids it, try it: connect, reset, say hello.

    `program`: put the firmware on the chip if it isn't there, without which nobody answers on the line.
    """
    name = subject.instance.name
    findings = [finding for check in CHECKS if (finding := check(subject, host)) is not None]
    if any(finding.severity is Severity.ERROR for finding in findings):
        return Diagnosis(name, tuple(findings), ())
    events, failure = _try(subject, program)
    findings += [_finding(subject, event) for event in events if "class" in event]
    if failure is not None:
        findings.append(finding_of("attach", f"board {name}", failure))
    return Diagnosis(name, tuple(findings), tuple(e["part"] for e in events if "class" not in e))


def examine_host(host: Host, subjects: Iterable[Subject]) -> tuple[Finding, ...]:
    """Return what is wrong with probes that are plugged in and belong to no board."""
    named = {device for s in subjects if s.probe for device in host.usb_probes_called(s.probe)}
    findings = []
    for device in host.usb_devices:
        if device in named or probe_name(device.vid, device.pid) is None:
            continue
        closed = forbidden_file(host, device)
        if closed is not None:
            wrong = f"of no board, and {host.user.name} may not use {closed}"
            remedy = install(probe_rule(device.vid, device.pid), "50-fqtbench.rules")
            findings.append(Finding("permission", Severity.WARNING, str(device), wrong, remedy))
    return tuple(findings)


def _try(subject: Subject, program: bool) -> tuple[list[dict[str, Any]], FqtbenchError | None]:
    """Let a worker examine the board; returns its events ``tried``, and what kept it from going on."""
    events: list[dict[str, Any]] = []

    def keep(task: Task, board: str, event: dict[str, Any]) -> None:
        if event["event"] == "tried":
            events.append(event)

    firmware = load_firmware(subject.model)
    job = ExamineJob(elf=firmware.path.resolve(), build_id=firmware.build_id, program=program)
    task = Task("examination", subject.model.name, job, _DEADLINE_S)
    try:
        with Pool([Charge(instance=subject.instance, model=subject.model)]) as pool:
            pool.run([task], keep)
    except FqtbenchError as error:
        return events, error
    return events, None


def _finding(subject: Subject, event: dict[str, Any]) -> Finding:
    """Return the finding that a part which failed makes, with the remedy that its kind of failure has."""
    name, part, message = subject.instance.name, event["part"], str(event["message"])
    found = finding_of(part, f"{_ABOUT[part]} of {name}", message)
    if part == "firmware":
        remedy = f"`fqtbench run` programs it; to try the line now, `fqtbench doctor {name} --program`"
        return Finding(part, Severity.NOTE, found.about, found.wrong, remedy)
    if event["class"] == "CalibrationError":
        return Finding("calibration", Severity.ERROR, found.about, found.wrong, found.remedy)
    if event["class"] == "LockedError":
        remedy = f"`fqtbench recover {name}` unlocks it by erasing all of it, then `fqtbench flash {name}`"
        return Finding("locked", Severity.ERROR, found.about, found.wrong, remedy)
    if (part, event["class"]) == ("line", "LinkError"):
        said = found.wrong.partition(". ")[0]
        wrong = f"the firmware is on the chip and was started, but the line brings no answer ({said})"
        remedy = "is it this board's port, are TX and RX wired and not swapped, is nobody else talking on it?"
        return Finding("silent", Severity.ERROR, found.about, wrong, remedy)
    if "STLink firmware" in message:  # pyOCD's words; it has no class of its own for this
        remedy = "update the probe's firmware by its maker's program (ST-Link: STM32CubeProgrammer)"
        return Finding("probe-firmware", Severity.ERROR, found.about, found.wrong, remedy)
    return found
