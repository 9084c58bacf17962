"""Write the checksum of the RP2040's second boot stage into a linked ELF, for firmware/Makefile.

    python firmware/chips/rp2040/boot2_checksum.py prebuilt/rp2040.elf

The boot ROM starts the first 256 bytes of flash only if their last four are the CRC-32 of the 252 before (RP2040
Datasheet, 2.8.1.3.1): polynomial 0x04C11DB7, initial value 0xFFFFFFFF, nothing reflected, nothing inverted.
"""

import sys
from pathlib import Path
from typing import Final

from elftools.elf.elffile import ELFFile

_POLYNOMIAL: Final = 0x04C11DB7
STAGE_BYTES: Final = 256


def checksum(code: bytes) -> int:
    """Return the CRC-32 that the boot ROM computes of `code`."""
    crc = 0xFFFFFFFF
    for byte in code:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (_POLYNOMIAL if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


def main(path: Path) -> None:
    """Replace the last four bytes of the ELF's section .boot2."""
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".boot2")
        if section is None or section["sh_size"] != STAGE_BYTES:
            raise SystemExit(f"boot2_checksum: {path} has no section .boot2 of {STAGE_BYTES} bytes")
        offset, code = section["sh_offset"], section.data()[:-4]
    elf = bytearray(path.read_bytes())
    elf[offset + len(code) : offset + STAGE_BYTES] = checksum(code).to_bytes(4, "little")
    path.write_bytes(elf)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
