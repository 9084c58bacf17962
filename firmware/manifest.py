"""Build id and manifest of the prebuilt firmware; called by firmware/Makefile.

The build id is the first 8 bytes of the SHA-256 over compiler version, flags and sources, in that order. It lies in
the ELF, the board tells it in its HELLO, and the manifest lists it: so a board can be asked which firmware it runs.
"""

import argparse
import hashlib
import json
import re
import struct
import subprocess
from pathlib import Path
from typing import Any, Final

_HERE: Final = Path(__file__).resolve().parent
_SECTION_HEADER: Final = struct.Struct("<10I")
_NOBITS: Final = 8  # SHT_NOBITS: takes memory, but no place in the file
_ALLOCATED: Final = 2  # SHF_ALLOC


def compiler_version(cc: str) -> str:
    """Return the first line of ``cc --version``."""
    done = subprocess.run([cc, "--version"], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()[0]


def build_id(cc: str, flags: str, sources: list[Path]) -> bytes:
    """Return the 8-byte build id; `sources` are hashed in the given order, under their names as given."""
    digest = hashlib.sha256(f"{compiler_version(cc)}\0{flags}\0".encode())
    for source in sources:
        content = source.read_bytes()
        digest.update(f"{source.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.digest()[:8]


def build_id_source(identity: bytes) -> str:
    """Return the C source that puts the build id into its own section."""
    values = ", ".join(f"0x{byte:02X}" for byte in identity)
    return (
        "#include <stdint.h>\n"
        "extern const uint8_t build_id[8];\n"
        f'__attribute__((section(".build_id"), used)) const uint8_t build_id[8] = {{{values}}};\n'
    )


def sections(elf: bytes) -> dict[str, tuple[int, int, int, int]]:
    """Return name -> (address, offset in the file, bytes, type) of an ELF32 file's allocated sections."""
    if elf[:6] != b"\x7fELF\x01\x01":
        raise SystemExit("manifest: not a little-endian ELF32 file")
    (table,) = struct.unpack_from("<I", elf, 32)
    entry_bytes, count, names_index = struct.unpack_from("<3H", elf, 46)
    headers = [_SECTION_HEADER.unpack_from(elf, table + i * entry_bytes) for i in range(count)]
    names = headers[names_index][4]
    found = {}
    for name_at, kind, flags, address, offset, size, *_ in headers:
        start = names + name_at
        if flags & _ALLOCATED:
            found[elf[start : elf.index(b"\0", start)].decode()] = (address, offset, size, kind)
    return found


def number_in(header: str, name: str) -> int:
    """Return the value of ``#define name`` in a header of the firmware."""
    match = re.search(
        rf"^#define {name} (\w+?)u?\b", (_HERE / header).read_text(encoding="utf-8"), re.MULTILINE
    )
    if match is None:
        raise SystemExit(f"manifest: {header} doesn't define {name}")
    return int(match[1], 0)


def entry(elf_path: Path, cc: str, flags: str) -> dict[str, Any]:
    """Return the manifest's entry of one ELF; sizes in bytes."""
    elf = elf_path.read_bytes()
    found = sections(elf)
    _, id_offset, id_bytes, _ = found[".build_id"]
    ram = {name: size for name, (_, _, size, kind) in found.items() if kind == _NOBITS or name == ".data"}
    flash = sum(size for _, _, size, kind in found.values() if kind != _NOBITS)
    return {
        "file": elf_path.name,
        "sha256": hashlib.sha256(elf).hexdigest(),
        "build_id": elf[id_offset : id_offset + id_bytes].hex(),
        "toolchain": compiler_version(cc),
        "flags": flags.split(),
        "protocol": number_in("wire/protocol.h", "WIRE_VERSION"),
        "arith_id": number_in("engine/fqt.h", "FQT_ARITH_ID"),
        "flash_bytes": flash,
        "static_ram_bytes": sum(size for name, size in ram.items() if name != ".stack"),
        "stack_bytes": ram[".stack"],
        "section_bytes": {name: size for name, (_, _, size, _) in found.items()},
    }


def kernels_entry(elf_path: Path, cc: str, flags: str) -> dict[str, Any]:
    """Return the manifest's entry of a core's kernels, which no board runs; sizes in bytes."""
    elf = elf_path.read_bytes()
    return {
        "file": elf_path.name,
        "sha256": hashlib.sha256(elf).hexdigest(),
        "toolchain": compiler_version(cc),
        "flags": flags.split(),
        "arith_id": number_in("engine/fqt.h", "FQT_ARITH_ID"),
        "section_bytes": {name: size for name, (_, _, size, _) in sections(elf).items()},
    }


def write_manifest(part: str, name: str, listed: dict[str, Any], out: Path) -> None:
    """Replace the entry `name` of `part` ("chips" or "kernels") in the manifest at `out`; all others stay."""
    manifest: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    parts = {each: manifest.get(each, {}) for each in ("chips", "kernels")}
    parts[part][name] = listed
    manifest = {"format": 1, **{each: dict(sorted(entries.items())) for each, entries in parts.items()}}
    temporary = out.with_suffix(".tmp")
    temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    temporary.replace(out)


def main() -> None:
    """Parse the command line that the Makefile gives."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    identify = commands.add_parser("build-id", help="print the C source that holds the build id")
    describe = commands.add_parser("manifest", help="write the ELF's entry into the manifest")
    kernels = commands.add_parser("kernels", help="write the entry of a core's kernels into the manifest")
    for command in (identify, describe, kernels):
        command.add_argument("--cc", required=True)
        command.add_argument("--flags", required=True)
    identify.add_argument("sources", nargs="+", type=Path)
    describe.add_argument("--chip", required=True)
    kernels.add_argument("--core", required=True)
    for command in (describe, kernels):
        command.add_argument("--elf", required=True, type=Path)
        command.add_argument("--out", required=True, type=Path)
    given = parser.parse_args()
    if given.command == "build-id":
        print(build_id_source(build_id(given.cc, given.flags, given.sources)), end="")
    elif given.command == "manifest":
        write_manifest("chips", given.chip, entry(given.elf, given.cc, given.flags), given.out)
    else:
        listed = kernels_entry(given.elf, given.cc, given.flags)
        write_manifest("kernels", given.core, listed, given.out)


if __name__ == "__main__":
    main()
