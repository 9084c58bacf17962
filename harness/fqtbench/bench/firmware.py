"""The prebuilt firmware of a board model, and what its ELF says about memory."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from fqtbench.board import BoardModel
from fqtbench.errors import ImageError
from fqtbench.host.build import build_library
from fqtbench.paths import share


@dataclass(frozen=True)
class Firmware:
    """What runs on a board, and its facts: an ELF, or the engine's library on this computer.

    `arena_bytes`: RAM from ``__arena_start`` to ``__arena_end``, what a model's memory plan may take. `static_bytes`:
    RAM in front of the arena: variables and the whole stack. `flash_bytes`: what the ELF programs.
    """

    path: Path
    sha256: str
    build_id: str
    arena_bytes: int
    static_bytes: int
    flash_bytes: int
    manifest: dict[str, Any]


def load_firmware(model: BoardModel) -> Firmware:
    """Return what runs on `model`: the prebuilt firmware, or the engine's library, built if need be.

    ImageError if the firmware is missing, no ELF, or not the one of the manifest; BoardError without a C compiler.
    """
    return _LOADERS[model.link](model)


def _load_library(model: BoardModel) -> Firmware:
    """Sources and flags are its identity: another compiler must give the same weights."""
    library = build_library()
    manifest = {"toolchain": library.compiler, "sha256_of": "the engine's sources and flags"}
    arena_bytes = model.memory.ram_bytes
    return Firmware(library.path, library.source_id, library.source_id[:16], arena_bytes, 0, 0, manifest)


def _load_prebuilt(model: BoardModel) -> Firmware:
    path = share("firmware/prebuilt") / f"{model.firmware}.elf"
    manifest = _manifest_entry(path.parent / "manifest.json", model.firmware)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"firmware {path}: can't be read: {error.strerror}; build it with `make firmware`"
        ) from error
    sha256 = hashlib.sha256(data).hexdigest()
    if manifest["sha256"] != sha256:
        raise ImageError(
            f"firmware {path}: its sha256 is not that of manifest.json; build both with `make firmware`"
        )
    try:
        symbols, flash_bytes = _read_elf(path)
        start, end = symbols["__arena_start"], symbols["__arena_end"]
    except (ELFError, KeyError) as error:
        raise ImageError(f"firmware {path}: not a firmware ELF of fqtbench: {error}") from error
    return Firmware(
        path,
        sha256,
        str(manifest["build_id"]),
        end - start,
        start - model.memory.ram_origin,
        flash_bytes,
        manifest,
    )


def _manifest_entry(path: Path, name: str) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ImageError(
            f"firmware manifest {path}: can't be read: {error}; build it with `make firmware`"
        ) from error
    chips = manifest.get("chips") if isinstance(manifest, dict) else None
    entry = chips.get(name) if isinstance(chips, dict) else None
    if not isinstance(entry, dict) or not {"sha256", "build_id"} <= entry.keys():
        raise ImageError(f"firmware manifest {path}: says nothing of {name}; build it with `make firmware`")
    return entry


def _read_elf(path: Path) -> tuple[dict[str, int], int]:
    with path.open("rb") as file:
        elf = ELFFile(file)
        flash_bytes = sum(int(s["p_filesz"]) for s in elf.iter_segments() if s["p_type"] == "PT_LOAD")
        tables = [s for s in elf.iter_sections() if isinstance(s, SymbolTableSection)]
        symbols = {s.name: int(s["st_value"]) for table in tables for s in table.iter_symbols()}
    return symbols, flash_bytes


_LOADERS: Final = {"uart": _load_prebuilt, "library": _load_library}
