"""Texts that devices wrote, fit to be shown."""


def printable(text: str) -> str:
    """Leave out what could harm a terminal."""
    return "".join(c for c in text if c.isprintable())
