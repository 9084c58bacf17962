"""What a firmware ELF says of its functions, sections and symbols."""

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section, SymbolTableSection

from fqtbench.errors import ImageError

_FUNCTION: Final = "STT_FUNC"
_OBJECT: Final = "STT_OBJECT"
_UNDEFINED: Final = "SHN_UNDEF"
_NO_BITS: Final = "SHT_NOBITS"


@dataclass(frozen=True)
class Function:
    """The code [begin, end) of one function; of one without a size in the ELF, up to the next."""

    name: str
    begin: int
    end: int


@dataclass(frozen=True)
class Usage:
    """Bytes that a section or symbol takes of flash and of RAM; initialized variables take both."""

    name: str
    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class FirmwareMap:
    """Functions by address, code by address, and memory by section and by symbol, largest first."""

    functions: tuple[Function, ...]
    code: tuple[tuple[int, bytes], ...]
    sections: tuple[Usage, ...]
    symbols: tuple[Usage, ...]

    def function_at(self, address: int) -> Function | None:
        """Return the function that the instruction at `address` belongs to."""
        i = bisect_right(self.functions, address, key=lambda f: f.begin) - 1
        return self.functions[i] if i >= 0 and address < self.functions[i].end else None

    def code_at(self, address: int, size: int) -> bytes:
        """Return the code there; nothing where the ELF has none, as in RAM."""
        for begin, data in self.code:
            if begin <= address and address + size <= begin + len(data):
                return data[address - begin : address - begin + size]
        return b""


def read_map(path: Path) -> FirmwareMap:
    """Read the firmware at `path`; ImageError if it isn't a program with symbols."""
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            sections = [s for s in elf.iter_sections() if s["sh_flags"] & SH_FLAGS.SHF_ALLOC]
            table = elf.get_section_by_name(".symtab")
            if not isinstance(table, SymbolTableSection):
                raise ImageError(f"firmware {path}: it has no symbols; build it without --strip-all")
            code = [(s["sh_addr"], s.data()) for s in sections if s["sh_flags"] & SH_FLAGS.SHF_EXECINSTR]
            functions = _functions(table, [(begin, begin + len(data)) for begin, data in code])
            usages = [_usage(str(s.name), s, int(s["sh_size"])) for s in sections]
            symbols = _symbols(table, elf)
    except OSError as error:
        raise ImageError(f"firmware {path}: can't be read: {error.strerror}") from error
    except ELFError as error:
        raise ImageError(f"firmware {path}: not an ELF file: {error}") from error
    return FirmwareMap(functions, tuple(code), _largest_first(usages), _largest_first(symbols))


def _functions(table: SymbolTableSection, code: list[tuple[int, int]]) -> tuple[Function, ...]:
    """Return the functions, each address once; the end of one lies never behind the beginning of the next."""
    sizes: dict[int, tuple[str, int]] = {}
    for symbol in table.iter_symbols():
        begin = int(symbol["st_value"]) & ~1  # bit 0 says Thumb
        if symbol["st_info"]["type"] != _FUNCTION or symbol["st_shndx"] == _UNDEFINED:
            continue
        if any(first <= begin < end for first, end in code):
            sizes[begin] = max(sizes.get(begin, ("", -1)), (symbol.name, int(symbol["st_size"])), key=_size)
    begins = sorted(sizes)
    functions = []
    for begin, following in zip(begins, [*begins[1:], None], strict=True):
        name, size = sizes[begin]
        limit = next(end for first, end in code if first <= begin < end)
        if following is not None:
            limit = min(limit, following)
        functions.append(Function(name, begin, min(begin + size, limit) if size else limit))
    return tuple(functions)


def _size(named: tuple[str, int]) -> int:
    return named[1]


def _symbols(table: SymbolTableSection, elf: ELFFile) -> list[Usage]:
    usages = []
    for symbol in table.iter_symbols():
        index = symbol["st_shndx"]
        if symbol["st_info"]["type"] in (_FUNCTION, _OBJECT) and isinstance(index, int) and symbol["st_size"]:
            section = elf.get_section(index)
            if section["sh_flags"] & SH_FLAGS.SHF_ALLOC:
                usages.append(_usage(symbol.name, section, int(symbol["st_size"])))
    return usages


def _usage(name: str, section: Section, size: int) -> Usage:
    """What is writable lies in RAM; what has contents in the file lies in flash, wherever it is copied to."""
    stored = section["sh_type"] != _NO_BITS
    writable = bool(section["sh_flags"] & SH_FLAGS.SHF_WRITE)
    return Usage(name, size if stored else 0, size if writable or not stored else 0)


def _largest_first(usages: list[Usage]) -> tuple[Usage, ...]:
    used = [u for u in usages if u.flash_bytes or u.ram_bytes]
    return tuple(sorted(used, key=lambda u: (-max(u.flash_bytes, u.ram_bytes), u.name)))
