"""Tools that a desk may lack: their tests are skipped there, with the reason, and fail in CI."""

import os
import shutil

import pytest


def require(tool: str, debian_package: str) -> str:
    """Return the path of `tool`; without it skip the test, or fail it where FQTBENCH_TOOLS=required."""
    path = shutil.which(tool)
    if path is not None:
        return path
    message = f"needs {tool} (Debian: {debian_package})"
    if os.environ.get("FQTBENCH_TOOLS") == "required":
        pytest.fail(message)
    pytest.skip(message)
