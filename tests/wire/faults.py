"""A line that damages what passes, in both directions, from a seed."""

import random
from dataclasses import dataclass

from fqtbench.wire import Line


@dataclass(frozen=True)
class Faults:
    """How often a fault happens."""

    corrupt_per_byte: float = 0.0
    drop_per_frame: float = 0.0
    repeat_per_frame: float = 0.0
    garbage_per_frame: float = 0.0
    garbage_bytes: int = 40


class FaultyLine:
    """Wraps a line. What the host writes in one call is one frame; the device's frames end with 0x00."""

    name = "faulty line"

    def __init__(self, line: Line, faults: Faults, seed: int) -> None:
        self._line = line
        self._faults = faults
        self._random = random.Random(seed)
        self._incoming = bytearray()
        self._damaged = bytearray()

    def write(self, data: bytes) -> None:
        """Pass `data` on, damaged."""
        self._line.write(self._damage(data))

    def read(self) -> bytes:
        """Return some of what has arrived, damaged, cut anywhere."""
        if not self._damaged:
            self._incoming += self._line.read()
            *frames, rest = self._incoming.split(b"\0")
            self._incoming = bytearray(rest)
            for frame in frames:
                self._damaged += self._damage(bytes(frame) + b"\0")
        n = self._random.randint(1, 80)
        piece = bytes(self._damaged[:n])
        del self._damaged[:n]
        return piece

    def _damage(self, frame: bytes) -> bytes:
        chance, faults = self._random.random, self._faults
        if chance() < faults.drop_per_frame:
            return b""
        if chance() < faults.repeat_per_frame:
            frame = frame + frame
        damaged = bytes(
            self._random.randrange(256) if chance() < faults.corrupt_per_byte else byte for byte in frame
        )
        if chance() < faults.garbage_per_frame:
            damaged += self._random.randbytes(faults.garbage_bytes)
        return damaged
