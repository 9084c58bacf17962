"""Promises of the virtual i.MX RT1062: it starts what the boot ROM would, and the firmware leaves it as it must be."""

import struct
from functools import lru_cache

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from fqtbench.paths import share
from fqtbench.probe import elf_segments
from fqtbench.virtual.chips.mimxrt1062 import rom
from fqtbench.virtual.chips.mimxrt1062.blocks import GeneralRegisters, RunningWatchdog
from fqtbench.virtual.chips.mimxrt1062.chip import DTCM_BASE, FLASH_BASE, FLASH_BYTES, Mimxrt1062
from fqtbench.virtual.schedule import NEVER
from fqtbench.virtual.target import BusFault
from fqtbench.wire.frames import PROTOCOL_VERSION, Deframer, Type, encode
from tests.virtual.chips import DeafLine

ELF = share("firmware/prebuilt") / "mimxrt1062.elf"
START_CYCLES = 2_000_000  # clocks, and code copied to ITCM
RUNNING = 0x46515452  # firmware/chips/mimxrt1062/reset.h, in SRC.GPR6
GPR6 = 0x400F8034
CONFIG, BUFFER, HALT = 0x20002000, 0x20003000, 0x20001000
R0, SP, LR, PC, MSP = 0, 13, 14, 15, 17
BKPT = b"\x00\xbe"
SUCCESS, FAIL, INVALID = 0, 1, 4
KB = 1 << 10
# firmware/chips/chip.h, enum chip_reset
POWER, SOFTWARE, LOCKUP, EXCEPTION_SHIFT = 1 << 0, 1 << 3, 1 << 4, 16


def word(chip: Mimxrt1062, address: int) -> int:
    return int.from_bytes(chip.read_memory(address, 4), "little")


@lru_cache
def symbol(name: str) -> int:
    with ELF.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        found = table.get_symbol_by_name(name)
        assert found is not None
        return int(found[0]["st_value"])


def chip_with_firmware(damage: int | None = None) -> Mimxrt1062:
    """Return a chip with the prebuilt firmware in flash, one bit of it wrong, after a reset."""
    chip = Mimxrt1062(DeafLine())
    for segment in elf_segments(ELF):
        chip.program(segment.address, segment.data)
    if damage is not None:
        old = chip.read_memory(FLASH_BASE + damage, 1)[0]
        assert old, "there is no bit to clear"
        chip.program(FLASH_BASE + damage, bytes([old & (old - 1)]))
    chip.reset(halt=False)
    return chip


def started() -> Mimxrt1062:
    """Return a chip whose firmware has come to its main loop."""
    chip = chip_with_firmware()
    chip.run(START_CYCLES)
    assert word(chip, GPR6) == RUNNING
    return chip


def call(chip: Mimxrt1062, name: str, *arguments: int) -> int:
    """Call a function of the boot ROM's flash driver as a flash algorithm does; return its status."""
    tree = word(chip, 0x0020001C)
    driver = word(chip, tree + 0x10)
    order = [
        "init",
        "page_program",
        "erase_all",
        "erase",
        "read",
        "clear_cache",
        "xfer",
        "update_lut",
        "get_config",
    ]
    chip.halt()
    chip.debug_enabled = True
    chip.write_memory(HALT, BKPT)
    for number, value in enumerate(arguments):
        chip.write_register(number, value)
    chip.write_register(LR, HALT | 1)
    chip.write_register(PC, word(chip, driver + 4 + 4 * order.index(name)))
    chip.resume()
    chip.run(1000)
    assert chip.halted
    return chip.read_register(R0)


def configured() -> Mimxrt1062:
    """Return a chip whose flash driver is ready, its configuration at CONFIG."""
    chip = Mimxrt1062(DeafLine())
    chip.write_memory(
        BUFFER, struct.pack("<I", 0xC0000006)
    )  # pyOCD's option: serial NOR, found by its parameters
    assert call(chip, "get_config", 0, CONFIG, BUFFER) == SUCCESS
    assert call(chip, "init", 0, CONFIG) == SUCCESS
    return chip


