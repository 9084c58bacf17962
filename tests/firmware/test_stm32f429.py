"""Promises of the STM32F429's firmware: it says why it started, and listens again after it has missed bytes."""

import struct

import pytest

from fqtbench.paths import share
from fqtbench.probe import elf_segments
from fqtbench.virtual.chips.stm32f429.chip import FLASH_BASE, Stm32f429
from fqtbench.virtual.schedule import NEVER
from fqtbench.wire.frames import PROTOCOL_VERSION, Deframer, Type, encode
from fqtbench.wire.messages import Hello
from tests.virtual.chips import DeafLine

DEVICE_ID = 0x0123456789ABCDEF
ENOUGH_CYCLES = 10_000_000
POWER, SOFTWARE, HARD_FAULT = 1 << 0, 1 << 3, 3 << 16  # docs/wire.md: the bits of `reset_reason`
ERASED = FLASH_BASE + 0x100000  # 0xFFFF: no instruction


@pytest.fixture
def chip() -> Stm32f429:
    """Return a chip whose firmware has come to its main loop."""
    chip = Stm32f429(DeafLine(), DEVICE_ID)
    for segment in elf_segments(share("firmware/prebuilt") / "stm32f429.elf"):
        chip.program(segment.address, segment.data)
    chip.reset(halt=False)
    chip.run(ENOUGH_CYCLES)
    return chip


def hello(chip: Stm32f429) -> Hello | None:
    """Send HELLO; return its reply, None if there is none."""
    line = chip.line
    assert isinstance(line, DeafLine)
    line.sent = b""
    chip.flow.frames.add(encode(Type.HELLO, 1, 0, struct.pack("<IHH", 1, PROTOCOL_VERSION, 0)))
    chip.flow.try_start()
    chip.run(ENOUGH_CYCLES)
    frames = [frame for frame in Deframer().feed(line.sent) if frame and frame.type == Type.HELLO_REPLY]
    return Hello.unpack(frames[0].payload[4:]) if frames else None


def go_to(chip: Stm32f429, address: int) -> None:
    """Let a debugger send the core elsewhere, and leave."""
    chip.halt()
    chip.write_register(15, address)
    chip.resume()
    chip.run(ENOUGH_CYCLES)


def test_it_says_which_chip_it_is_and_that_it_was_powered(chip: Stm32f429) -> None:
    said = hello(chip)
    assert said is not None
    assert (said.device_id, said.chip, said.clock_hz, said.baud) == (DEVICE_ID, 0x419, 180_000_000, 1_000_000)
    assert said.reset_reason == POWER


def test_it_says_that_it_was_reset(chip: Stm32f429) -> None:
    chip.software_reset()
    chip.run(ENOUGH_CYCLES)
    said = hello(chip)
    assert said is not None and said.reset_reason == SOFTWARE


def test_after_a_fault_it_starts_again_and_says_so_once(chip: Stm32f429) -> None:
    go_to(chip, ERASED)
    said = hello(chip)
    assert said is not None and said.reset_reason == SOFTWARE | HARD_FAULT
    chip.software_reset()
    chip.run(ENOUGH_CYCLES)
    said = hello(chip)
    assert said is not None and said.reset_reason == SOFTWARE


@pytest.mark.parametrize("missed", [100, 511, 512, 513, 700, 1024, 1100, 1536, 1600, 2100, 5000])
def test_it_listens_again_after_the_dma_has_gone_round_without_it(chip: Stm32f429, missed: int) -> None:
    """The ring's halves are 512 bytes here: of a burst that nobody looks at some are filled twice, or more."""
    assert hello(chip)
    chip.flow.frames.add(b"\x55" * (missed - 1) + b"\0")
    chip.flow.try_start()
    while chip.schedule.next_at != NEVER:  # time passes, and the core stands still
        chip.cpu.now = max(chip.now, chip.schedule.next_at)
        chip.schedule.fire(chip.now)
    chip.run(ENOUGH_CYCLES)
    assert any(hello(chip) for _ in range(3))  # a host asks again
