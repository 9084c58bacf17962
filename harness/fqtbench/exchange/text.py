"""Text from files of others, as it may go to a terminal."""

from typing import Final

_MAX_CHARACTERS: Final = 60


def printable(name: str | bytes) -> str:
    """Return a name without control characters, at most 60 characters; bytes are what protobuf gives for bad UTF-8."""
    name = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    text = "".join(c if c.isprintable() else "?" for c in name)
    return text if len(text) <= _MAX_CHARACTERS else f"…{text[1 - _MAX_CHARACTERS :]}"


def first_line(error: BaseException) -> str:
    """Return the beginning of a library's error message."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(lines[0][:_MAX_CHARACTERS])
