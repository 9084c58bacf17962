"""The C engine, built once per test run."""

import ctypes

import pytest

from tests.engine.native import build


@pytest.fixture(scope="session")
def engine_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The engine as a shared library, with undefined behaviour trapped."""
    flags = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    return ctypes.CDLL(str(build(tmp_path_factory.mktemp("engine"), *flags)))
