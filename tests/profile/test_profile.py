"""Promise: a profile's sums are exact, its phases are the device's own, and layers get what they cost."""

from collections.abc import Iterable

import pytest

from fqtbench.bench.firmware import load_firmware
from fqtbench.board import load_models
from fqtbench.profile.engine import AT_ONCE, Phase
from fqtbench.profile.flame import folded
from fqtbench.profile.model import Cost, Profile
from tests.profile.conftest import STEPS, Taken

# Cycles that the device counts and its engine's functions don't take: firmware/app/main.c stores an argument or two
# between reading the cycle counter and the call, and reads it behind.
WRAPPER_CYCLES = {"forward": 29, "backward": 25, "update": 23}


@pytest.fixture(params=["mini_batch", "one_by_one"])
def profile(request: pytest.FixtureRequest) -> Profile:
    taken: Taken = request.getfixturevalue(request.param)
    return taken[0]


def _cycles(costs: Iterable[Cost]) -> int:
    return sum(cost.cycles for cost in costs)


def _phase(profile: Profile, *phases: Phase) -> int:
    parts = [*(layer.phases for layer in profile.layers), profile.rest]
    return sum(_cycles(part[p.key] for p in phases if p.key in part) for part in parts)


def _total(profile: Profile, name: str) -> int:
    return sum(f.total.cycles for f in profile.functions if f.name == name)


def _at_once(profile: Profile) -> int:
    return sum(_total(profile, name) for name in AT_ONCE)


def test_blocks_functions_layers_and_stacks_add_up_to_what_the_cpu_counted(profile: Profile) -> None:
    executed = profile.cycles - profile.asleep_cycles
    assert executed > 100_000
    assert sum(block.cycles for block in profile.blocks) == executed
    assert sum(function.own.cycles for function in profile.functions) == executed
    assert sum(stack.cycles for stack in profile.stacks) == executed
    assert _phase(profile, *Phase) + profile.outside.cycles == executed


def test_instructions_add_up(profile: Profile) -> None:
    instructions = sum(block.instructions * block.executions for block in profile.blocks)
    layers = [cost for layer in profile.layers for cost in layer.phases.values()]
    parts = [*layers, *profile.rest.values(), profile.outside]
    assert sum(part.instructions for part in parts) == instructions
    assert sum(function.own.instructions for function in profile.functions) == instructions


def test_phases_are_those_of_the_device_s_cycle_counter(profile: Profile) -> None:
    n_updates = sum(cycles > 0 for cycles in profile.device.update_cycles)
    for phase, times in (("forward", STEPS), ("backward", STEPS), ("update", n_updates)):
        counted = sum(getattr(profile.device, f"{phase}_cycles"))
        assert counted - _total(profile, f"fqt_{phase}") == times * WRAPPER_CYCLES[phase], phase


def test_phases_are_parts_of_the_engine_s_three_functions(profile: Profile) -> None:
    at_once = _at_once(profile)
    assert _phase(profile, Phase.FORWARD) == _total(profile, "fqt_forward")
    assert _phase(profile, Phase.SELECT, Phase.ERROR, Phase.GRADIENT) + at_once == _total(
        profile, "fqt_backward"
    )
    assert _phase(profile, Phase.UPDATE) - at_once == _total(profile, "fqt_update")


def test_weights_are_stepped_in_the_backward_pass_at_batch_1_and_only_there(
    one_by_one: Taken, mini_batch: Taken
) -> None:
    """A step reads and writes each weight's residual: no less than two cycles."""
    n_weights = 4 * 9 * 1 + 6 * 9 * 4 + 10 * 6
    assert _at_once(one_by_one[0]) > 2 * n_weights * STEPS
    assert _at_once(mini_batch[0]) == 0
    assert _total(one_by_one[0], "fqt_update") > 0


def test_each_layer_has_the_phases_that_it_needs(mini_batch: Taken) -> None:
    found = {layer.name: set(layer.phases) for layer in mini_batch[0].layers}
    trained = {"forward", "select", "error", "gradient", "update"}
    assert found == {
        "0:max_pool": {"forward", "error"},  # called, and left at once: nothing below is trained
        "1:conv2d": trained - {"error"},
        "2:conv2d": trained,
        "3:global_average_pool": {"forward", "error"},
        "4:dequantize": {"forward", "error"},
        "5:fully_connected": trained,
        "6:softmax_cross_entropy": {"forward", "error"},
    }


