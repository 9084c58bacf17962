"""What can be wrong with a board and is seen without touching it: one function a reason.

A check gets a board and the host, and returns what it found, or None. Boards that are launched have no addresses yet,
and a library has none at all: the checks of addresses have nothing to say of them.
"""

from collections.abc import Callable
from typing import Final

from fqtbench.lab.checks import line, probe, software
from fqtbench.lab.checks.subject import Subject
from fqtbench.lab.finding import Finding
from fqtbench.lab.host import Host

Check = Callable[[Subject, Host], Finding | None]

CHECKS: Final[tuple[Check, ...]] = (
    software.check_firmware,
    software.check_pack,
    software.check_monitor,
    probe.check_probe_attached,
    probe.check_probe_firmware,
    probe.check_probe_busy,
    line.check_line_attached,
    line.check_line_permission,
    line.check_line_busy,
    line.check_modem_manager,
    line.check_latency_timer,
    line.check_line_name,
)

__all__ = ["CHECKS", "Check", "Subject"]
