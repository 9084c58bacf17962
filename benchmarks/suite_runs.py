"""Suites that a benchmark writes, run by the command line that a user has."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import yaml

_DEADLINE_S: Final = 7200


def fqtbench(*arguments: str) -> str:
    """Run the command; return what it printed."""
    command = [sys.executable, "-m", "fqtbench.cli", *arguments]
    return subprocess.run(command, check=True, timeout=_DEADLINE_S, stdout=subprocess.PIPE, text=True).stdout


def run_suite(folder: Path, name: str, *, board: str = "host", **suite: Any) -> Path:
    """Run a suite of one board in `folder`; return its results folder."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "boards": [board], **suite}))
    fqtbench("run", str(path), "--out", str(folder / name), "--json")
    return folder / name
