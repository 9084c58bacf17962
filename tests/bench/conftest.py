"""A virtual board for the tests that need a real one: launched, described in a bench file, ended afterwards."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

END_DEADLINE_S = 20


@contextmanager
def virtual_board() -> Iterator[dict[str, Any]]:
    """Serve a virtual nRF52840; yields its addresses."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fqtbench.virtual", "nrf52840"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(END_DEADLINE_S)


def bench_file(folder: Path, **board: str) -> Path:
    """Write a bench file with the one board `desk`; returns its path."""
    path = folder / "bench.toml"
    lines = [
        f"{key} = {json.dumps(value)}"
        for key, value in {"name": "desk", "model": "nrf52840", **board}.items()
    ]
    path.write_text("[[board]]\n" + "\n".join(lines))
    return path


@pytest.fixture
def board() -> Iterator[dict[str, Any]]:
    """Addresses of a virtual nRF52840."""
    with virtual_board() as addresses:
        yield addresses
