"""The journal of a results folder: a line in it is the commit of what it names.

A line is ``<CRC-32, 8 hex digits> <JSON>``. The first one names the suite, every other one a recorded run with the
SHA-256 of each of its files. A crash can tear the last line only; a damaged line before others is damage, not a crash.
"""

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fqtbench.errors import ResultError
from fqtbench.experiment.spec import canonical_json

FORMAT: Final = 1


@dataclass(frozen=True)
class Content:
    """The good lines of a journal, and the length in bytes that they take."""

    entries: tuple[dict[str, Any], ...]
    good_bytes: int
    torn: bool


EMPTY: Final = Content((), 0, False)


def encode(entry: dict[str, Any]) -> bytes:
    """Return `entry` as a line."""
    text = canonical_json(entry)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read(path: Path) -> Content:
    """Read a journal; ResultError if a line other than the last is damaged or it can't be read."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ResultError(f"journal {path}: can't be read: {error.strerror}") from error
    entries: list[dict[str, Any]] = []
    good_bytes = 0
    pieces = raw.split(b"\n")
    lines, rest = pieces[:-1], pieces[-1]
    for number, line in enumerate(lines, 1):
        entry = _decode(line)
        if entry is None:
            if number < len(lines) or rest:
                raise ResultError(
                    f"journal {path}: line {number} is damaged, and lines follow it; this is not the trace of a crash. "
                    "Restore the file, or start a new folder"
                )
            return Content(tuple(entries), good_bytes, True)
        entries.append(entry)
        good_bytes += len(line) + 1
    return Content(tuple(entries), good_bytes, bool(rest))


def append(path: Path, entry: dict[str, Any]) -> None:
    """Append a line and see it on the disk; raises OSError."""
    with path.open("ab") as file:
        file.write(encode(entry))
        file.flush()
        os.fsync(file.fileno())


def cut(path: Path, n_bytes: int) -> None:
    """Cut the journal to its good lines and see that on the disk; raises OSError."""
    with path.open("r+b") as file:
        file.truncate(n_bytes)
        os.fsync(file.fileno())


def _decode(line: bytes) -> dict[str, Any] | None:
    crc, _, text = line.partition(b" ")
    try:
        if int(crc, 16) != zlib.crc32(text):
            return None
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
