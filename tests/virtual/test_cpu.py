"""Promise: the virtual CPU counts the same instructions and cycles wherever it is stopped."""

import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fqtbench.virtual.chip import DFSR_BKPT
from fqtbench.virtual.chips.nrf52840.chip import Nrf52840
from fqtbench.virtual.target import BusFault
from tests.tools import require
from tests.virtual import programs
from tests.virtual.chips import DeafLine, chip_with, run_to_sleep
from tests.virtual.programs import (
    BKPT,
    CODE_ADDRESS,
    CONDITIONAL_STORES,
    COPIES,
    EVENTS,
    FAULT,
    LOOPS,
    SVC,
    SVCALL,
    Program,
)

PROGRAM_NAMES = [name for name, value in vars(programs).items() if isinstance(value, Program)]
PROGRAMS = [getattr(programs, name) for name in PROGRAM_NAMES]


@pytest.mark.parametrize("program", PROGRAMS, ids=PROGRAM_NAMES)
def test_machine_code_is_what_the_assembly_says(program: Program, tmp_path: Path) -> None:
    assembler = require("arm-none-eabi-as", "gcc-arm-none-eabi")
    source, object_file, binary = tmp_path / "a.s", tmp_path / "a.o", tmp_path / "a.bin"
    source.write_text(f".syntax unified\n.thumb\n{program.text}")
    subprocess.run(
        [assembler, "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-o", object_file, source], check=True, timeout=30
    )
    copy = require("arm-none-eabi-objcopy", "binutils-arm-none-eabi")
    subprocess.run([copy, "-O", "binary", "-j", ".text", object_file, binary], check=True, timeout=30)
    assert binary.read_bytes() == program.code


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_totals_don_t_depend_on_where_slices_end(seed: int) -> None:
    whole = run_to_sleep(chip_with(LOOPS))
    assert whole[0] > 150_000
    assert run_to_sleep(chip_with(LOOPS), random.Random(seed)) == whole


def test_a_halt_between_slices_changes_no_total() -> None:
    whole = run_to_sleep(chip_with(LOOPS))
    chip = chip_with(LOOPS)
    for _ in range(5):
        chip.run(10_000)
        chip.halt()
        chip.read_memory(0x20001000, 4)
        chip.resume()
    assert run_to_sleep(chip) == whole


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_breakpoints_and_steps_anywhere_change_no_total(seed: int) -> None:
    whole = run_to_sleep(chip_with(LOOPS))
    draw = random.Random(seed)
    chip = chip_with(LOOPS)
    chip.debug_enabled = True
    places = [CODE_ADDRESS + n for n in (0x0E, 0x10, 0x12, 0x16, 0x18, 0x1A, 0x1E, 0x20, 0x22, 0x24, 0x26)]
    for _ in range(20):
        chip.set_breakpoints(frozenset(draw.sample(places, 2)))
        chip.run(draw.randint(1, 50_000))
        chip.halt()
        for _ in range(draw.randint(1, 8)):
            chip.step()
        chip.resume()
    chip.set_breakpoints(frozenset())
    assert run_to_sleep(chip) == whole


def test_a_halt_in_sleep_does_not_end_it() -> None:
    chip = chip_with(LOOPS)
    whole = run_to_sleep(chip)
    chip.halt()
    chip.resume()
    assert run_to_sleep(chip) == whole
    chip.halt()
    chip.write_register(15, CODE_ADDRESS)
    chip.resume()
    assert run_to_sleep(chip)[0] > whole[0]


def test_block_counts_add_up_to_the_totals() -> None:
    chip = chip_with(LOOPS)
    instructions, cycles, _ = run_to_sleep(chip)
    counts = chip.cpu.block_counts()
    taken_cycles = 2
    assert sum(c.executions * c.instructions for c in counts) == instructions
    assert sum(c.executions * c.cycles + c.jumps * taken_cycles for c in counts) == cycles
    inner = next(c for c in counts if c.address == CODE_ADDRESS + 0x10)
    assert inner.executions == inner.jumps == 200 * 99  # the first of 100 turns is reached without a jump


def test_code_that_the_core_writes_to_ram_replaces_what_ran_there() -> None:
    chip = chip_with(COPIES)
    instructions, _, total = run_to_sleep(chip)
    assert total == 3 * (1 + 16)
    assert instructions == 9 + 3 * (13 + 2 + 1) + 1


