"""Whether a known board is there, and free."""

from dataclasses import dataclass
from enum import StrEnum

from fqtbench.lab.checks import Subject
from fqtbench.lab.checks.line import check_line_attached
from fqtbench.lab.checks.probe import check_probe_attached
from fqtbench.lab.checks.subject import REMOTE
from fqtbench.lab.host import Host


class State(StrEnum):
    """Where a board is.

    `ATTACHED`: probe and serial line are plugged in, nobody uses them. `BUSY`: somebody holds its probe. `MISSING`:
    neither is plugged in. `INCOMPLETE`: one of them isn't, or two candidates are. `REMOTE`: its probe is behind a
    server, which takes one client and is not asked. `ON_DEMAND`: its command brings it. `HERE`: it is this computer.
    """

    ATTACHED = "attached"
    BUSY = "busy"
    MISSING = "missing"
    INCOMPLETE = "incomplete"
    REMOTE = "remote"
    ON_DEMAND = "on demand"
    HERE = "here"


@dataclass(frozen=True)
class Status:
    """A board's state, and what is to be said of it: who holds it, or what is missing."""

    state: State
    detail: str = ""


def status_of(subject: Subject, host: Host) -> Status:
    """Return the state of one board; touches nothing."""
    if subject.model.link == "library":
        return Status(State.HERE)
    if subject.instance.launch:
        return Status(State.ON_DEMAND)
    probe_id = subject.instance.probe or ""
    holder = host.probe_holder(probe_id)
    if holder is not None:
        return Status(State.BUSY, str(holder))
    probe, line = check_probe_attached(subject, host), check_line_attached(subject, host)
    problems = [finding for finding in (probe, line) if finding is not None]
    detail = "; ".join(f"{finding.about}: {finding.wrong}" for finding in problems)
    if len(problems) == 2 and not host.probes_called(probe_id):
        return Status(State.MISSING, detail)
    if problems:
        return Status(State.INCOMPLETE, detail)
    return Status(State.REMOTE if probe_id.startswith(REMOTE) else State.ATTACHED)
