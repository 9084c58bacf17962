"""The prebuilt kernels of a core, and the size of their functions."""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from fqtbench.errors import ImageError
from fqtbench.paths import share
from fqtbench.profile.symbols import read_map

_DRIVER: Final = "kernel_driver.c"
_ENTRY: Final = "run"


def kernels_elf(core: str) -> Path:
    """Return firmware/prebuilt/kernels-<core>.elf; ImageError if it is missing, or not the one of the manifest."""
    path = share("firmware/prebuilt") / f"kernels-{core}.elf"
    try:
        listed = json.loads((path.parent / "manifest.json").read_text("utf-8"))["kernels"][core]["sha256"]
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError) as error:
        raise ImageError(
            f"kernels {path}: can't be read: {error!r}; build them with `make firmware`"
        ) from error
    if found != listed:
        raise ImageError(
            f"kernels {path}: their sha256 is not that of manifest.json; build both with `make firmware`"
        )
    return path


class Sizes:
    """Functions of an ELF of kernels, the driver's left out."""

    def __init__(self, elf: Path) -> None:
        driver = _driver_functions(elf)
        self._functions = read_map(elf).functions
        self._begins = [f.begin for f in self._functions]
        self._bytes = [0 if f.name in driver else f.end - f.begin for f in self._functions]

    def of(self, blocks: Iterable[int]) -> int:
        """Return the bytes of all functions, whole, to which blocks at these addresses belong."""
        return sum(self._bytes[i] for i in {bisect_right(self._begins, address) - 1 for address in blocks})


def _driver_functions(elf: Path) -> set[str]:
    """Return the driver's functions: local symbols follow that of their file."""
    names, file_name = {_ENTRY}, ""
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        for symbol in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
            kind = symbol["st_info"]["type"]
            if kind == "STT_FILE":
                file_name = symbol.name
            elif kind == "STT_FUNC" and symbol["st_info"]["bind"] == "STB_LOCAL" and file_name == _DRIVER:
                names.add(symbol.name)
    return names
