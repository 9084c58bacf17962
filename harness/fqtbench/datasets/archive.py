"""Single files out of archives that come from outside: wheels, npm tarballs, the tar stream of a Debian package.

Nothing is extracted: wanted members are read into memory, by name, each with the length that is known beforehand.
"""

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final, cast

from fqtbench.errors import UsageError

ARCHIVE_LIMIT_BYTES: Final = 256 << 20
_UNPACKED_LIMIT_BYTES: Final = 1 << 30  # of a tar stream, which must be read from its beginning
_MOST_MEMBERS: Final = 20_000
_BROKEN: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,  # a zip member is encrypted
    NotImplementedError,  # or compressed in an unknown way
    ValueError,
)


class _Bounded(io.RawIOBase):
    """A stream that fails rather than give more than `limit` bytes: a compressed tar may be a bomb."""

    def __init__(self, inner: IO[bytes], limit: int) -> None:
        self._inner = inner
        self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._inner.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise OSError("it unpacks to more bytes than any package of data may have")
        buffer[: len(content)] = content
        return len(content)


def take_members(archive: Path, wanted: Mapping[str, int]) -> dict[str, bytes]:
    """Return the members `wanted` (path: length in bytes) of a ``.whl``, ``.tgz`` or ``.tar``.

    Raises UsageError if the archive is broken or too large, or if a member is missing or of another length.
    """
    try:
        if archive.stat().st_size > ARCHIVE_LIMIT_BYTES:
            raise UsageError(f"{archive.name}: larger than {ARCHIVE_LIMIT_BYTES} bytes, so it isn't read")
        found = _from_zip(archive, wanted) if archive.suffix == ".whl" else _from_tar(archive, wanted)
    except _BROKEN as error:
        raise UsageError(f"{archive.name}: can't be read: {error}") from error
    for member, n_bytes in wanted.items():
        if member not in found:
            raise UsageError(f"{archive.name}: has no file {member} of {n_bytes} bytes")
    return found


def _from_zip(archive: Path, wanted: Mapping[str, int]) -> dict[str, bytes]:
    found = {}
    with zipfile.ZipFile(archive) as opened:
        sizes = {info.filename: info.file_size for info in opened.infolist()}
        for member, n_bytes in wanted.items():
            if sizes.get(member) != n_bytes:
                continue
            with opened.open(member) as file:
                content = file.read(n_bytes + 1)
            if len(content) == n_bytes:
                found[member] = content
    return found


def _from_tar(archive: Path, wanted: Mapping[str, int]) -> dict[str, bytes]:
    found = {}
    with _opened(archive) as raw:
        stream = io.BufferedReader(_Bounded(raw, _UNPACKED_LIMIT_BYTES))
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            for number, member in enumerate(opened):
                if number >= _MOST_MEMBERS:
                    raise OSError(f"more than {_MOST_MEMBERS} members")
                name = member.name.removeprefix("./")
                if member.isreg() and wanted.get(name) == member.size:
                    file = opened.extractfile(member)
                    found[name] = file.read() if file else b""
                if len(found) == len(wanted):
                    break
    return found


def _opened(archive: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(archive)) if archive.suffix == ".tgz" else archive.open("rb")
