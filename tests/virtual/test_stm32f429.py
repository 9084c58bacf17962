"""Promises of the virtual STM32F429: pyOCD's flash algorithm programs it, its registers say what the manual says."""

import struct
from typing import Any, Final

import pytest

from fqtbench.paths import share
from fqtbench.probe import elf_segments
from fqtbench.virtual.chips.stm32f429 import flash
from fqtbench.virtual.chips.stm32f429.blocks import Rcc
from fqtbench.virtual.chips.stm32f429.chip import (
    CLOCK_HZ,
    DBGMCU_IDCODE,
    FLASH_BASE,
    FLASH_BYTES,
    FLASH_SIZE,
    IDCODE,
    UNIQUE_ID,
    Stm32f429,
)
from tests.virtual.chips import DeafLine

target: Any = pytest.importorskip("pyocd.target.builtin.target_STM32F429xx")

ALGORITHM: Final[dict[str, Any]] = target.FLASH_ALGO
RAM: Final = 0x20000000
START_CYCLES: Final = 1_000_000  # clocks, UART, and the first frame is on its way
FLASH, RCC, USART3 = 0x40023C00, 0x40023800, 0x40004800
R0, R1, R2, R9, SP, LR, PC = 0, 1, 2, 9, 13, 14, 15
KEYS: Final = (0x45670123, 0xCDEF89AB)
# Sector's number in CR.SNB, its offset and its bytes: RM0090 rev 19, table 6.
SECTORS: Final = (
    (0, 0x00000, 16 << 10),
    (3, 0x0C000, 16 << 10),
    (4, 0x10000, 64 << 10),
    (5, 0x20000, 128 << 10),
    (11, 0xE0000, 128 << 10),
    (16, 0x100000, 16 << 10),
    (20, 0x110000, 64 << 10),
    (27, 0x1E0000, 128 << 10),
)


@pytest.fixture
def chip() -> Stm32f429:
    return Stm32f429(DeafLine(), device_id=0x0123456789ABCDEF)


def write(chip: Stm32f429, address: int, value: int) -> None:
    chip.write_memory(address, struct.pack("<I", value))


def read(chip: Stm32f429, address: int) -> int:
    return int.from_bytes(chip.read_memory(address, 4), "little")


def unlock(chip: Stm32f429) -> None:
    for key in KEYS:
        write(chip, FLASH + flash.KEYR, key)


def load_firmware(chip: Stm32f429) -> None:
    for segment in elf_segments(share("firmware/prebuilt") / "stm32f429.elf"):
        chip.program(segment.address, segment.data)
    chip.reset(halt=False)


def call(chip: Stm32f429, function: str, *arguments: int) -> int:
    """Call a function of pyOCD's flash algorithm as pyOCD does; return r0, 0 for success."""
    chip.debug_enabled = True
    chip.halt()
    words = ALGORITHM["instructions"]
    chip.write_memory(RAM, struct.pack(f"<{len(words)}I", *words))
    for number, value in enumerate(arguments):
        chip.write_register(number, value)
    chip.write_register(R9, ALGORITHM["static_base"])
    chip.write_register(SP, ALGORITHM["begin_stack"])
    chip.write_register(LR, RAM | 1)  # the algorithm begins with a BKPT
    chip.write_register(PC, ALGORITHM[function])
    chip.resume()
    chip.run(1_000_000)
    assert chip.halted, "the algorithm did not return"
    return chip.read_register(R0)


@pytest.mark.parametrize(("number", "offset", "size"), SECTORS)
def test_pyocds_algorithm_programs_and_erases_each_kind_of_sector(
    chip: Stm32f429, number: int, offset: int, size: int
) -> None:
    content = bytes(range(256)) * 4
    neighbour = (offset + size) % FLASH_BYTES
    chip.program(FLASH_BASE + neighbour, bytes(4))
    chip.write_memory(ALGORITHM["page_buffers"][0], content)
    assert call(chip, "pc_init", FLASH_BASE, 0, 1) == 0
    for at in (offset, offset + size - len(content)):
        assert call(chip, "pc_program_page", FLASH_BASE + at, len(content), ALGORITHM["page_buffers"][0]) == 0
        assert chip.read_memory(FLASH_BASE + at, len(content)) == content
    assert call(chip, "pc_erase_sector", FLASH_BASE + offset) == 0
    assert call(chip, "pc_unInit", 1) == 0
    assert chip.read_memory(FLASH_BASE + offset, size) == b"\xff" * size
    assert chip.read_memory(FLASH_BASE + neighbour, 4) == bytes(4)
    assert flash.sector(number) == (offset, size)


def test_pyocds_algorithm_erases_both_banks(chip: Stm32f429) -> None:
    for offset in (0, flash.BANK_BYTES, FLASH_BYTES - 4):
        chip.program(FLASH_BASE + offset, bytes(4))
    call(chip, "pc_init", FLASH_BASE, 0, 1)
    assert call(chip, "pc_eraseAll") == 0
    assert chip.read_memory(FLASH_BASE, FLASH_BYTES) == b"\xff" * FLASH_BYTES


def test_the_sectors_fill_the_flash() -> None:
    found = [s for n in range(32) if (s := flash.sector(n)) is not None]
    assert sum(size for _, size in found) == FLASH_BYTES
    assert [offset for offset, _ in found[1:]] == [offset + size for offset, size in found[:-1]]