# -- boot ---------------------------------------------------------------------------------------------------


def test_the_boot_rom_starts_what_has_a_right_header() -> None:
    chip = started()
    assert not chip.locked_up
    assert word(chip, 0xE000ED08) == FLASH_BASE + 0x2000  # VTOR: the vectors, which the header names


@pytest.mark.parametrize("damage", [0x0, 0x7, 0x1000, 0x1002, 0x1015, 0x1023])
def test_the_boot_rom_does_not_start_anything_else(damage: int) -> None:
    """Tag and version of the flash configuration; tag, length and own address of the table; boot data's start."""
    chip = chip_with_firmware(damage)
    chip.run(START_CYCLES)
    assert rom.ROM_BASE <= chip.cpu.pc < rom.ROM_BASE + rom.ROM_BYTES
    assert word(chip, GPR6) == 0


def test_the_flash_is_read_as_the_vendor_reads_it() -> None:
    """Fast Read Quad I/O, as NXP's SDK for this board has it (evkmimxrt1060_flexspi_nor_config.c)."""
    flash = chip_with_firmware().read_memory(FLASH_BASE + 0x80, 8)
    assert struct.unpack("<2I", flash) == (0x0A1804EB, 0x26043206)


# -- what the firmware makes of the chip ----------------------------------------------------------------------


def test_the_core_runs_at_600_mhz_with_the_voltage_for_it() -> None:
    chip = started()
    arm_pll, divider, bus = word(chip, 0x400D8000), word(chip, 0x400FC010), word(chip, 0x400FC014)
    assert arm_pll >> 31 and arm_pll >> 13 & 1 and not arm_pll >> 16 & 1  # locked, on, not bypassed
    core_hz = 24_000_000 * (arm_pll & 0x7F) // 2 // ((divider & 7) + 1) // ((bus >> 10 & 7) + 1)
    assert core_hz == 600_000_000
    assert core_hz // ((bus >> 8 & 3) + 1) <= 150_000_000  # IPG
    assert word(chip, 0x400FC018) >> 18 & 3 == 3 and not bus >> 25 & 1  # the core's clock comes from that PLL
    assert 800 + 25 * (word(chip, 0x4008000C) & 0x1F) >= 1250  # millivolts


def test_the_uart_runs_at_1_mbaud() -> None:
    chip = started()
    assert chip.uart.byte_cycles() == 10 * 600


def test_no_watchdog_is_left_running() -> None:
    chip = started()
    assert not word(chip, 0x400BC000) & 1 << 7  # RTWDOG.CS.EN
    assert (
        not word(chip, 0x400B8008) & 1 and not word(chip, 0x400D0008) & 1
    )  # WDOG1, WDOG2: power-down counter


def test_tcm_answers_where_flexram_has_been_given_to_it() -> None:
    """128 KB of DTCM out of reset, 256 KB as the firmware wants it."""
    blank = Mimxrt1062(DeafLine())
    blank.read_memory(DTCM_BASE + 128 * KB - 4, 4)
    with pytest.raises(BusFault):
        blank.read_memory(DTCM_BASE + 128 * KB, 4)
    chip = started()
    chip.read_memory(DTCM_BASE + 256 * KB - 4, 4)
    for beyond in (DTCM_BASE + 256 * KB, 128 * KB):
        with pytest.raises(BusFault):
            chip.read_memory(beyond, 4)


def test_the_dma_reaches_memory_while_the_core_sleeps() -> None:
    """Only with the clock that the firmware keeps running (IOMUXC_GPR.GPR1)."""
    chip = started()
    assert not chip.exceptions.wakes
    chip.dma_write(BUFFER, b"fqt")
    assert chip.read_memory(BUFFER, 3) == b"fqt"
    chip.general.write(0x04, 0)
    chip.dma_write(BUFFER, b"---")
    assert chip.read_memory(BUFFER, 3) == b"fqt"
    assert chip.dma_read(BUFFER, 3) == bytes(3)


