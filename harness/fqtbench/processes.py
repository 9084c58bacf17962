"""The end of a child process."""

import subprocess
from contextlib import suppress
from typing import Any, Final

_REAP_DEADLINE_S: Final = 1.0


def reap(process: "subprocess.Popen[Any]") -> None:
    """Wait for a process that was killed; one that the kernel holds, as in a USB driver, is left to its fate."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_REAP_DEADLINE_S)
