"""The probes attached to this host, asked for in a process of its own: ``python -m fqtbench.bench.probes``.

A USB driver may hang inside pyOCD; a process can be ended.
"""

import json
import subprocess
import sys
from typing import Final

from fqtbench.errors import ProbeError

_DEADLINE_S: Final = 20.0


def attached_probes() -> dict[str, str]:
    """Return id → description of the attached probes; ProbeError if they can't be listed."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fqtbench.bench.probes"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        probes = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise ProbeError(
            f"listing the attached probes took longer than {_DEADLINE_S:.0f} s; unplug the one plugged in last"
        ) from None
    except (OSError, ValueError, IndexError) as error:
        raise ProbeError(f"the attached probes can't be listed: {error}") from error
    return {str(probe_id): str(description) for probe_id, description in probes.items()}


def _main() -> None:
    from fqtbench.probe import list_probes  # noqa: PLC0415  (pyOCD belongs into this process only)

    print(json.dumps({probe.probe_id: probe.description for probe in list_probes()}))


if __name__ == "__main__":
    _main()
