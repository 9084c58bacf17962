"""What several tests build alike is built once in a test run, by whichever of its processes comes first."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

_FIRMWARE = Path(__file__).resolve().parents[1] / "firmware"
_DEADLINE_S = 300


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Return a folder that `build` has filled; `name`, without spaces, says what with.

    A build that failed is tried again by the next who wants it.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder of its own in that of the run
        base = base.parent
    folder = base / "built" / name
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder.with_suffix(".whole")
    with FileLock(f"{folder}.lock", timeout=_DEADLINE_S):
        if not whole.exists():
            build(folder)
            whole.touch()
    return folder


def copy_firmware(folder: Path) -> Path:
    """Copy the firmware's sources, without what is built of them, to `folder`, which is not there yet; return it."""
    shutil.copytree(_FIRMWARE, folder, ignore=shutil.ignore_patterns("build", "prebuilt", "__pycache__"))
    return folder
