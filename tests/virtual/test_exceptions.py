"""Promise: exceptions come when the architecture says so, wherever slices of emulation end, and leave no trace."""

import random

import pytest

from fqtbench.virtual import exceptions
from fqtbench.virtual.chips.nrf52840.chip import RESETREAS_LOCKUP, Nrf52840
from tests.virtual.chips import chip_with, run_to_sleep
from tests.virtual.programs import (
    BKPT,
    CODE_ADDRESS,
    FAULT,
    FLOATS,
    MASKED,
    NESTED,
    PENDSV,
    SVCALL,
    SYSTICK,
    TICKS,
    UARTE0,
)

_CFSR, _HFSR, _BFAR, _RESETREAS = 0xE000ED28, 0xE000ED2C, 0xE000ED38, 0x40000400


def _word(chip: Nrf52840, address: int) -> int:
    return int.from_bytes(chip.read_memory(address, 4), "little")


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_masked_exception_is_taken_right_behind_cpsie(seed: int | None) -> None:
    chip = chip_with(MASKED, {PENDSV: CODE_ADDRESS + 0x26})
    run_to_sleep(chip, None if seed is None else random.Random(seed))
    assert chip.read_register(7) == 0  # held back for 100 turns
    assert chip.read_register(4) == 1
    assert chip.read_register(8) == 0  # and taken before r0 is 100 again


def test_an_unmasked_exception_takes_its_time_once_wherever_slices_end() -> None:
    whole = run_to_sleep(chip_with(MASKED, {PENDSV: CODE_ADDRESS + 0x26}))
    for seed in range(5):
        assert run_to_sleep(chip_with(MASKED, {PENDSV: CODE_ADDRESS + 0x26}), random.Random(seed)) == whole


def test_systick_wakes_from_sleep_once_a_period() -> None:
    chip = chip_with(TICKS, {SYSTICK: CODE_ADDRESS + 0x22})
    _, cycles, ticks = run_to_sleep(chip)
    assert ticks == 5
    assert 5_000 < cycles < 5_200  # five periods, and what start and last handler take


@pytest.mark.parametrize(("priority", "order"), [(0x00, 0x12), (0x80, 0x21)])
def test_only_a_more_urgent_exception_interrupts_a_handler(priority: int, order: int) -> None:
    chip = chip_with(NESTED, {PENDSV: CODE_ADDRESS + 0x3A, UARTE0: CODE_ADDRESS + 0x26})
    chip.write_memory(0xE000E402, bytes([priority]))  # NVIC_IPR of interrupt 2
    run_to_sleep(chip)
    assert chip.read_register(4) == order
    assert chip.read_register(16) & 0x1FF == 0


def test_fpu_registers_and_stack_survive_a_handler_that_uses_the_fpu() -> None:
    chip = chip_with(FLOATS, {SVCALL: CODE_ADDRESS + 0x1E})
    chip.run(1000)
    assert chip.read_register(5) == 7
    assert chip.read_register(13) == 0x20004000 - 4


def test_a_bus_fault_says_where() -> None:
    chip = chip_with(FAULT)
    chip.run(1000)
    assert _word(chip, _CFSR) == exceptions.CFSR_PRECISERR | exceptions.CFSR_BFARVALID
    assert _word(chip, _BFAR) == 0x30000000
    assert _word(chip, _HFSR) == exceptions.HFSR_FORCED


def test_a_breakpoint_instruction_without_a_debugger_says_so() -> None:
    chip = chip_with(BKPT)
    chip.run(1000)
    assert _word(chip, _HFSR) == exceptions.HFSR_DEBUGEVT


def test_a_fault_in_the_fault_handler_resets_the_chip_and_under_a_debugger_locks_it_up() -> None:
    handlers = {exceptions.HARD_FAULT: CODE_ADDRESS + 8}  # the load that faults
    chip = chip_with(FAULT, handlers)
    chip.run(200)
    assert _word(chip, _RESETREAS) & RESETREAS_LOCKUP
    watched = chip_with(FAULT, handlers)
    watched.debug_enabled = True
    watched.run(200)
    assert watched.locked_up
    assert not watched.runnable
