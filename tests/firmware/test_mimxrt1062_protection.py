"""Promise: the i.MX RT1062's MPU opens what the firmware uses, as it uses it, and closes the rest.

The virtual chip has no MPU; what a real one would do is worked out here from the regions in the ELF (ARMv7-M ARM,
B3.5).
"""

import struct
from dataclasses import dataclass

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from fqtbench.paths import share

ELF = share("firmware/prebuilt") / "mimxrt1062.elf"
N_REGIONS = 16  # of the chip's MPU
READ_WRITE, READ_ONLY, NOTHING = 3, 6, 0  # RASR.AP, for privileged code
EXECUTABLE, WRITABLE, ALLOCATED = 4, 1, 2  # ELF section flags


@dataclass(frozen=True)
class Region:
    base: int
    attributes: int  # RASR without ENABLE

    @property
    def size(self) -> int:
        return 2 << (self.attributes >> 1 & 0x1F)

    @property
    def access(self) -> int:
        return self.attributes >> 24 & 7

    @property
    def executes(self) -> bool:
        return not self.attributes >> 28 & 1

    @property
    def kind(self) -> str:
        """TEX, C and B (B3.5.8, table B3-13)."""
        return {0b00000: "strongly ordered", 0b00001: "device", 0b00100: "normal", 0b00111: "cached"}[
            self.attributes >> 17 & 0b11100 | self.attributes >> 16 & 0b11
        ]


def regions() -> list[Region]:
    """Return firmware/chips/mimxrt1062/memory.c's table as it was linked."""
    with ELF.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        symbols, data = table.get_symbol_by_name("regions"), elf.get_section_by_name(".data")
        assert symbols is not None and data is not None
        symbol = symbols[0]
        at = symbol["st_value"] - data["sh_addr"]
        words = struct.iter_unpack("<2I", data.data()[at : at + symbol["st_size"]])
        return [Region(*pair) for pair in words]


def at(address: int) -> Region:
    """Return the region that holds at an address: the last of those that contain it."""
    return [r for r in regions() if r.base <= address < r.base + r.size][-1]


def sections() -> list[tuple[str, int, int, int]]:
    """Return name, address, size and flags of what lies in memory."""
    with ELF.open("rb") as file:
        found = [(s.name, s["sh_addr"], s["sh_size"], s["sh_flags"]) for s in ELFFile(file).iter_sections()]
    return [section for section in found if section[3] & ALLOCATED and section[2]]


def test_each_region_can_be() -> None:
    """At most as many as there are, each at a multiple of its size (B3.5.7)."""
    assert 0 < len(regions()) <= N_REGIONS
    assert all(r.base % r.size == 0 for r in regions())


@pytest.mark.parametrize("section", sections(), ids=lambda section: section[0])
def test_a_section_is_used_as_it_may_be(section: tuple[str, int, int, int]) -> None:
    _, address, size, flags = section
    for region in (at(address), at(address + size - 1)):
        if flags & EXECUTABLE:
            assert region.executes and region.access == READ_ONLY
        if address >> 28 == 2:  # DTCM
            assert region.access == READ_WRITE and not region.executes
        assert region.access != NOTHING


def test_memories_and_peripherals_are_of_their_kind() -> None:
    assert at(0x2003FFFF).kind == "normal"
    assert at(0x60000000).kind == at(0x607FFFFF).kind == "cached"
    for block in (0x40080000, 0x40184000, 0x401B8000, 0x400E9000):  # DCDC, LPUART1, GPIO1, eDMA
        assert (at(block).kind, at(block).access, at(block).executes) == ("device", READ_WRITE, False)


@pytest.mark.parametrize(
    "address", [0x00020000, 0x1FFFFFFC, 0x20040000, 0x60800000, 0x70000000, 0x80000000, 0xDFFFFFFC]
)
def test_where_nothing_is_nothing_can_be_read_ahead(address: int) -> None:
    """No TCM, no flash, no memory at all: an address that counts as normal memory might be fetched any time."""
    region = at(address)
    assert (region.kind, region.access, region.executes) == ("strongly ordered", NOTHING, False)
