"""Rows of a core's cycle table: assembled, and their mnemonics."""

import subprocess
from pathlib import Path

from elftools.elf.elffile import ELFFile

from tests.tools import require

_CONDITIONS = ("eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")


def assembled(folder: Path, cpu: str, texts: list[str], fpu: str | None = None) -> list[bytes]:
    """Return the code of each text, all in one call of the assembler."""
    source, object_file = folder / "rows.s", folder / "rows.o"
    head = f".syntax unified\n.cpu {cpu}\n.thumb\n" + (f".fpu {fpu}\n" if fpu else "")
    sections = [f'.section .row{i},"ax"\n{text}\n' for i, text in enumerate(texts)]
    source.write_text(head + "".join(sections))
    assembler = require("arm-none-eabi-as", "gcc-arm-none-eabi")
    subprocess.run([assembler, "-o", object_file, source], check=True, timeout=30)
    with object_file.open("rb") as file:
        elf = ELFFile(file)
        found = [elf.get_section_by_name(f".row{i}") for i in range(len(sections))]
        return [bytes(section.data()) for section in found if section is not None]


def base_mnemonic(mnemonic: str, known: frozenset[str] = frozenset()) -> str:
    """Return a mnemonic without width, types and, where that makes it a known one, condition."""
    name: str = mnemonic.split(".", maxsplit=1)[0]
    if name.startswith("it") and set(name[2:]) <= {"t", "e"}:
        return "it"
    if name not in known and name[-2:] in _CONDITIONS and name[:-2] in known:
        return name[:-2]
    return name
