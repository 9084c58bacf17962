"""Reading files that come from outside: bounded, and an unreadable one is a sentence."""

from pathlib import Path
from typing import Final

from fqtbench.errors import UsageError

LIMIT_BYTES: Final = 1 << 30  # a larger file is no dataset for a microcontroller


def read_bounded(path: Path, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Return the bytes of `path`; UsageError if it can't be read or is larger than the limit."""
    try:
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror or error}") from error
    if len(content) > limit_bytes:
        raise UsageError(f"{path}: larger than {limit_bytes} bytes, so it isn't read")
    return content
