"""The command line in a process of its own, under a deadline."""

import subprocess
import sys
from pathlib import Path

COMMAND = (sys.executable, "-m", "fqtbench")


def start_command(*arguments: str, cwd: Path) -> "subprocess.Popen[str]":
    """Start it in `cwd`, its outputs in pipes, its standard input open until the process object closes it."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_command(*arguments: str, cwd: Path, deadline_s: float) -> "subprocess.CompletedProcess[str]":
    """Run it in `cwd`, which is where it looks for its bench file."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )
