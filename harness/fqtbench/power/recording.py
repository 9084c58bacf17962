"""A trace that was recorded elsewhere or earlier, as every reader of a file format gives it."""

from collections.abc import Iterator
from dataclasses import dataclass

from fqtbench.power.instrument import Chunk


@dataclass(frozen=True)
class Recording:
    """A header and the samples, read as they are asked for.

    `name`: what messages call it, such as the file's path. `rate_hz`: samples a second. `volts`: the supply in V where
    the file says one for all; None where it says none or the chunks carry their own. `chunks`: in order and without
    gaps from sample 0, to be iterated once; UsageError from it or from its reader if the file can't be understood.
    """

    name: str
    rate_hz: float
    volts: float | None
    chunks: Iterator[Chunk]