# -- resets ---------------------------------------------------------------------------------------------------


def reason(chip: Mimxrt1062) -> int:
    return word(chip, symbol("reset_reason"))


def test_the_firmware_tells_power_on_from_a_request() -> None:
    chip = chip_with_firmware()
    chip.resets.flags = chip.resets.POWER_ON
    chip.run(START_CYCLES)
    assert reason(chip) == POWER
    assert chip.resets.flags == 0
    chip.reset(halt=False)
    chip.run(START_CYCLES)
    assert reason(chip) == SOFTWARE | LOCKUP  # the chip has one flag for both


def test_a_debug_probes_reset_of_the_core_spares_the_rest() -> None:
    """In the middle of a frame: UART and DMA go on until the firmware has them in hand again, then it listens."""
    chip = started()
    chip.uart.receive(bytes(200), chip.now)
    chip.run(50 * 6000)
    assert word(chip, 0x400E800C) & 1  # ERQ: channel 0 receives
    chip.reset_core(halt=False)
    assert word(chip, 0x400E800C) & 1
    chip.run(START_CYCLES)
    assert reason(chip) == SOFTWARE
    assert word(chip, 0x400E800C) & 1
    assert not word(chip, 0x400E8024)  # INT: no half is taken for full
    assert chip.dma.room(3) > 0


def test_a_fault_resets_the_chip_and_is_reported() -> None:
    chip = started()
    chip.write_register(PC, 0x50000000)  # there is no code, nor anything else
    chip.run(START_CYCLES)
    assert reason(chip) == SOFTWARE | 3 << EXCEPTION_SHIFT  # HardFault


@pytest.mark.parametrize("pointer", [DTCM_BASE + 4, DTCM_BASE + 256 * KB + 256])
def test_a_stack_out_of_memory_resets_the_chip(pointer: int) -> None:
    """There is nothing below or above: the fault finds no stack, and a lock-up is a reset."""
    chip = started()
    chip.write_register(MSP, pointer)
    chip.write_register(SP, pointer)
    chip.write_register(PC, symbol("main"))
    chip.run(START_CYCLES)
    assert reason(chip) == SOFTWARE | LOCKUP


# -- the boot ROM's flash driver --------------------------------------------------------------------------------


def test_flash_functions_erase_sectors_and_clear_bits() -> None:
    chip = configured()
    chip.write_memory(BUFFER, bytes(range(256)))
    assert call(chip, "erase", 0, CONFIG, 0x100000, 0x10000) == SUCCESS
    assert call(chip, "page_program", 0, CONFIG, 0x100000, BUFFER) == SUCCESS
    assert chip.read_memory(FLASH_BASE + 0x100000, 257) == bytes(range(256)) + b"\xff"
    chip.write_memory(BUFFER, b"\xf0" * 256)
    assert call(chip, "page_program", 0, CONFIG, 0x100000, BUFFER) == SUCCESS
    assert chip.read_memory(FLASH_BASE + 0x100000, 256) == bytes(n & 0xF0 for n in range(256))
    assert call(chip, "erase", 0, CONFIG, 0x100000, 1) == SUCCESS
    assert chip.read_memory(FLASH_BASE + 0x100000, 256) == b"\xff" * 256


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("get_config", (0, CONFIG, CONFIG), INVALID),  # no option there
        ("init", (1, CONFIG), INVALID),  # no such FlexSPI
        ("init", (0, BUFFER), INVALID),  # no configuration there
        ("erase", (0, CONFIG, FLASH_BYTES, 4096), FAIL),
        ("page_program", (0, CONFIG, FLASH_BYTES, BUFFER), FAIL),
        ("page_program", (0, CONFIG, 128, BUFFER), FAIL),  # not where a page begins
    ],
)
def test_a_wrong_call_says_so_and_harms_nothing(name: str, arguments: tuple[int, ...], status: int) -> None:
    chip = configured()
    for segment in elf_segments(ELF):
        chip.program(segment.address, segment.data)
    before = chip.read_memory(FLASH_BASE, FLASH_BYTES)
    assert call(chip, name, *arguments) == status
    assert chip.read_memory(FLASH_BASE, FLASH_BYTES) == before


