"""Promise: no charge is lost or counted twice between a model and its samples, and who measures changes nothing."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fqtbench.virtual import block_hook as blocks
from fqtbench.virtual.chips.nrf52840.chip import CLOCK_HZ, Nrf52840
from fqtbench.virtual.power_hook import MAX_SAMPLES
from fqtbench.virtual.power_meter import ChargeMeter
from fqtbench.virtual.power_model import PowerModel, classify, weight
from tests.virtual.chips import chip_with, run_to_sleep
from tests.virtual.programs import BKPT, CALLS, COPIES, EVENTS, FAULT, LOOPS, MASKED, SVC, Program

MODEL = PowerModel(3.3, 0.6, "a test's", "cortex-m4")
PROGRAMS = (LOOPS, CALLS, COPIES, EVENTS, MASKED, SVC)
RATES_HZ = (100_000.0, 99_991.0, 3_000.0, 1e6 / 3, 2_000_000.0, 7.5)


def _measured(
    program: Program, rate_hz: float, slices: random.Random | None = None
) -> tuple[Nrf52840, ChargeMeter, np.ndarray]:
    chip = chip_with(program)
    meter = ChargeMeter(chip, MODEL, CLOCK_HZ, rate_hz)
    samples = []
    while chip.runnable and chip.now < 3_000_000:
        chip.run(3_000_000 - chip.now if slices is None else slices.randint(1, 50_000))
        samples.append(meter.take_a())
    meter.close()
    return chip, meter, np.concatenate([*samples, meter.take_a()])


def _by_counts_c(chip: Nrf52840) -> float:
    """The model's integral in another way: what each block draws × how often it ran, and the time between blocks."""
    taken = chip.core.timing.taken_cycles
    charge = int(chip.cpu.table[blocks.OUTSIDE]) * MODEL.idle_na
    for block in chip.cpu.block_counts():
        cycles = block.executions * block.cycles + block.jumps * taken
        charge += cycles * MODEL.block_na(bytes(chip.cpu.engine.mem_read(block.address, block.size)))
    return charge * 1e-9 / CLOCK_HZ


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("program", [LOOPS, CALLS, EVENTS], ids=["loops", "calls", "events"])
def test_samples_add_up_to_what_the_blocks_have_drawn(program: Program, rate_hz: float) -> None:
    chip, meter, current_a = _measured(program, rate_hz)
    whole = meter.charge_c()
    assert current_a.sum() * meter.period_ticks / (
        meter.ticks_per_cycle * CLOCK_HZ
    ) + meter.unfinished_c() == pytest.approx(whole, rel=1e-12)
    assert whole == pytest.approx(_by_counts_c(chip), rel=1e-12)
    assert len(current_a) == chip.now * meter.ticks_per_cycle // meter.period_ticks


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    program=st.sampled_from(PROGRAMS),
    rate_hz=st.sampled_from(RATES_HZ),
)
def test_where_slices_end_changes_no_sample(seed: int, program: Program, rate_hz: float) -> None:
    _, whole, at_once = _measured(program, rate_hz)
    _, cut, in_slices = _measured(program, rate_hz, random.Random(seed))
    assert cut.charge_c() >= whole.charge_c()  # it may have run a little longer
    n = len(at_once)
    assert n <= len(in_slices)
    assert np.array_equal(at_once, in_slices[:n])


def test_more_samples_at_once_than_the_hook_has_room_for() -> None:
    _, meter, current_a = _measured(LOOPS, CLOCK_HZ)
    assert len(current_a) > 3 * MAX_SAMPLES
    assert current_a.sum() / CLOCK_HZ + meter.unfinished_c() == pytest.approx(meter.charge_c(), rel=1e-12)


@pytest.mark.parametrize("program", [LOOPS, CALLS, FAULT, BKPT], ids=["loops", "calls", "fault", "bkpt"])
def test_measuring_changes_no_count(program: Program) -> None:
    alone, metered = chip_with(program), chip_with(program)
    meter = ChargeMeter(metered, MODEL, CLOCK_HZ, 100_000)
    for chip in (alone, metered):
        chip.run(2_000_000)
    meter.close()
    assert (metered.now, metered.cpu.instructions) == (alone.now, alone.cpu.instructions)
    assert metered.cpu.block_counts() == alone.cpu.block_counts()


def test_blocks_that_ran_before_are_charged_alike() -> None:
    """A meter that comes later charges what one that was there all along does from then on."""
    chip, other = chip_with(LOOPS), chip_with(LOOPS)
    whole = ChargeMeter(chip, MODEL, CLOCK_HZ, 100_000)
    for each in (chip, other):
        each.run(100_000)
    before_c = whole.charge_c()
    late = ChargeMeter(other, MODEL, CLOCK_HZ, 100_000)
    for each in (chip, other):
        run_to_sleep(each)
    assert late.charge_c() == pytest.approx(whole.charge_c() - before_c, rel=1e-12)


def test_steps_and_halts_of_a_debugger_are_charged_by_their_time() -> None:
    chip = chip_with(LOOPS)
    meter = ChargeMeter(chip, replace(MODEL, idle_ma=3.3), CLOCK_HZ, 100_000)
    chip.halt()
    for _ in range(40):
        chip.step()
    assert meter.charge_c() == pytest.approx(3.3e-3 * chip.now / CLOCK_HZ, rel=1e-12)


def test_a_meter_that_is_closed_charges_no_more() -> None:
    chip = chip_with(LOOPS)
    meter = ChargeMeter(chip, MODEL, CLOCK_HZ, 100_000)
    chip.run(10_000)
    meter.close()
    charged = meter.charge_c()
    run_to_sleep(chip)
    assert meter.charge_c() == charged > 0
    assert len(meter.take_a()) == 10_000 // 640


@pytest.mark.parametrize("rate_hz", [CLOCK_HZ * 2.0, 1e-9])
def test_a_rate_that_can_not_be_taken_is_refused(rate_hz: float) -> None:
    with pytest.raises(ValueError, match="can't be taken"):
        ChargeMeter(chip_with(LOOPS), MODEL, CLOCK_HZ, rate_hz)


def test_kinds_of_instructions() -> None:
    kinds = {
        "memory": ("ldrb.w", "ldm", "stmdb", "push.w", "pop", "vldr", "strd", "vpush"),
        "multiplication": ("muls", "smlad", "smull", "smlabb", "mla", "udiv", "vfma.f32", "vmul.f32"),
        "branch": ("b", "b.w", "bne", "bl", "blx", "bx", "cbz", "tbb", "ble", "bls"),
        "other": ("adds", "mov", "bic", "bfi", "movs", "mrs", "it", "cmp", "sxtb16", "vadd.f32", "msr"),
    }
    for kind, names in kinds.items():
        assert {classify(name).name.lower() for name in names} == {kind}
    assert weight(bytes.fromhex("0068")) > weight(bytes.fromhex("4018"))  # LDR r0, [r0]; ADDS r0, r0, r1


def test_the_model_names_its_constants() -> None:
    assert MODEL.model_id != replace(MODEL, active_ma=3.4).model_id
    assert "assumed" in MODEL.model_id
    assert "a test's" in MODEL.model_id
