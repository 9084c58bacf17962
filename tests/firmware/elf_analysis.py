"""What a firmware ELF says about its functions: how large they are, how much stack they take, whom they call."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

import capstone
from elftools.elf.elffile import ELFFile

_BRANCHES: Final = ("b", "cb")  # b, bl, blx, bne.w, ...; cbz, cbnz
_DECODER: Final = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_EXECUTABLE: Final = 4  # SHF_EXECINSTR
_PUSHES: Final = re.compile(r"(?:push|stmdb(?:\.w)?|vpush|vstmdb)(?:\.\w+)?$")


_VENEER: Final = re.compile(r"__(\w+)_veneer")


@dataclass
class Function:
    """A function; sizes in bytes. `frame_bytes` is an upper bound: every push and every lowering of SP once.

    `code`: its ranges of instructions, address and bytes.
    """

    name: str
    start: int
    size: int
    frame_bytes: int = 0
    calls: set[int] = field(default_factory=set)
    indirect: bool = False
    code: list[tuple[int, bytes]] = field(default_factory=list)


def bytes_of_sources(elf: Path, sources: set[str], prefix: str) -> dict[str, int]:
    """Return the size of every function and constant in `elf` that a file in `sources` defines.

    A symbol that no other file sees follows its file's name in the symbol table; the others are told by `prefix`.
    """
    found: dict[str, int] = {}
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert table is not None
        source = ""
        for symbol in table.iter_symbols():
            kind, bind = symbol["st_info"]["type"], symbol["st_info"]["bind"]
            if kind == "STT_FILE":
                source = symbol.name
            own = source in sources if bind == "STB_LOCAL" else symbol.name.startswith(prefix)
            if own and kind in ("STT_FUNC", "STT_OBJECT"):
                found[f"{source}:{symbol.name}" if bind == "STB_LOCAL" else symbol.name] = symbol["st_size"]
    return found


@lru_cache(maxsize=4)
def functions(elf: Path) -> dict[int, Function]:
    """Return the functions of `elf` by address, disassembled."""
    with elf.open("rb") as file:
        image = ELFFile(file)
        table = image.get_section_by_name(".symtab")
        assert table is not None
        symbols = list(table.iter_symbols())
        text = [
            s for s in image.iter_sections() if s["sh_flags"] & _EXECUTABLE and s["sh_type"] == "SHT_PROGBITS"
        ]
        starts = {s["st_value"] & ~1: s for s in symbols if s["st_info"]["type"] == "STT_FUNC"}
        ordered = sorted(starts)
        marks = sorted((s["st_value"], s.name) for s in symbols if s.name in ("$t", "$d"))
        found = {}
        for start, behind in zip(
            ordered, [*ordered[1:], ordered[-1] + starts[ordered[-1]]["st_size"]], strict=True
        ):
            size = starts[start]["st_size"] or behind - start  # libgcc's own assembly states none
            section = next(s for s in text if s["sh_addr"] <= start < s["sh_addr"] + s["sh_size"])
            code = section.data()[start - section["sh_addr"] :][:size]
            found[start] = Function(starts[start].name, start, size)
            for first, end in _code_of(marks, start, start + size):
                found[start].code.append((first, code[first - start : end - start]))
                _disassemble(found[start], *found[start].code[-1])
    return found


def _code_of(marks: list[tuple[int, str]], start: int, end: int) -> list[tuple[int, int]]:
    """Return the ranges of [start, end) that hold instructions: mapping symbols say where data lies between them."""
    inside = [mark for mark in marks if start < mark[0] < end]
    kind = next((name for at, name in reversed(marks) if at <= start), "$t")
    bounds = [(start, kind), *inside, (end, "")]
    return [(at, bounds[i + 1][0]) for i, (at, name) in enumerate(bounds[:-1]) if name == "$t"]


def _disassemble(function: Function, start: int, code: bytes) -> None:
    end = start
    popped: set[str] = set()
    for instruction in _DECODER.disasm(code, start):
        end = instruction.address + instruction.size
        name, operands = instruction.mnemonic, instruction.op_str
        function.frame_bytes += _lowering(name, operands)
        if name.startswith(_BRANCHES) and "#" in operands and not name.startswith(("bic", "bf", "bkpt")):
            target = int(operands.rpartition("#")[2], 16)
            if not function.start <= target < function.start + function.size:
                function.calls.add(target)
        elif name in ("blx", "bx") and operands not in {"lr", *popped}:
            function.indirect = True
        if name == "pop":  # Armv6-M returns by POP {r3}; BX r3 where it can't by POP {pc}
            popped = set(operands.strip("{}").split(", "))
    assert end == start + len(code), f"{function.name}: 0x{end:x} is no instruction"


def _lowering(name: str, operands: str) -> int:
    """Return by how many bytes an instruction lowers SP."""
    if _PUSHES.match(name):
        if not (name.startswith(("push", "vpush")) or operands.startswith("sp!")):
            return 0
        listed = operands[operands.index("{") + 1 : operands.index("}")].split(", ")
        return sum(_register_bytes(entry) for entry in listed)
    if name.startswith("sub") and operands.startswith(("sp, #", "sp, sp, #")):
        return int(operands.rpartition("#")[2], 0)
    if name.startswith("str") and operands.endswith("]!") and "[sp, #-" in operands:
        return int(operands.rpartition("#-")[2].rstrip("]!"), 0)
    return 0


def _register_bytes(entry: str) -> int:
    return 8 if entry.startswith("d") else 4


def deepest(elf: Path, root: str) -> tuple[int, list[str]]:
    """Return the most stack that a call of `root` may take, in bytes, and the calls that take it.

    Recursion, an indirect call and a call of something that is no function fail. A jump into a function, as libgcc's
    own divisions have, counts as a call of all of it.
    """
    known = functions(elf)
    by_name = {function.name: function for function in known.values()}

    for veneer in (function for function in known.values() if _VENEER.fullmatch(function.name)):
        target = _VENEER.sub(r"\1", veneer.name)  # the linker's long jump to it
        veneer.indirect, veneer.calls = False, {_address(elf, target)}

    def walk(function: Function, above: tuple[str, ...]) -> tuple[int, list[str]]:
        assert function.name not in above, f"{function.name} calls itself by way of {above}"
        assert not function.indirect, f"{function.name} calls through a pointer"
        best: tuple[int, list[str]] = (0, [])
        for target in function.calls:
            called = known.get(target) or _around(known, target)
            assert called, f"{function.name} jumps to 0x{target:x}, where no function is"
            best = max(best, walk(called, (*above, function.name)))
        return best[0] + function.frame_bytes, [f"{function.name} {function.frame_bytes}", *best[1]]

    return walk(by_name[root], ())


def _around(known: dict[int, Function], address: int) -> Function | None:
    return next((f for f in known.values() if f.start < address < f.start + f.size), None)


def _address(elf: Path, name: str) -> int:
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        (symbol,) = table.get_symbol_by_name(name)
        return int(symbol["st_value"]) & ~1


def instructions(elf: Path) -> list[capstone.CsInsn]:
    """Return every instruction of every function."""
    ranges = [part for function in functions(elf).values() for part in function.code]
    return [instruction for start, code in ranges for instruction in _DECODER.disasm(code, start)]
