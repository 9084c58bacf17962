"""The native device and library, built once per test session."""

from pathlib import Path

import pytest

from tests.wire.native_device import build_device, build_library


@pytest.fixture(scope="session")
def device_executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The device, plain."""
    return build_device(tmp_path_factory.mktemp("device"))


@pytest.fixture(scope="session")
def sanitized_executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The device with address and undefined-behaviour sanitizers, which end it at the first finding."""
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    return build_device(tmp_path_factory.mktemp("sanitized"), *flags)


@pytest.fixture(scope="session")
def wire_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wire's C code as a shared library."""
    return build_library(tmp_path_factory.mktemp("library"))
