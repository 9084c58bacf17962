"""The memory plan: where each buffer lies, so that buffers that don't live at the same time share bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ALIGNMENT_BYTES: Final = 4  # the Cortex-M0+ faults on unaligned words


@dataclass(frozen=True)
class Buffer:
    """Something that needs `n_bytes` of memory from moment `first` to moment `last`, both included.

    Moments number the passes of a training step: forward of layer i is i, its backward 2·n_layers − 1 − i, the update
    2·n_layers.
    """

    name: str
    n_bytes: int
    first: int
    last: int

    @property
    def aligned_bytes(self) -> int:
        """Size rounded up to the alignment."""
        return -self.n_bytes % ALIGNMENT_BYTES + self.n_bytes

    def overlaps(self, other: "Buffer") -> bool:
        """Whether both are alive at some moment."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Placement:
    """A buffer and its offset in region 0."""

    buffer: Buffer
    offset: int

    @property
    def end(self) -> int:
        """First byte behind it."""
        return self.offset + self.buffer.aligned_bytes


@dataclass(frozen=True)
class MemoryPlan:
    """Placements, the bytes they take, and the bytes that no plan could do without."""

    placements: tuple[Placement, ...]
    peak_bytes: int
    lower_bound_bytes: int

    def offset(self, name: str) -> int:
        """Return the offset of the buffer called `name`."""
        return next(p.offset for p in self.placements if p.buffer.name == name)

    def table(self) -> str:
        """Return the plan as text, a line a buffer, by offset."""
        lines = [f"{'buffer':<32}{'offset':>9}{'bytes':>9}  alive"]
        for placed in sorted(self.placements, key=lambda p: (p.offset, p.buffer.first)):
            buffer = placed.buffer
            alive = f"{buffer.first}–{buffer.last}"
            lines.append(f"{buffer.name:<32}{placed.offset:>9}{buffer.n_bytes:>9}  {alive}")
        lines.append(f"peak {self.peak_bytes} bytes, lower bound {self.lower_bound_bytes} bytes")
        return "\n".join(lines)


def plan_memory(buffers: Sequence[Buffer]) -> MemoryPlan:
    """Place the largest buffers first, each at the lowest offset free for its whole life."""
    placed: list[Placement] = []
    for buffer in sorted(buffers, key=lambda b: (-b.aligned_bytes, b.first, b.name)):
        neighbours = sorted((p for p in placed if p.buffer.overlaps(buffer)), key=lambda p: p.offset)
        offset = 0
        for neighbour in neighbours:
            if offset + buffer.aligned_bytes <= neighbour.offset:
                break
            offset = max(offset, neighbour.end)
        placed.append(Placement(buffer, offset))
    moments = {b.first for b in buffers}
    alive = [sum(b.aligned_bytes for b in buffers if b.first <= moment <= b.last) for moment in moments]
    return MemoryPlan(tuple(placed), max((p.end for p in placed), default=0), max(alive, default=0))
