"""The C engine, built once in a test run."""

import ctypes

import pytest

from tests.builds import built_once
from tests.engine.native import build

_FLAGS = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")


@pytest.fixture(scope="session")
def engine_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The engine as a shared library, with undefined behaviour trapped."""
    folder = built_once(tmp_path_factory, "engine", lambda folder: build(folder, *_FLAGS))
    return ctypes.CDLL(str(build(folder, *_FLAGS)))  # finds it
