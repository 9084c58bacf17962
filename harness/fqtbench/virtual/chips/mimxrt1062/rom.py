"""The i.MX RT1062's boot ROM: API tree and entry points, whose work is done here instead of by code.

Sources: "RM" is the i.MX RT1060 Processor Reference Manual, chapter System Boot; the tree and the order of its
functions are those of NXP's SDK (devices/MIMXRT1062/drivers/fsl_romapi.c, `flexspi_nor_driver_interface_t`).
Each entry point is a supervisor call and a return; `call` does what the real function does, and takes no time.
"""

import struct
from typing import Final, Protocol

ROM_BASE: Final = 0x00200000
ROM_BYTES: Final = 128 << 10
FLASH_BASE: Final = 0x60000000
STACK_TOP: Final = 0x20208000  # the ROM's data and stack are the first 32 KB of OCRAM (RM, System Boot)
CONFIGURATION: Final = 0x42464346  # "FCFB", tag of the flash configuration block
CONFIGURATION_BYTES: Final = 512
VECTOR_TABLE: Final = 0x1000  # where the image vector table lies in flash
_TREE_POINTER: Final = 0x1C
_TREE: Final = 0x100
_DRIVER: Final = 0x140
_CODE: Final = 0x200
_THUNK_BYTES: Final = 4
_SVC: Final = 0xDF00
_BX_LR: Final = 0x4770
_WFI: Final = 0xBF30
_BRANCH_BACK: Final = 0xE7FD  # to the instruction before
_BOOT: Final = 0
# In the order of their supervisor calls from 1 on, each as many words behind the driver's version.
_FUNCTIONS: Final = (
    "init",
    "page_program",
    "erase_all",
    "erase",
    "read",
    "clear_cache",
    "xfer",
    "update_lut",
    "get_config",
)
_SUCCESS: Final = 0
_FAIL: Final = 1
_INVALID_ARGUMENT: Final = 4
_OPTION_TAG: Final = 0xC  # upper four bits of get_config's option
_TABLE_TAG: Final = 0x2000D1  # tag 0xD1, length 32 (big-endian); the version is the upper byte
_TABLE_VERSIONS: Final = range(0x40, 0x44)
_PAGE_BYTES: Final = 256
_SECTOR_BYTES: Final = 4096
_BLOCK_BYTES: Final = 65536
_SP, _LR, _PC, _MSP = 13, 14, 15, 17
_VTOR: Final = 0xE000ED08


class Board(Protocol):
    """What the ROM's functions work on."""

    flash_bytes: int

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


def content() -> bytes:
    """Return the ROM: vectors, tree, entry points."""
    rom = bytearray(ROM_BYTES)
    dead = ROM_BASE + _CODE + 2
    struct.pack_into("<4I", rom, 0, STACK_TOP, ROM_BASE + _CODE | 1, dead | 1, dead | 1)
    struct.pack_into("<4H", rom, _CODE, _SVC | _BOOT, _WFI, _BRANCH_BACK, 0)
    struct.pack_into("<I", rom, _TREE_POINTER, ROM_BASE + _TREE)
    struct.pack_into("<I", rom, _TREE + 0x10, ROM_BASE + _DRIVER)
    for n in range(1, len(_FUNCTIONS) + 1):
        at = _CODE + 8 + _THUNK_BYTES * n
        struct.pack_into("<2H", rom, at, _SVC | n, _BX_LR)
        struct.pack_into("<I", rom, _DRIVER + 4 * n, ROM_BASE + at | 1)
    return bytes(rom)


def entry(name: str) -> int:
    """Return the address of a function of the flash driver."""
    return ROM_BASE + _CODE + 8 + _THUNK_BYTES * (_FUNCTIONS.index(name) + 1) | 1


def call(board: Board, number: int) -> None:
    """Do what the entry point `number` does; r0 to r3 hold its arguments, r0 takes its status."""
    if number == _BOOT:
        _boot(board)
        return
    status = _FAIL
    if number <= len(_FUNCTIONS):
        arguments = [board.read_register(n) for n in range(4)]
        status = _flash_function(board, _FUNCTIONS[number - 1], *arguments)
    board.write_register(0, status)


def _flash_function(board: Board, name: str, instance: int, config: int, third: int, fourth: int) -> int:
    if instance != 0:
        return _INVALID_ARGUMENT
    if name == "get_config":
        return _get_config(board, config, third)
    if name == "clear_cache":
        return _SUCCESS
    if int.from_bytes(board.read_memory(config, 4), "little") != CONFIGURATION:
        return _INVALID_ARGUMENT
    match name:
        case "init":
            pass
        case "erase_all":
            board.erase_flash(0, board.flash_bytes)
        case "erase" if third + fourth <= board.flash_bytes:
            first = third // _SECTOR_BYTES * _SECTOR_BYTES
            board.erase_flash(first, -(-(third + fourth) // _SECTOR_BYTES) * _SECTOR_BYTES - first)
        case "page_program" if third % _PAGE_BYTES == 0 and third < board.flash_bytes:
            board.program_flash(third, board.read_memory(fourth, _PAGE_BYTES))
        case _:
            return _FAIL
    return _SUCCESS


def _get_config(board: Board, config: int, option: int) -> int:
    """Describe the flash, found by its own parameters, to the other functions."""
    if int.from_bytes(board.read_memory(option, 4), "little") >> 28 != _OPTION_TAG:
        return _INVALID_ARGUMENT
    block = bytearray(CONFIGURATION_BYTES)
    struct.pack_into("<2I", block, 0, CONFIGURATION, 0x56010000)
    struct.pack_into("<I", block, 0x50, board.flash_bytes)
    struct.pack_into("<2I", block, 0x1C0, _PAGE_BYTES, _SECTOR_BYTES)
    struct.pack_into("<I", block, 0x1D0, _BLOCK_BYTES)
    board.write_memory(config, bytes(block))
    return _SUCCESS


def _boot(board: Board) -> None:
    """Start the image whose header is right; else the core waits, as it does for a serial downloader."""
    tag, version = struct.unpack("<2I", board.read_memory(FLASH_BASE, 8))
    at = FLASH_BASE + VECTOR_TABLE
    header, vectors, _, _, boot_data, self_address = struct.unpack("<6I", board.read_memory(at, 24))
    if tag != CONFIGURATION or version >> 24 != ord("V"):
        return
    if header & 0xFFFFFF != _TABLE_TAG or header >> 24 not in _TABLE_VERSIONS or self_address != at:
        return
    start, size, plugin = struct.unpack("<3I", board.read_memory(boot_data, 12))
    if start != FLASH_BASE or plugin & 1 or not FLASH_BASE <= vectors < FLASH_BASE + size:
        return
    stack, reset = struct.unpack("<2I", board.read_memory(vectors, 8))
    board.write_memory(_VTOR, vectors.to_bytes(4, "little"))
    board.write_register(_MSP, stack)
    board.write_register(_SP, stack)
    board.write_register(_LR, 0xFFFFFFFF)
    board.write_register(_PC, reset)