@pytest.mark.parametrize(
    ("link", "kernel"),
    [
        ("1:conv2d forward", "fqt_convolution_forward"),
        ("2:conv2d ∂X", "fqt_propagate_integer"),
        ("2:conv2d ∂W", "fqt_accumulate_integer"),
        ("2:conv2d update", "fqt_update_integer"),
        ("3:global_average_pool ∂X", "fqt_backward_map"),
        ("4:dequantize forward", "fqt_forward_map"),
        ("5:fully_connected forward", "fqt_float_forward"),
        ("5:fully_connected ∂X", "fqt_float_error"),
        ("5:fully_connected ∂W", "fqt_float_gradient"),
        ("5:fully_connected update", "fqt_update_float"),
        ("6:softmax_cross_entropy forward", "fqt_forward_head"),
    ],
)
def test_a_layer_s_kernels_are_called_for_it(mini_batch: Taken, link: str, kernel: str) -> None:
    assert any((link, kernel) in zip(s.frames, s.frames[1:], strict=False) for s in mini_batch[0].stacks)


def test_a_pool_s_cost_holds_no_convolution(mini_batch: Taken) -> None:
    below = {f for s in mini_batch[0].stacks if "0:max_pool forward" in s.frames for f in s.frames}
    assert "fqt_forward_map" in below
    assert not {name for name in below if "convolution" in name or "conv2d" in name}


def test_calls_are_counted(mini_batch: Taken) -> None:
    calls = {f.name: f.calls for f in mini_batch[0].functions}
    assert calls["fqt_forward"] == calls["fqt_backward"] == STEPS
    assert calls["fqt_update"] == 1
    assert calls["fqt_convolution_forward"] == 2 * STEPS
    assert calls["fqt_float_gradient"] == 10 * STEPS, "one call a row of the head"


def test_macs_are_those_of_the_shapes(mini_batch: Taken) -> None:
    macs = {layer.name: layer.macs for layer in mini_batch[0].layers}
    first, second, head = 7 * 7 * 4 * 9, 7 * 7 * 6 * 36, 10 * 6
    assert macs["1:conv2d"] == {"forward": STEPS * first, "gradient": STEPS * first}
    assert macs["2:conv2d"] == dict.fromkeys(("forward", "error", "gradient"), STEPS * second)
    assert macs["5:fully_connected"] == dict.fromkeys(("forward", "error", "gradient"), STEPS * head)
    assert macs["3:global_average_pool"] == {}


def test_memory_is_that_of_the_elf_and_the_device(mini_batch: Taken) -> None:
    profile, _ = mini_batch
    firmware = load_firmware(load_models()["nrf52840"])
    memory = profile.memory
    assert sum(s.flash_bytes for s in memory.sections) == firmware.flash_bytes
    assert memory.arena_bytes == firmware.arena_bytes
    assert 0 < memory.arena_peak_bytes <= memory.arena_bytes
    assert 0 < memory.stack_peak_bytes < memory.stack_bytes
    symbols = {s.name: s for s in memory.symbols}
    assert symbols["fqt_forward"].flash_bytes > 0 == symbols["fqt_forward"].ram_bytes
    assert symbols["net"].ram_bytes > 0 == symbols["net"].flash_bytes
    sections = {s.name: s for s in memory.sections}
    assert sections[".stack"].ram_bytes == memory.stack_bytes


def test_every_block_lies_in_the_function_that_it_is_said_to(mini_batch: Taken) -> None:
    profile, firmware = mini_batch
    for block in profile.blocks:
        function = firmware.function_at(block.address)
        assert function is not None
        assert function.name == block.function
        assert block.address + block.size <= function.end


def test_folded_stacks_are_lines_of_frames_and_cycles(mini_batch: Taken) -> None:
    lines = folded(mini_batch[0].stacks).splitlines()
    counts = [int(line.rpartition(" ")[2]) for line in lines]
    assert sum(counts) == mini_batch[0].cycles - mini_batch[0].asleep_cycles
    assert any(";fqt_forward;1:conv2d forward;fqt_convolution_forward" in line for line in lines)
