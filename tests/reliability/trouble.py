"""What goes wrong between a host and its board: a fault, when it strikes, and what it does to the bytes that pass."""

import random
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

_SEED: Final = 7


class Trouble(BaseModel):
    """One fault. Counts are of bytes towards the board, from where the relays begin; 0 leaves a fault out.

    `corrupt_one_in`, `repeat_one_in`: how many bytes on the serial line, either way, have one that is replaced, or sent
    twice; `repeat_piece_in`: how many pieces, as they are written, have one that is sent twice.

    The others strike once, make the file `struck`, and do not strike where it is. From `serial_from` bytes on, for
    `serial_s` seconds, the line loses all bytes (`cut`) or holds them back (`silence`). At `probe_lost_at` bytes the
    probe's connection breaks. At `dies_at_probe` or `dies_at_serial` bytes the board ends by `dies_by`; with
    `dies_in_frame` when only half of the bytes that came last have reached it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    corrupt_one_in: int = 0
    repeat_one_in: int = 0
    repeat_piece_in: int = 0
    serial_from: int = 0
    serial_s: float = 0
    serial_way: Literal["cut", "silence"] = "cut"
    probe_lost_at: int = 0
    dies_at_probe: int = 0
    dies_at_serial: int = 0
    dies_in_frame: bool = False
    dies_by: Literal["SIGKILL", "SIGTERM"] = "SIGKILL"
    struck: Path | None = None


class Channel:
    """The serial line's bytes of one direction, as the trouble leaves them."""

    def __init__(self, trouble: Trouble, seed: int) -> None:
        self._trouble, self._random = trouble, random.Random(_SEED + seed)
        self._held = bytearray()

    def passed(self, data: bytes, interrupted: bool) -> bytes:
        """Return what arrives now of `data` and of what was held back."""
        trouble = self._trouble
        if interrupted:
            if trouble.serial_way == "silence":
                self._held += data
            return b""
        arrived = bytearray(self._held)
        self._held.clear()
        for byte in data:
            damaged = self._one_in(trouble.corrupt_one_in)
            arrived.append(byte ^ self._random.randrange(1, 256) if damaged else byte)
            if self._one_in(trouble.repeat_one_in):
                arrived.append(arrived[-1])
        return bytes(arrived) * (2 if data and self._one_in(trouble.repeat_piece_in) else 1)

    def _one_in(self, n: int) -> bool:
        return n > 0 and self._random.randrange(n) == 0
