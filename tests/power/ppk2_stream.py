"""Streams of a PPK2's words for tests, and how a stream with a fault must be decoded."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.ppk2_samples import SampleDecoder
from fqtbench.power.ppk2_units import current_table_a

CONSTANTS: Final = np.array(
    [
        [1021.3, 100.9, 10.21, 0.951, 0.0492],
        [0.0, 95.1, 14.2, 1.93, 0.0655],
        [1.0, 0.981, 0.973, 0.966, 0.971],
        [108.2, 79.3, 61.8, 55.1, 83.6],
        [4.1e-8, 5.3e-7, 5.1e-6, 5.7e-5, 2.2e-3],
        [-1.1e-7, -1.3e-6, 2.9e-5, -3.1e-4, -7.7e-3],
        [1.0, 1.0, 1.001, 0.999, 1.0],
    ]
)
VOLTS: Final = 3.3
_TABLE: Final = current_table_a(CONSTANTS, VOLTS)


def words(
    codes: NDArray[np.int64], ranges: NDArray[np.int64], logic: NDArray[np.int64], first: int = 0
) -> NDArray[np.uint32]:
    """Return (n,) words with counters from `first` on."""
    counters = (np.arange(len(codes)) + first) % 64
    return (codes | ranges << 14 | counters << 18 | logic << 24).astype("<u4")


def random_words(n: int, seed: int) -> NDArray[np.uint32]:
    """Return words that have nothing in common but their counters."""
    rng = np.random.default_rng(seed)
    return words(
        rng.integers(0, 1 << 14, n),
        rng.integers(0, 5, n),
        rng.integers(0, 256, n),
        int(rng.integers(64)),
    )


@dataclass(frozen=True)
class Decoded:
    """The samples of a whole stream: (n,) each."""

    current_a: NDArray[np.float32]
    digital: NDArray[np.uint8]
    flags: NDArray[np.uint8]

    @property
    def lost(self) -> NDArray[np.bool_]:
        return (self.flags & Flag.LOST) != 0


def decode(data: bytes, cuts: list[int] | None = None) -> Decoded:
    """Decode a stream, handed over in the pieces between `cuts`."""
    decoder = SampleDecoder(_TABLE)
    edges = [0, *(cuts or []), len(data)]
    chunks = [decoder.push(data[a:b]) for a, b in pairwise(edges)]
    return joined([*chunks, decoder.finish()])


def joined(chunks: list[Chunk]) -> Decoded:
    """Put chunks together that must be in a row."""
    first = 0
    for chunk in chunks:
        assert chunk.first == first
        assert (np.isnan(chunk.current_a) == ((chunk.flags & Flag.LOST) != 0)).all()
        first += len(chunk)
    return Decoded(
        np.concatenate([np.zeros(0, np.float32), *(c.current_a for c in chunks)]),
        np.concatenate([np.zeros(0, np.uint8), *(c.digital for c in chunks)]),
        np.concatenate([np.zeros(0, np.uint8), *(c.flags for c in chunks)]),
    )