def test_waiting_for_an_event_does_not_stop_the_program() -> None:
    chip = chip_with(EVENTS)
    assert run_to_sleep(chip)[2] == 2


def test_a_new_page_in_the_middle_of_an_it_block_leaves_conditions_alone() -> None:
    chip = chip_with(CONDITIONAL_STORES)
    n = 0x10000 // 4
    instructions, _, total = run_to_sleep(chip)
    assert total == n + 1
    assert chip.read_register(5) == n + 1
    assert instructions == 5 + (n + 1) * 7 + 2
    assert chip.read_memory(0x20000000 + 4 * 4097, 4) == (4097).to_bytes(4, "little")


def test_new_code_in_ram_is_run_and_priced_anew() -> None:
    chip = chip_with(LOOPS)
    chip.halt()
    first = bytes.fromhex("0120fee7")  # movs r0, #1; b .
    second = bytes.fromhex("0220fee7")  # movs r0, #2; b .
    for code, expected in ((first, 1), (second, 2)):
        chip.halt()
        chip.write_memory(0x20000000, code)
        chip.write_register(15, 0x20000000)
        chip.resume()
        chip.run(100)
        assert chip.read_register(0) == expected


def test_a_load_from_nowhere_is_a_hard_fault() -> None:
    chip = chip_with(FAULT)
    chip.run(1000)
    assert chip.read_register(15) == 0x60
    assert chip.read_register(16) & 0x1FF == 3  # IPSR: HardFault
    pushed = chip.read_memory(chip.read_register(13) + 24, 4)
    assert int.from_bytes(pushed, "little") & ~1 == CODE_ADDRESS + 8


def test_a_supervisor_call_returns_behind_itself() -> None:
    chip = chip_with(SVC, {SVCALL: CODE_ADDRESS + 10})
    chip.run(1000)
    assert chip.read_register(0) == 5
    assert chip.read_register(4) == 2
    assert chip.read_register(13) == 0x20004000
    assert chip.read_register(16) & 0x1FF == 0


def test_a_bkpt_halts_only_under_a_debugger() -> None:
    chip = chip_with(BKPT)
    chip.debug_enabled = True
    chip.run(1000)
    assert chip.halted
    assert chip.halt_reason & DFSR_BKPT
    assert (chip.read_register(0), chip.read_register(15)) == (5, CODE_ADDRESS + 2)
    alone = chip_with(BKPT)
    alone.run(1000)
    assert not alone.halted
    assert alone.read_register(16) & 0x1FF == 3


def test_a_breakpoint_stops_before_its_instruction_and_a_step_executes_it() -> None:
    chip = chip_with(LOOPS)
    chip.debug_enabled = True
    chip.halt()
    chip.set_breakpoints(frozenset({CODE_ADDRESS + 4}))
    chip.resume()
    chip.run(1000)
    assert chip.halted
    assert chip.read_register(15) == CODE_ADDRESS + 4
    chip.write_register(4, 99)
    chip.step()
    assert chip.read_register(4) == 0
    assert chip.halted


def test_erased_flash_locks_up_and_takes_no_time() -> None:
    chip = Nrf52840(DeafLine(), device_id=1)
    assert chip.locked_up
    assert not chip.runnable


def test_nothing_answers_outside_the_memories() -> None:
    with pytest.raises(BusFault, match="0x60000000"):
        chip_with(LOOPS).read_memory(0x60000000, 4)


def test_flash_is_nor_and_only_writable_through_its_controller() -> None:
    chip = chip_with(LOOPS)
    chip.write_memory(0x8000, b"\x12\x34\x56\x78")
    assert chip.read_memory(0x8000, 4) == b"\xff" * 4
    config, erase_page = 0x4001E504, 0x4001E508
    chip.write_memory(config, (1).to_bytes(4, "little"))
    chip.write_memory(0x8000, b"\xf0\xf0\xf0\xf0")
    chip.write_memory(0x8000, b"\x3c\xff\x00\x0f")
    assert chip.read_memory(0x8000, 4) == b"\x30\xf0\x00\x00"
    chip.write_memory(config, (2).to_bytes(4, "little"))
    chip.write_memory(erase_page, (0x8000).to_bytes(4, "little"))
    assert chip.read_memory(0x8000, 4) == b"\xff" * 4
    assert chip.read_memory(0x100, 4) == LOOPS.code[:4]
