"""The boards that have a virtual chip, and what the tests of all of them share."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from fqtbench.board import BoardModel, load_models
from fqtbench.paths import share

PREBUILT: Final = share("firmware/prebuilt")
VIRTUAL: Final = sorted((m for m in load_models().values() if m.virtual), key=lambda m: m.name)
NAMES: Final = [model.name for model in VIRTUAL]
END_DEADLINE_S: Final = 30


def manifest(model: BoardModel) -> dict[str, Any]:
    """Return the manifest's entry of a board's firmware."""
    chips: dict[str, dict[str, Any]] = json.loads((PREBUILT / "manifest.json").read_text("utf-8"))["chips"]
    return chips[model.firmware]


@contextmanager
def launched(model: BoardModel, *arguments: str) -> Iterator[dict[str, str]]:
    """Serve a virtual board; yields what it says of itself."""
    command = [sys.executable, "-m", "fqtbench.virtual", model.firmware, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        try:
            process.communicate(timeout=END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
