"""The memory plan: where each buffer lies, so that buffers that don't live at the same time share bytes."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

ALIGNMENT_BYTES: Final = 4  # the Cortex-M0+ faults on unaligned words
_TRIES: Final = 80  # orders tried beyond the plain ones; each takes some milliseconds
_SEED: Final = 1

Kind = Literal["activation", "error", "weights", "gradient", "state"]


@dataclass(frozen=True)
class Buffer:
    """Something that needs `n_bytes` of memory from moment `first` to moment `last`, both included.

    Moments number the passes of a training step: forward of layer i is i, its backward 2·n_layers − 1 − i, the update
    2·n_layers. `anywhere`: any region will do, not only the first, which DMA reaches.
    """

    name: str
    n_bytes: int
    first: int
    last: int
    kind: Kind = "state"
    anywhere: bool = True

    @property
    def aligned_bytes(self) -> int:
        """Size rounded up to the alignment."""
        return -self.n_bytes % ALIGNMENT_BYTES + self.n_bytes

    def overlaps(self, other: "Buffer") -> bool:
        """Whether both are alive at some moment."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Placement:
    """A buffer, its region, and its offset there."""

    buffer: Buffer
    region: int
    offset: int

    @property
    def end(self) -> int:
        """First byte behind it."""
        return self.offset + self.buffer.aligned_bytes


@dataclass(frozen=True)
class MemoryPlan:
    """Placements, the bytes that they take of each region, and the bytes that no plan could do without.

    `region_bytes`: what each region offers; the last one may be overrun, which its peak then shows.
    """

    placements: tuple[Placement, ...]
    region_bytes: tuple[int, ...]
    lower_bound_bytes: int

    @property
    def region_peaks(self) -> tuple[int, ...]:
        """Bytes taken of each region."""
        ends = [
            [p.end for p in self.placements if p.region == region] for region in range(len(self.region_bytes))
        ]
        return tuple(max(found, default=0) for found in ends)

    @property
    def peak_bytes(self) -> int:
        """Bytes taken in all regions."""
        return sum(self.region_peaks)

    @property
    def missing_bytes(self) -> int:
        """Bytes by which a region is overrun; 0 if the plan fits."""
        pairs = zip(self.region_peaks, self.region_bytes, strict=True)
        return sum(max(peak - offered, 0) for peak, offered in pairs)

    def by_kind(self) -> dict[Kind, int]:
        """Return the bytes of each kind that are alive at the fullest moment; together they are the lower bound."""
        buffers = [p.buffer for p in self.placements]
        fullest = max(
            sorted({b.first for b in buffers}),
            key=lambda moment: sum(b.aligned_bytes for b in buffers if b.first <= moment <= b.last),
        )
        alive = [b for b in buffers if b.first <= fullest <= b.last]
        return {kind: sum(b.aligned_bytes for b in alive if b.kind == kind) for kind in get_args(Kind)}

    def find(self, name: str) -> Placement:
        """Return where the buffer called `name` lies."""
        return next(p for p in self.placements if p.buffer.name == name)

    def table(self, layer_names: Sequence[str] = ()) -> str:
        """Return the plan as text, a line a buffer, by region and offset."""
        many = len(self.region_bytes) > 1
        lines = [f"{'buffer':<34}{'region':>7}{'offset':>9}{'bytes':>9}  alive" if many else
                 f"{'buffer':<34}{'offset':>9}{'bytes':>9}  alive"]  # fmt: skip
        for placed in sorted(self.placements, key=lambda p: (p.region, p.offset, p.buffer.first)):
            buffer = placed.buffer
            alive = f"{moment_name(buffer.first, layer_names)} – {moment_name(buffer.last, layer_names)}"
            region = f"{placed.region:>7}" if many else ""
            lines.append(f"{buffer.name:<34}{region}{placed.offset:>9}{buffer.n_bytes:>9}  {alive}")
        peaks = " + ".join(map(str, self.region_peaks))
        lines.append(f"peak {peaks} bytes, lower bound {self.lower_bound_bytes} bytes")
        return "\n".join(lines)


def moment_name(moment: int, layer_names: Sequence[str]) -> str:
    """Return what happens at a moment; its number, if the layers' names are not given."""
    n = len(layer_names)
    if not n:
        return str(moment)
    if moment == 2 * n:
        return "update"
    return f"forward {layer_names[moment]}" if moment < n else f"backward {layer_names[2 * n - 1 - moment]}"


def plan_memory(buffers: Sequence[Buffer], region_bytes: Sequence[int] = (2**32,)) -> MemoryPlan:
    """Place each buffer at the lowest offset free for its whole life, in the first region that has room for it.

    The order decides how well that goes: three plain ones are tried, then variations of the best, until the lower bound
    is reached or the tries are used up. The result depends on nothing but the arguments.
    """
    bound = lower_bound(buffers)
    orders: list[Callable[[Buffer], tuple[int, int, str]]] = [
        lambda b: (-b.aligned_bytes, b.first, b.name),
        lambda b: (-b.aligned_bytes * (b.last - b.first + 1), b.first, b.name),
        lambda b: (b.first - b.last, -b.aligned_bytes, b.name),
    ]
    plans = [_in_order(sorted(buffers, key=key), region_bytes, bound) for key in orders]
    best = min(plans, key=_cost)
    rng = random.Random(_SEED)
    for _ in range(_TRIES):
        if _cost(best) == (0, bound) or len(buffers) < 2:
            break
        order = [placed.buffer for placed in best.placements]
        moved = order.pop(rng.randrange(len(order)))
        order.insert(rng.randrange(len(order) + 1), moved)
        best = min(best, _in_order(order, region_bytes, bound), key=_cost)
    return best


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Return the largest number of bytes that are alive at one moment."""
    moments = {b.first for b in buffers}
    return max(
        (sum(b.aligned_bytes for b in buffers if b.first <= moment <= b.last) for moment in moments),
        default=0,
    )


def _cost(plan: MemoryPlan) -> tuple[int, int]:
    return plan.missing_bytes, plan.peak_bytes


def _in_order(buffers: Sequence[Buffer], region_bytes: Sequence[int], bound: int) -> MemoryPlan:
    """Place in that order; where there is a choice of regions, first what has none."""
    placed: list[Placement] = []
    for buffer in sorted(buffers, key=lambda b: b.anywhere) if len(region_bytes) > 1 else buffers:
        placed.append(_placed(buffer, placed, region_bytes))
    return MemoryPlan(tuple(placed), tuple(region_bytes), bound)


def _placed(buffer: Buffer, placed: Sequence[Placement], region_bytes: Sequence[int]) -> Placement:
    regions = range(len(region_bytes)) if buffer.anywhere else range(1)
    for region in regions:
        offset = _lowest_offset(buffer, [p for p in placed if p.region == region])
        if offset + buffer.aligned_bytes <= region_bytes[region]:
            break
    return Placement(buffer, region, offset)


def _lowest_offset(buffer: Buffer, placed: Sequence[Placement]) -> int:
    offset = 0
    for neighbour in sorted((p for p in placed if p.buffer.overlaps(buffer)), key=lambda p: p.offset):
        if offset + buffer.aligned_bytes <= neighbour.offset:
            break
        offset = max(offset, neighbour.end)
    return offset
