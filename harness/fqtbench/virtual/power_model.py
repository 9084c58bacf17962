"""What current a virtual board draws: its supply's two figures, and how far a block's instructions are above the mean.

A board's `active_ma` and `idle_ma` are figures of manuals, or estimates, as its file in boards/ says; they hold at its
final clock, at which all of a virtual board's time is counted. **No manual states what a kind of instruction draws.**
The weights below are assumptions of this model, made so that traces have a shape, and scaled so that the mean over a
training step is the supply's figure. Everything that comes of them is `modelled`.

Asleep (WFI), on the way into exceptions and back, and in functions of a boot ROM, the current is `idle_ma`.
"""

import hashlib
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

import capstone

_NA_PER_MA: Final = 1_000_000


class Class(Enum):
    """Kinds of instructions that the model tells apart."""

    MEMORY = "memory access"
    MULTIPLICATION = "multiplication or division"
    BRANCH = "branch"
    OTHER = "other"


WEIGHTS: Final = {Class.MEMORY: 1.20, Class.MULTIPLICATION: 1.15, Class.BRANCH: 0.85, Class.OTHER: 0.90}
"""Assumed: current relative to that of a mean instruction, before scaling. No source; see above."""

MEAN_WEIGHTS: Final = {"cortex-m0plus": 1.00, "cortex-m4": 1.05, "cortex-m7": 1.05}
"""By core, of the cycles of a training step's phases: what the weights are scaled by. tests/virtual/test_sampler.py
holds them to that."""

_MEMORY: Final = ("ldr", "str", "ldm", "stm", "push", "pop", "vldr", "vstr", "vldm", "vstm", "vpush", "vpop")
_MULTIPLICATION: Final = (
    *("mul", "mla", "mls", "smul", "smla", "smls", "smmul", "smmla", "smuad", "smusd", "smlad", "umul"),
    *(
        "umla",
        "umaal",
        "sdiv",
        "udiv",
        "vmul",
        "vmla",
        "vmls",
        "vnmul",
        "vnmla",
        "vnmls",
        "vfm",
        "vfnm",
        "vdiv",
    ),
    "vsqrt",
)
_BRANCH: Final = ("bl", "bx", "blx", "cbz", "cbnz", "tbb", "tbh")
_CONDITIONS: Final = ("", "eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")
_BRANCHES: Final = frozenset((*_BRANCH, *(f"b{c}" for c in _CONDITIONS), *(f"bx{c}" for c in _CONDITIONS)))

_decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_WIDE_PREFIX: Final = 0xE800  # first halfword of a 32-bit instruction (ARMv7-M ARM A5.1)


def classify(mnemonic: str) -> Class:
    """Return the kind of an instruction by Capstone's name for it."""
    name = mnemonic.partition(".")[0]
    if name in _BRANCHES:
        return Class.BRANCH
    if name.startswith(_MEMORY):
        return Class.MEMORY
    return Class.MULTIPLICATION if name.startswith(_MULTIPLICATION) else Class.OTHER


@lru_cache(maxsize=1 << 16)
def weight(code: bytes) -> float:
    """Return the mean weight of the instructions of a block, unscaled."""
    total, instructions, position = 0.0, 0, 0
    while position < len(code):
        for _, size, mnemonic, _ in _decoder.disasm_lite(code[position:], position):
            total += WEIGHTS[classify(mnemonic)]
            instructions += 1
            position += size
        if position < len(code):  # an encoding that Capstone does not know
            halfword = int.from_bytes(code[position : position + 2], "little")
            position += 4 if halfword >= _WIDE_PREFIX else 2
            total += WEIGHTS[Class.OTHER]
            instructions += 1
    return total / instructions


@dataclass(frozen=True)
class PowerModel:
    """The currents of a board, each a whole number of nA. `source`: where the two figures of its supply come from.

    `core`: one of `MEAN_WEIGHTS`.
    """

    active_ma: float
    idle_ma: float
    source: str
    core: str

    @property
    def name(self) -> str:
        """Name of the model with a hash of its constants."""
        return self.model_id.partition(":")[0]

    @property
    def model_id(self) -> str:
        """Its name, its constants, and where those that have a source come from."""
        weights = ", ".join(f"{kind.value} {value}" for kind, value in WEIGHTS.items())
        constants = f"{self.active_ma} mA active, {self.idle_ma} mA idle"
        scale = MEAN_WEIGHTS[self.core]
        digest = hashlib.sha256(f"{constants}; {weights}; {scale}".encode()).hexdigest()[:8]
        return f"instruction-mix/{digest}: {constants}; {self.source}; weights assumed: {weights}"

    @property
    def active_na(self) -> int:
        """Of a mean instruction."""
        return round(self.active_ma * _NA_PER_MA)

    @property
    def idle_na(self) -> int:
        """Outside blocks."""
        return round(self.idle_ma * _NA_PER_MA)

    def block_na(self, code: bytes) -> int:
        """Return what is drawn while the block `code` runs."""
        return round(self.active_na * weight(code) / MEAN_WEIGHTS[self.core])