def test_erasing_everything_leaves_nothing() -> None:
    chip = configured()
    chip.program(FLASH_BASE + FLASH_BYTES - 4, b"last")
    assert call(chip, "erase_all", 0, CONFIG) == SUCCESS
    assert chip.read_memory(FLASH_BASE + FLASH_BYTES - 4, 4) == b"\xff" * 4


# -- blocks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("banks", "sizes", "select", "shape"),
    [
        (0x55AAAAFF, 0x00980000, 0x00200007, (128 * KB, 256 * KB)),
        (0x55AAAAFF, 0x00980000, 0x00200003, GeneralRegisters.FUSES),  # the fuses hold
        (0xFFFFFFFF, 0x00000000, 0x00200007, (512 * KB, 0)),
        (0xAAAAAAAA, 0x00700000, 0x00200007, (0, 64 * KB)),  # more banks than the size names
        (0xAAAAFFFF, 0x00990000, 0x00200006, (0, 256 * KB)),  # ITCM is off
    ],
)
def test_flexram_has_the_shape_that_the_registers_say(
    banks: int, sizes: int, select: int, shape: tuple[int, int]
) -> None:
    shapes: list[tuple[int, int]] = []
    registers = GeneralRegisters(lambda itcm, dtcm: shapes.append((itcm, dtcm)))
    for offset, value in ((0x44, banks), (0x38, sizes), (0x40, select)):
        registers.write(offset, value)
    assert shapes[-1] == shape
    registers.reset()
    assert shapes[-1] == GeneralRegisters.FUSES


def test_the_watchdog_stops_only_behind_its_unlock_word() -> None:
    watchdog = RunningWatchdog()
    watchdog.write(0x0, 0x2900)
    assert watchdog.running
    watchdog.write(0x4, 0xD928C520)
    watchdog.write(0x8, 0xFFFF)
    watchdog.write(0x0, 0x2920)
    assert not watchdog.running
    watchdog.write(0x0, 0x2980)
    assert not watchdog.running


# -- reception ----------------------------------------------------------------------------------------------------


def hello(chip: Mimxrt1062) -> bool:
    """Send HELLO and tell whether its reply comes."""
    line = chip.line
    assert isinstance(line, DeafLine)
    line.sent = b""
    chip.flow.frames.add(encode(Type.HELLO, 1, 0, struct.pack("<IHH", 1, PROTOCOL_VERSION, 0)))
    chip.flow.try_start()
    chip.run(10_000_000)
    return any(frame and frame.type == Type.HELLO_REPLY for frame in Deframer().feed(line.sent))


@pytest.mark.parametrize("missed", [100, 511, 512, 513, 700, 1024, 1100, 1536, 1600, 2100, 5000])
def test_the_firmware_listens_again_after_the_dma_has_gone_round_without_it(missed: int) -> None:
    """The ring's halves are 512 bytes here: of a burst that nobody looks at some are filled twice, or more."""
    chip = started()
    assert hello(chip)
    chip.flow.frames.add(b"\x55" * (missed - 1) + b"\0")
    chip.flow.try_start()
    while chip.schedule.next_at != NEVER:  # time passes, and the core stands still
        chip.cpu.now = max(chip.now, chip.schedule.next_at)
        chip.schedule.fire(chip.now)
    chip.run(10_000_000)
    assert any(hello(chip) for _ in range(3))  # a host asks again
