"""Programming flash through pyOCD: read first, program what differs, read back and compare."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from pyocd.flash.loader import MemoryLoader

from fqtbench.errors import FlashError, ImageError
from fqtbench.probe.elf import Segment

_READ_BYTES: Final = 1 << 15  # per request; a longer one gains nothing and delays Ctrl-C


class _Sector(NamedTuple):
    """One erasable piece of flash and the parts of segments that belong into it, as (offset, data)."""

    address: int
    size: int
    parts: list[tuple[int, bytes]]


def program(
    session: Any, segments: Sequence[Segment], progress: Callable[[float], None] | None
) -> tuple[int, int]:
    """Make flash hold `segments`; return (bytes programmed, bytes found equal), counted in whole sectors.

    `session` is an open pyOCD session with a halted core. The errors are those of `Probe.flash`.
    """
    target = session.target
    _refuse_overlaps(segments)
    sectors = _sectors(target, segments)
    changed: list[Segment] = []
    for run in _runs([(s.address, s.size) for s in sectors]):
        changed += _differing(sectors, run.start, read(target, run.start, len(run)))
    total = sum(s.size for s in sectors)
    programmed = sum(len(c.data) for c in changed)
    if changed:
        # Peripherals of a halted chip go on; a DMA into RAM would ruin the flash algorithm placed there.
        target.reset_and_halt()
        _write(session, changed, progress)
        _verify(target, str(session.probe.unique_id), changed)
    if progress is not None:
        progress(1.0)
    return programmed, total - programmed


def read(target: Any, address: int, size: int) -> bytes:
    """Return `size` bytes from `address` on, by words where it is aligned."""
    data = bytearray()
    while len(data) < size:
        at, count = address + len(data), min(_READ_BYTES, size - len(data))
        if at % 4 == 0 and count >= 4:
            words = target.read_memory_block32(at, count // 4)
            data += b"".join(word.to_bytes(4, "little") for word in words)
        else:
            data += bytes(target.read_memory_block8(at, min(count, 4 - at % 4)))
    return bytes(data)


def _refuse_overlaps(segments: Sequence[Segment]) -> None:
    ordered = sorted(segments)
    for before, after in pairwise(ordered):
        if before.address + len(before.data) > after.address:
            raise ImageError(
                f"two segments overlap at {after.address:#010x}: firmware and image must lie apart; "
                "check the board model's image_origin"
            )


def _sectors(target: Any, segments: Sequence[Segment]) -> list[_Sector]:
    """Cut the segments along the chip's sectors, by ascending address."""
    sectors: dict[int, _Sector] = {}
    for segment in segments:
        address, rest = segment.address, segment.data
        while rest:
            region = target.memory_map.get_region_for_address(address)
            if region is None or not region.is_flash or region.flash is None:
                raise ImageError(
                    f"the segment at {segment.address:#010x} ({len(segment.data)} bytes) does not lie within "
                    f"the flash of this {target.part_number or 'chip'}: {address:#010x} is outside"
                )
            info = region.flash.get_sector_info(address)
            sector = sectors.setdefault(info.base_addr, _Sector(info.base_addr, info.size, []))
            offset = address - sector.address
            part, rest = rest[: sector.size - offset], rest[sector.size - offset :]
            sector.parts.append((offset, part))
            address += len(part)
    return [sectors[address] for address in sorted(sectors)]


def _runs(pieces: Sequence[tuple[int, int]]) -> Iterator[range]:
    """Join adjoining (address, size) pieces, given by ascending address."""
    start = end = 0
    for address, size in pieces:
        if address != end:
            if end > start:
                yield range(start, end)
            start = address
        end = address + size
    if end > start:
        yield range(start, end)


def _differing(sectors: Sequence[_Sector], start: int, found: bytes) -> Iterator[Segment]:
    """Give the new content of each sector within `found` (flash from `start` on) that must change."""
    for sector in sectors:
        offset = sector.address - start
        if not 0 <= offset < len(found):
            continue
        old = found[offset : offset + sector.size]
        new = bytearray(old)
        for at, part in sector.parts:
            new[at : at + len(part)] = part
        if new != old:
            yield Segment(sector.address, bytes(new))


def _write(session: Any, changed: Sequence[Segment], progress: Callable[[float], None] | None) -> None:
    loader = MemoryLoader(
        session,
        progress=_BothPhases(progress),
        chip_erase="sector",
        smart_flash=False,  # what is the same has been left out already
        keep_unwritten=False,  # sectors are complete
    )
    for segment in changed:
        loader.add_data(segment.address, segment.data)
    loader.commit()


class _BothPhases:
    """pyOCD counts from 0 to 1 while erasing and again while programming: make that one rising count."""

    def __init__(self, progress: Callable[[float], None] | None) -> None:
        self._progress = progress
        self._last = 0.0
        self._phase = 0
        self._reported = 0.0

    def __call__(self, fraction: float) -> None:
        if fraction < self._last:
            self._phase = 1
        self._last = fraction
        self._reported = max(self._reported, min((self._phase + fraction) / 2, 1.0))
        if self._progress is not None:
            self._progress(self._reported)


def _verify(target: Any, probe_id: str, written: Sequence[Segment]) -> None:
    """Read back what was written and compare hashes; raise `FlashError` naming the first wrong byte."""
    for run in _runs([(s.address, len(s.data)) for s in written]):
        found = read(target, run.start, len(run))
        wanted = b"".join(s.data for s in written if s.address in run)
        if hashlib.sha256(found).digest() != hashlib.sha256(wanted).digest():
            at = next(i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
            wrong = sum(a != b for a, b in zip(found, wanted, strict=True))
            raise FlashError(
                f"probe {probe_id}: verification failed: {wrong} of {len(wanted)} bytes differ, the first at "
                f"{run.start + at:#010x} ({found[at]:#04x} instead of {wanted[at]:#04x}); "
                "try again, then check supply and SWD wiring"
            )
