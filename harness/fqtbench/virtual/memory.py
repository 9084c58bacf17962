"""The memories of a virtual chip that code may run from, and where each of their halfwords stands in a table."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

PAGE_BITS: Final = 16
_PAGE_HALFWORDS: Final = 1 << PAGE_BITS - 1


class Kind(Enum):
    """How a memory is written: not at all, by a flash controller, or by a store."""

    ROM = auto()
    FLASH = auto()
    RAM = auto()


@dataclass(frozen=True)
class Region:
    """One memory: `size` bytes from `base` on."""

    base: int
    size: int
    kind: Kind

    def holds(self, address: int, size: int = 1) -> bool:
        """Whether all `size` bytes from `address` on lie within."""
        return self.base <= address and address + size <= self.base + self.size


@dataclass(frozen=True)
class CodeMemory:
    """All memories that code runs from. The core finds its vector table at `vectors` after a reset.

    `ram_code_changes`: programs store code where other code has run since the last reset. Noticing that makes every
    store slow as soon as code runs from RAM.
    """

    regions: tuple[Region, ...]
    vectors: int = 0
    ram_code_changes: bool = True

    def find(self, address: int, size: int = 1) -> Region | None:
        """Return the memory that holds these bytes."""
        return next((region for region in self.regions if region.holds(address, size)), None)

    def of(self, kind: Kind) -> tuple[Region, ...]:
        """Return the memories of one kind."""
        return tuple(region for region in self.regions if region.kind is kind)

    def is_kind(self, kind: Kind, address: int, size: int = 1) -> bool:
        """Whether these bytes lie in one memory of that kind."""
        region = self.find(address, size)
        return region is not None and region.kind is kind

    def outside(self, kind: Kind) -> list[tuple[int, int]]:
        """Return the ranges, first and last address, of all that is not memory of one kind."""
        bounds = sorted((region.base, region.base + region.size) for region in self.of(kind))
        begins = [0, *(end for _, end in bounds)]
        ends = [*(base for base, _ in bounds), 1 << 32]
        return [(begin, end - 1) for begin, end in zip(begins, ends, strict=True) if begin < end]

    def pages(self) -> dict[int, int]:
        """Return the row of the first halfword of each page (address >> PAGE_BITS); page rows follow each other.

        The first page's worth of rows is nobody's.
        """
        last = [(r.base, r.base + r.size - 1) for r in self.regions]
        used = sorted({page for a, b in last for page in range(a >> PAGE_BITS, (b >> PAGE_BITS) + 1)})
        return {page: _PAGE_HALFWORDS * n for n, page in enumerate(used, 1)}

    def n_rows(self) -> int:
        """Return how many rows a table of all halfwords has."""
        return _PAGE_HALFWORDS * (len(self.pages()) + 1)
