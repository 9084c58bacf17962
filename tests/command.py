"""The command line in a process of its own, under a deadline."""

import subprocess
import sys
from pathlib import Path


def run_command(*arguments: str, cwd: Path, deadline_s: float) -> "subprocess.CompletedProcess[str]":
    """Run it in `cwd`, which is where it looks for its bench file."""
    return subprocess.run(
        [sys.executable, "-m", "fqtbench.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )
