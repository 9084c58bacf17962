"""Traces of any known format, by what a file begins with, else by its name."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

from fqtbench.errors import UsageError
from fqtbench.power.recording import Recording
from fqtbench.schema import nearest

_HEAD_BYTES: Final = 4096
_READERS: Final = {
    ".parquet": ("trace", "load"),
    ".ppk2": ("import_ppk2", "read_ppk2"),
    ".jls": ("import_jls", "read_jls"),
    ".csv": ("import_csv", "read_csv"),
}
"""Modules of this package and their functions (path) -> Recording, loaded only for a file of theirs."""
_PPK2_CSV: Final = ("import_ppk2_csv", "read_ppk2_csv")
_MAGIC: Final = {b"PAR1": ".parquet", b"PK\x03\x04": ".ppk2", b"jlsfmt": ".jls"}
_PPK2_HEADER: Final = ("timestamp(ms)", "current(ua)")


def load(path: Path) -> Recording:
    """Open the trace at `path`; its samples are read as they are asked for.

    Raises UsageError, also from the chunks, if the file is missing, of no known format, or damaged.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise UsageError(f"trace {path}: can't be read: {error.strerror or error}") from error
    module, function = _reader(path, head)
    reader: Callable[[Path], Recording] = getattr(import_module(f"fqtbench.power.{module}"), function)
    return reader(path)


def _reader(path: Path, head: bytes) -> tuple[str, str]:
    suffix = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), path.suffix.lower())
    if suffix == ".csv" and _is_ppk2_csv(head):
        return _PPK2_CSV
    if suffix not in _READERS:
        raise UsageError(
            f"trace {path}: unknown format {path.suffix or '(no suffix)'}{nearest(path.suffix, _READERS)}; "
            f"known are {', '.join(sorted(_READERS))}"
        )
    return _READERS[suffix]


def _is_ppk2_csv(head: bytes) -> bool:
    """Whether the first line is that of the PPK2's own program."""
    first = head.split(b"\n", 1)[0].decode("utf-8", "replace").lower().replace(" ", "")
    return all(column in first for column in _PPK2_HEADER)
