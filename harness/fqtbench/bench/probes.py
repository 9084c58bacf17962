"""What pyOCD knows, asked for in a process of its own: ``python -m fqtbench.bench.probes probes|targets [NAME ...]``.

A USB driver may hang inside pyOCD; a process can be ended.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from fqtbench.errors import ProbeError
from fqtbench.printable import printable

_DEADLINE_S: Final = 20.0


@dataclass(frozen=True)
class AttachedProbe:
    """A probe on this host's USB; `target` is pyOCD's name of the chip on its board, where the probe's id tells it."""

    probe_id: str
    description: str
    target: str | None = None


def attached_probes() -> list[AttachedProbe]:
    """Return the attached probes, by id, also two of one id; ProbeError if they can't be listed."""
    return [AttachedProbe(**probe) for probe in _ask("probes", "the attached probes")]


def unknown_targets(targets: Iterable[str]) -> frozenset[str]:
    """Return those of `targets` that pyOCD has neither built in nor in an installed pack.

    ProbeError without an answer.
    """
    names = sorted(set(targets))
    return frozenset(_ask("targets", "pyOCD's targets", *names)) if names else frozenset()


def _ask(question: str, what: str, *arguments: str) -> Any:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fqtbench.bench.probes", question, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
    except OSError as error:
        raise ProbeError(f"{what} can't be listed: {error}") from error
    except subprocess.TimeoutExpired:
        raise ProbeError(
            f"listing {what} took longer than {_DEADLINE_S:.0f} s; unplug the probe plugged in last"
        ) from None
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        said = done.stderr.strip().splitlines() or ["pyOCD's process said nothing"]
        raise ProbeError(f"{what} can't be listed: {said[-1]}") from error


def _main(question: str, *arguments: str) -> None:
    from fqtbench import probe  # noqa: PLC0415  (pyOCD belongs into this process only)

    if question == "targets":
        print(json.dumps(probe.unknown_targets(arguments)))
        return
    found = [
        AttachedProbe(printable(p.probe_id), printable(p.description), p.target) for p in probe.list_probes()
    ]
    print(json.dumps([asdict(attached) for attached in found]))


if __name__ == "__main__":
    _main(*sys.argv[1:])
