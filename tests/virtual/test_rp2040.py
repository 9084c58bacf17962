"""Promises of the virtual RP2040: it starts what the boot ROM would, its registers behave as the firmware expects."""

import struct

import pytest

from fqtbench.paths import share
from fqtbench.probe import elf_segments
from fqtbench.virtual.chips.rp2040 import rom
from fqtbench.virtual.chips.rp2040.blocks import Atomic, Resets
from fqtbench.virtual.chips.rp2040.chip import CHIP_ID, FLASH_BASE, FLASH_BYTES, Rp2040
from fqtbench.virtual.chips.rp2040.debug import IDENTITY
from fqtbench.virtual.debugport import DebugPort, TransferFault
from fqtbench.virtual.peripheral import PlainRegisters
from fqtbench.virtual.target import BusFault
from tests.virtual.chips import DeafLine

START_CYCLES = 20_000_000  # clocks, and code copied to RAM
RESETS, RESET_DONE = 0x4000C000, 0x4000C008
SET, CLEAR = 0x2000, 0x3000
UART0 = 1 << 22
R0, R1, R2, PC, LR = 0, 1, 2, 15, 14
HALT_ADDRESS = 0x20000000
BKPT = b"\x00\xbe"


def chip_with_firmware(damage: int | None = None) -> Rp2040:
    """Return a chip with the prebuilt firmware in flash, one byte of it wrong, after reset."""
    chip = Rp2040(DeafLine())
    for segment in elf_segments(share("firmware/prebuilt") / "rp2040.elf"):
        chip.program(segment.address, segment.data)
    if damage is not None:
        old = chip.read_memory(FLASH_BASE + damage, 1)[0]
        assert old, "there is no bit to clear"
        chip.program(FLASH_BASE + damage, bytes([old & (old - 1)]))
    chip.reset(halt=False)
    return chip


def call(chip: Rp2040, code: bytes, *arguments: int) -> int:
    """Call a function of the boot ROM as a flash algorithm does; return r0."""
    table, lookup = struct.unpack("<H2xH", rom.content()[0x14:0x1A])
    chip.halt()
    chip.debug_enabled = True
    chip.write_memory(HALT_ADDRESS, BKPT)
    for address, registers in ((lookup, (table, int.from_bytes(code, "little"))), (None, arguments)):
        target = chip.read_register(R0) if address is None else address
        assert target, f"the ROM has no function {code!r}"
        for number, value in enumerate(registers):
            chip.write_register(number, value)
        chip.write_register(LR, HALT_ADDRESS | 1)
        chip.write_register(PC, target)
        chip.resume()
        chip.run(1000)
        assert chip.halted
    return chip.read_register(R0)


def test_the_boot_rom_starts_what_has_the_right_checksum() -> None:
    chip = chip_with_firmware()
    chip.run(START_CYCLES)
    assert chip.read_memory(0x4005800C, 4) == struct.pack("<I", 0x46515452)  # firmware/chips/rp2040/reset.h
    assert not chip.locked_up


@pytest.mark.parametrize("damage", [0, 100, 200, 252])
def test_the_boot_rom_does_not_start_anything_else(damage: int) -> None:
    """It waits, as the real one does for a USB host."""
    chip = chip_with_firmware(damage)
    chip.run(START_CYCLES)
    assert chip.cpu.pc < rom.ROM_BYTES
    assert chip.read_memory(0x4005800C, 4) == bytes(4)


def test_the_checksum_is_the_boot_roms() -> None:
    """CRC-32/MPEG-2's published check value: of "123456789", 0x0376E6E7 (reveng's catalogue)."""
    assert rom.checksum(b"123456789") == 0x0376E6E7


def test_flash_functions_erase_sectors_and_clear_bits() -> None:
    chip = chip_with_firmware()
    buffer = 0x20001000
    chip.write_memory(buffer, bytes(range(256)))
    call(chip, b"RE", 0x100000, 4096, 1 << 16, 0xD8)
    call(chip, b"RP", 0x100000, buffer, 256)
    assert chip.read_memory(FLASH_BASE + 0x100000, 257) == bytes(range(256)) + b"\xff"
    chip.write_memory(buffer, b"\xf0" * 256)
    call(chip, b"RP", 0x100000, buffer, 256)
    assert chip.read_memory(FLASH_BASE + 0x100000, 256) == bytes(n & 0xF0 for n in range(256))
    call(chip, b"RE", 0x100000, 4096, 1 << 16, 0xD8)
    assert chip.read_memory(FLASH_BASE + 0x100000, 256) == b"\xff" * 256


def test_a_flash_function_outside_the_flash_harms_nothing() -> None:
    chip = chip_with_firmware()
    before = chip.read_memory(FLASH_BASE, FLASH_BYTES)
    call(chip, b"RE", FLASH_BYTES, 4096, 1 << 16, 0xD8)
    call(chip, b"RP", FLASH_BYTES + 256, 0x20001000, 256)
    assert chip.read_memory(FLASH_BASE, FLASH_BYTES) == before


def test_there_is_no_function_of_another_name() -> None:
    with pytest.raises(AssertionError, match="no function"):
        call(chip_with_firmware(), b"ZZ")


def test_writes_at_the_aliases_set_clear_and_flip_bits() -> None:
    registers = PlainRegisters(x0=0b1100)
    for alias, expected in ((Atomic.SET, 0b1110), (Atomic.CLEAR, 0b1000), (Atomic.XOR, 0b1010)):
        Atomic(registers, alias).write(0, {Atomic.SET: 0b10, Atomic.CLEAR: 0b110, Atomic.XOR: 0b10}[alias])
        assert registers.read(0) == expected


def test_a_block_in_reset_forgets_and_says_when_it_is_ready() -> None:
    registers = PlainRegisters(x0=5)
    resets = Resets({3: registers})
    resets.write(0, 0)
    registers.write(0, 7)
    assert resets.read(8) >> 3 & 1
    resets.write(0, 1 << 3)
    assert not resets.read(8) >> 3 & 1
    assert registers.read(0) == 5


def test_a_reset_holds_blocks_until_they_are_let_go() -> None:
    chip = Rp2040(DeafLine())
    assert not int.from_bytes(chip.read_memory(RESET_DONE, 4), "little") & UART0
    chip.write_memory(RESETS + CLEAR, struct.pack("<I", UART0))
    assert int.from_bytes(chip.read_memory(RESET_DONE, 4), "little") & UART0


def test_the_chip_says_which_it_is() -> None:
    assert int.from_bytes(Rp2040(DeafLine()).read_memory(0x40000000, 4), "little") == CHIP_ID


def test_nothing_answers_where_nothing_is() -> None:
    with pytest.raises(BusFault):
        Rp2040(DeafLine()).read_memory(0x20042000, 4)


def test_only_the_debug_port_of_core_0_answers() -> None:
    """The second core's and the rescue port have other ids (RP2040 Datasheet 2.3.4.2)."""
    port = DebugPort(Rp2040(DeafLine()))
    port.select_target(0x1100_2927)
    with pytest.raises(TransferFault):
        port.read_dp(0)
    port.select_target(IDENTITY.target_id)
    assert port.read_dp(0) == IDENTITY.dpidr
