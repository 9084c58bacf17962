"""The RP2040's boot ROM: tables and entry points, whose work is done here instead of by code (RP2040 Datasheet, 2.8).

Each entry point is a supervisor call and a return; `call` does what the real function does, and takes no time. There
are those that flash algorithms call, and the start: the second stage's checksum, its copy to RAM, and the jump there.
"""

import struct
import zlib
from typing import Final, Protocol

ROM_BYTES: Final = 0x4000
BOOT2_BYTES: Final = 256
STACK_TOP: Final = 0x20041F00  # the second stage lies above (pico-bootrom b2, bootrom.ld and bootrom_main.c)
_FUNCTION_TABLE: Final = 0x100
_DATA_TABLE: Final = 0x1F0
_CODE: Final = 0x200
_THUNK_BYTES: Final = 4
_SVC: Final = 0xDF00
_BX_LR: Final = 0x4770
_WFI: Final = 0xBF30
_BRANCH_BACK: Final = 0xE7FD  # to the instruction before
_VERSION: Final = 3  # of chip revision B2
_BOOT, _LOOKUP = 0, 1
# Codes of the function table (RP2040 Datasheet 2.8.3.1.3), in the order of their supervisor calls from 2 on.
_FUNCTIONS: Final = (b"IF", b"EX", b"RE", b"RP", b"FC", b"CX")
_ERASE: Final = 2 + _FUNCTIONS.index(b"RE")
_PROGRAM: Final = 2 + _FUNCTIONS.index(b"RP")
_SECTOR_BYTES: Final = 4096
_RESET_XPSR: Final = 1 << 24


class Board(Protocol):
    """What the ROM's functions work on."""

    def read_register(self, index: int) -> int:
        """Return a core register."""

    def write_register(self, index: int, value: int) -> None:
        """Write a core register."""

    def read_memory(self, address: int, size: int) -> bytes:
        """Return bytes."""

    def write_memory(self, address: int, data: bytes) -> None:
        """Write RAM."""

    def erase_flash(self, offset: int, size: int) -> None:
        """Erase flash from `offset` on."""

    def program_flash(self, offset: int, data: bytes) -> None:
        """Clear bits of flash from `offset` on."""


def checksum(code: bytes) -> int:
    """Return the CRC-32 of a second stage (RP2040 Datasheet 2.8.1.3.1): not reflected, not inverted (zlib: both)."""
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in code)
    return int(f"{zlib.crc32(mirrored) ^ 0xFFFFFFFF:032b}"[::-1], 2)


def content() -> bytes:
    """Return the ROM: vectors, magic, tables, entry points."""
    rom = bytearray(ROM_BYTES)
    boot, lookup = _CODE, _CODE + 8
    dead = boot + 2
    struct.pack_into("<4I", rom, 0, STACK_TOP, boot | 1, dead | 1, dead | 1)
    struct.pack_into("<2sBB3H", rom, 0x10, b"Mu", 1, _VERSION, _FUNCTION_TABLE, _DATA_TABLE, lookup | 1)
    struct.pack_into("<4H", rom, boot, _SVC | _BOOT, _WFI, _BRANCH_BACK, 0)
    struct.pack_into("<2H", rom, lookup, _SVC | _LOOKUP, _BX_LR)
    for n, code in enumerate(_FUNCTIONS):
        at = lookup + _THUNK_BYTES * (n + 1)
        struct.pack_into("<2H", rom, at, _SVC | n + 2, _BX_LR)
        struct.pack_into("<2sH", rom, _FUNCTION_TABLE + 4 * n, code, at | 1)
    return bytes(rom)


def call(board: Board, number: int) -> None:
    """Do what the entry point `number` does; r0 to r3 hold its arguments and take its result."""
    first, second, third = (board.read_register(n) for n in range(3))
    if number == _BOOT:
        _boot(board)
    elif number == _LOOKUP:
        board.write_register(0, _look_up(board, first, second))
    elif number == _ERASE:  # flash_range_erase(offset, count, block size, block command)
        board.erase_flash(first, -(-second // _SECTOR_BYTES) * _SECTOR_BYTES)
    elif number == _PROGRAM:  # flash_range_program(offset, data, count)
        board.program_flash(first, board.read_memory(second, third))


def _look_up(board: Board, table: int, code: int) -> int:
    """Return the entry of a table of pairs of halfwords that ends with a 0; 0 if it has none."""
    for at in range(table, ROM_BYTES - 4, 4):
        key, value = struct.unpack("<2H", board.read_memory(at, 4))
        if key == 0:
            return 0
        if key == code:
            return int(value)
    return 0


def _boot(board: Board) -> None:
    """Start the second stage if its checksum is right; else the core waits, as it does for a USB host."""
    stage = board.read_memory(0x10000000, BOOT2_BYTES)
    if checksum(stage[:-4]) != int.from_bytes(stage[-4:], "little"):
        return
    board.write_memory(STACK_TOP, stage)
    board.write_register(14, 0)
    board.write_register(15, STACK_TOP | 1)