def test_programming_clears_bits_only(chip: Stm32f429) -> None:
    unlock(chip)
    write(chip, FLASH + flash.CR, flash.PG | 2 << 8)
    write(chip, FLASH_BASE, 0xFFFF00F0)
    write(chip, FLASH_BASE, 0xF0F0FFFF)
    assert read(chip, FLASH_BASE) == 0xF0F000F0
    assert read(chip, FLASH + flash.SR) == 0


@pytest.mark.parametrize(
    ("control", "unlocked", "error"),
    [
        (flash.PG | 2 << 8, False, flash.PGSERR),
        (2 << 8, True, flash.PGSERR),
        (flash.PG | flash.SER | 2 << 8, True, flash.PGSERR),
        (flash.PG, True, flash.PGPERR),
    ],
    ids=["locked", "no PG", "erasing", "other width"],
)
def test_a_store_that_the_controller_does_not_expect_is_lost(
    chip: Stm32f429, control: int, unlocked: bool, error: int
) -> None:
    if unlocked:
        unlock(chip)
    write(chip, FLASH + flash.CR, control)
    write(chip, FLASH_BASE, 0)
    assert read(chip, FLASH_BASE) == 0xFFFFFFFF
    assert read(chip, FLASH + flash.SR) == error
    write(chip, FLASH + flash.SR, error)
    assert read(chip, FLASH + flash.SR) == 0


def test_a_store_from_code_that_is_lost_does_not_fault(chip: Stm32f429) -> None:
    """STR r1, [r0]; BKPT: as on the chip, only an error flag tells of it (RM 3.6.4)."""
    chip.debug_enabled = True
    chip.halt()
    chip.write_memory(RAM, bytes.fromhex("0160 00be"))
    chip.write_register(R0, FLASH_BASE + 0x100)
    chip.write_register(R1, 0)
    chip.write_register(PC, RAM)
    chip.resume()
    chip.run(100)
    assert chip.halted and chip.read_register(PC) == RAM + 2
    assert read(chip, FLASH_BASE + 0x100) == 0xFFFFFFFF
    assert read(chip, FLASH + flash.SR) == flash.PGSERR


def test_a_wrong_key_locks_until_the_next_reset(chip: Stm32f429) -> None:
    write(chip, FLASH + flash.KEYR, KEYS[1])
    unlock(chip)
    assert read(chip, FLASH + flash.CR) & flash.LOCK
    chip.reset(halt=True)
    unlock(chip)
    assert not read(chip, FLASH + flash.CR) & flash.LOCK
    write(chip, FLASH + flash.CR, flash.LOCK)
    write(chip, FLASH + flash.CR, flash.PG)
    assert read(chip, FLASH + flash.CR) == flash.LOCK


def test_the_firmware_sets_the_clock_that_virtual_time_counts(chip: Stm32f429) -> None:
    load_firmware(chip)
    assert chip.rcc.core_hz() == 16_000_000
    chip.run(START_CYCLES)
    assert chip.rcc.core_hz() == CLOCK_HZ
    assert CLOCK_HZ // chip.rcc.apb1_divisor() == 45_000_000
    assert chip.usart.byte_cycles() * 1_000_000 == 10 * CLOCK_HZ  # 1 Mbaud, ten bits
    assert read(chip, FLASH + flash.ACR) & 0xF == 5


def test_a_block_without_its_clock_does_not_answer(chip: Stm32f429) -> None:
    write(chip, USART3 + 0x08, 45)
    assert read(chip, USART3 + 0x08) == 0
    write(chip, RCC + Rcc.APB1ENR, 1 << 18)
    write(chip, USART3 + 0x08, 45)
    assert read(chip, USART3 + 0x08) == 45


def test_reset_flags_accumulate_until_they_are_removed(chip: Stm32f429) -> None:
    power_on = Rcc.PORRSTF | Rcc.BORRSTF | Rcc.PADRSTF
    assert read(chip, RCC + Rcc.CSR) == power_on
    chip.software_reset()
    assert read(chip, RCC + Rcc.CSR) == power_on | Rcc.SFTRSTF
    write(chip, RCC + Rcc.CSR, 1 << 24)
    assert read(chip, RCC + Rcc.CSR) == 0
    chip.software_reset()
    assert read(chip, RCC + Rcc.CSR) == Rcc.SFTRSTF | Rcc.PADRSTF


def test_the_chip_says_which_it_is(chip: Stm32f429) -> None:
    for _ in range(2):
        assert read(chip, DBGMCU_IDCODE) == IDCODE
        chip.reset(halt=False)
    assert chip.read_memory(UNIQUE_ID, 12) == struct.pack("<3I", 0x89ABCDEF, 0x01234567, 0)
    assert chip.read_memory(FLASH_SIZE, 2) == struct.pack("<H", FLASH_BYTES >> 10)


def test_a_lock_up_lasts_until_a_reset(chip: Stm32f429) -> None:
    """No watchdog, and the chip has no reset by lock-up: an empty flash stays as it is."""
    chip.run(1000)
    assert chip.locked_up and not chip.runnable
    load_firmware(chip)
    assert chip.runnable
