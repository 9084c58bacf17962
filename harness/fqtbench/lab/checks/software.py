"""What a board needs on this computer: its firmware, pyOCD's knowledge of its chip, its kind of power monitor."""

from fqtbench.bench.firmware import load_firmware
from fqtbench.errors import BoardError, FqtbenchError, ProbeError, UsageError
from fqtbench.lab.checks.subject import Subject
from fqtbench.lab.finding import Finding, Severity, finding_of
from fqtbench.lab.host import Host
from fqtbench.power import known_kinds, load_kind
from fqtbench.schema import nearest


def check_firmware(subject: Subject, host: Host) -> Finding | None:
    """The prebuilt firmware, or for a library a C compiler."""
    try:
        load_firmware(subject.model)
    except FqtbenchError as error:
        return finding_of("firmware", f"firmware of {subject.model.name}", error)
    return None


def check_pack(subject: Subject, host: Host) -> Finding | None:
    """A chip that pyOCD needs a CMSIS pack for."""
    target = subject.model.pyocd_target
    try:
        if not target or host.knows_target(target):
            return None
    except ProbeError as error:
        return finding_of("pack", f"chip {target}", error)
    wrong = "pyOCD has it neither built in nor in an installed pack"
    remedy = f"`pyocd pack install {target}` (needs the network), or correct pyocd_target in the board model"
    return Finding("pack", Severity.ERROR, f"chip {target}", wrong, remedy)


def check_monitor(subject: Subject, host: Host) -> Finding | None:
    """A power monitor of an unknown kind, or of one whose package is broken."""
    url = subject.instance.power
    try:
        load_kind(url)
    except UsageError:
        remedy = f"correct `power` in bench.toml{nearest(url.partition(':')[0], known_kinds())}"
        return Finding("monitor", Severity.ERROR, f"power monitor {url}", "unknown kind", remedy)
    except BoardError as error:
        return finding_of("monitor", f"power monitor {url}", error)
    return None
