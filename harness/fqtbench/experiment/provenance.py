"""Where a result comes from: versions, commits, host, time."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import fqtbench

_LIBRARIES: Final = (
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "pyocd",
    "pyserial",
    "cobs",
    "unicorn",
    "capstone",
    "numba",
)
_GIT_DEADLINE_S: Final = 10


def environment() -> dict[str, Any]:
    """Return what of this host and installation may matter to a result."""
    return {
        "fqtbench": fqtbench.__version__,
        "git": git_state(Path(fqtbench.__file__).resolve().parent),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "host": platform.node(),
        "cpus": os.cpu_count(),
        "libraries": {name: version for name in _LIBRARIES if (version := _version(name))},
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit and dirty flag of the clone that holds `folder`, or None if it lies in none."""
    commit = _git(folder, ["rev-parse", "HEAD"])
    changes = _git(folder, ["status", "--porcelain"])
    if changes is None:
        return None
    return {"commit": commit, "dirty": bool(changes)}


def _git(folder: Path, arguments: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_DEADLINE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
