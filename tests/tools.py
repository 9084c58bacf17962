"""Tools that a desk may lack: their tests are skipped there, with the reason, and fail in CI."""

import importlib
import os
import shutil
from typing import Any

import pytest


def require(tool: str, package: str, where: str = "Debian") -> str:
    """Return the path of `tool`; without it skip the test, or fail it where FQTBENCH_TOOLS=required."""
    path = shutil.which(tool)
    if path is not None:
        return path
    message = f"needs {tool} ({where}: {package})"
    if os.environ.get("FQTBENCH_TOOLS") == "required":
        pytest.fail(message)
    pytest.skip(message)


def require_module(name: str) -> Any:
    """Return the module `name`, of a package that a desk may lack, on the terms of `require`."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        message = f"needs the package {name}"
    if os.environ.get("FQTBENCH_TOOLS") == "required":
        pytest.fail(message)
    pytest.skip(message)
