"""What an ELF file asks to be programmed, and where."""

from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from elftools.elf.elffile import ELFFile

from fqtbench.errors import ImageError

_MAX_SEGMENTS: Final = 64
_MAX_BYTES: Final = 64 << 20  # more than any part that a linker script for a Cortex-M fills


class Segment(NamedTuple):
    """Bytes that belong at one physical address."""

    address: int
    data: bytes


def elf_segments(path: Path) -> list[Segment]:
    """Return the loadable segments of a Cortex-M program, by ascending physical address.

    The physical address is where the bytes are programmed: initial values of .data lie in flash, not in
    RAM. Raises `ImageError` for anything but a complete little-endian 32-bit ARM executable.
    """
    try:
        with path.open("rb") as stream:
            return _read_segments(path, stream)
    except OSError as error:
        raise ImageError(f"{path}: cannot read the firmware: {error.strerror}; check the path") from error


def _read_segments(path: Path, stream: BinaryIO) -> list[Segment]:
    try:
        elf = ELFFile(stream)
        header = elf.header
        machine, kind = header["e_machine"], header["e_type"]
        count = elf.num_segments()
        if count > _MAX_SEGMENTS:
            raise ImageError(f"{path}: {count} program headers: not the ELF of a microcontroller")
        loads = [
            (int(s["p_paddr"]), int(s["p_offset"]), int(s["p_filesz"]))
            for s in elf.iter_segments()
            if s["p_type"] == "PT_LOAD" and s["p_filesz"]
        ]
        little_32_bit = elf.elfclass == 32 and elf.little_endian
    except ImageError:
        raise
    except Exception as error:  # pyelftools raises whatever its parser trips over
        raise ImageError(f"{path}: not an ELF file, or a damaged one ({error}); build it again") from error
    if (machine, kind) != ("EM_ARM", "ET_EXEC") or not little_32_bit:
        raise ImageError(f"{path}: {machine}, {kind}: not a linked 32-bit ARM program")
    if not loads:
        raise ImageError(f"{path}: nothing in it is to be loaded; was it linked?")
    if sum(size for _, _, size in loads) > _MAX_BYTES:
        raise ImageError(f"{path}: its segments claim more than {_MAX_BYTES >> 20} MB; build it again")
    return _load(path, stream, sorted(loads))


def _load(path: Path, stream: BinaryIO, loads: list[tuple[int, int, int]]) -> list[Segment]:
    """Read the file parts named by `loads` = (address, offset, size), checking that all of it is there."""
    segments: list[Segment] = []
    for address, offset, size in loads:
        stream.seek(offset)
        data = stream.read(size)
        if len(data) != size:
            raise ImageError(f"{path}: ends within its segment at {address:#010x}; build it again")
        if address + size > 1 << 32:
            raise ImageError(f"{path}: its segment at {address:#010x} exceeds 32-bit addresses")
        segments.append(Segment(address, data))
    for before, after in pairwise(segments):
        if before.address + len(before.data) > after.address:
            raise ImageError(
                f"{path}: two segments overlap at {after.address:#010x}; check the linker script"
            )
    return segments
