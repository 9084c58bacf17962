"""Promise: who called whom is found without the program's help, and each cycle is counted once, where it was spent."""

import pytest
from benchmarks.inline_board import inline_board, samples

from fqtbench.virtual.calltree import CallTree, Marker, Node, Watch
from fqtbench.virtual.chips.nrf52840.chip import Nrf52840
from tests.virtual.chips import chip_with, run_to_sleep
from tests.virtual.programs import CALLS, EVENTS, LOOPS

MAIN, WORK, OUTER, TAIL, OTHER, END = 0x100, 0x118, 0x120, 0x128, 0x12A, 0x12E
FUNCTIONS = ((MAIN, WORK), (WORK, OUTER), (OUTER, TAIL), (TAIL, OTHER), (OTHER, END))
NOBODY = Watch((), (), ())


def _tree(chip: Nrf52840, watch: Watch) -> CallTree:
    tree = CallTree(chip.cpu, chip.memory, watch)
    run_to_sleep(chip)
    tree.close()
    return tree


def _path(nodes: list[Node], number: int) -> tuple[int, ...]:
    return (*_path(nodes, nodes[number].parent), nodes[number].function) if number else ()


def test_calls_tail_calls_and_loops_are_told_apart() -> None:
    tree = _tree(chip_with(CALLS), Watch(FUNCTIONS, (), ()))
    nodes = tree.nodes()
    assert {_path(nodes, i): node.calls for i, node in enumerate(nodes) if i} == {
        (MAIN,): 1,
        (MAIN, WORK): 3,
        (MAIN, OUTER): 3,
        (MAIN, OUTER, TAIL): 3,
        (MAIN, OUTER, OTHER): 3,
    }
    assert tree.strays == 0
    work = [cell for cell in tree.cells() if nodes[cell.node].function == WORK and cell.address == WORK]
    assert [cell.executions for cell in work] == [1 + 2 + 3]


def test_markers_cut_a_function_by_their_argument() -> None:
    marker = Marker(function=WORK, section=0, argument=1, base=0, stride=1)
    tree = _tree(chip_with(CALLS), Watch(FUNCTIONS, ((MAIN, 7),), (marker,)))
    nodes = tree.nodes()
    sections = {i: node for i, node in enumerate(nodes) if node.section}
    assert [(node.section, node.element) for node in sections.values()] == [(7, 0), (7, 1), (7, 2)]
    turns = {
        nodes[nodes[cell.node].parent].element: cell.executions
        for cell in tree.cells()
        if cell.address == WORK
    }
    assert turns == {0: 1, 1: 2, 2: 3}
    others = [nodes[node.parent].element for node in nodes if node.function == OUTER]
    assert sorted(others) == [0, 1, 2], "what is called later belongs to the section too"


def test_a_marker_counts_too_where_a_jump_leads_to_it() -> None:
    marker = Marker(function=OTHER, section=3, argument=None)
    tree = _tree(chip_with(CALLS), Watch(FUNCTIONS, ((OUTER, 7),), (marker,)))
    nodes = tree.nodes()
    (other,) = [node for node in nodes if node.function == OTHER]
    section = nodes[other.parent]
    assert (section.section, section.element) == (3, -1)
    assert nodes[section.parent].function == OUTER


@pytest.mark.parametrize("program", [LOOPS, CALLS, EVENTS], ids=["loops", "calls", "events"])
def test_cycles_add_up_with_those_asleep(program: object) -> None:
    chip = chip_with(program)  # type: ignore[arg-type]
    before = chip.now
    tree = _tree(chip, NOBODY)
    counted = sum(cell.cycles for cell in tree.cells())
    assert counted > 0
    assert counted + tree.outside_cycles == tree.cycles == chip.now - before
    assert sum(cell.instructions for cell in tree.cells()) == chip.cpu.instructions


def test_following_changes_no_count() -> None:
    alone = run_to_sleep(chip_with(LOOPS))
    chip = chip_with(LOOPS)
    tree = CallTree(chip.cpu, chip.memory, NOBODY)
    assert run_to_sleep(chip) == alone
    tree.close()


def test_blocks_of_a_training_are_those_that_the_cpu_counts() -> None:
    with inline_board() as (chip, device):
        next(device.train(samples(1)))
        _settle(chip)
        before = {b.address: (b.executions, b.jumps) for b in chip.cpu.block_counts()}
        tree = CallTree(chip.cpu, chip.memory, NOBODY)
        list(device.train(samples(2)))
        _settle(chip)
        tree.close()
        after = chip.cpu.block_counts()
    expected = {}
    for block in after:
        executions, jumps = before.get(block.address, (0, 0))
        cycles = (block.executions - executions) * block.cycles + 2 * (block.jumps - jumps)
        if block.executions > executions:
            expected[block.address, block.size] = block.executions - executions, cycles
    assert {(c.address, c.size): (c.executions, c.cycles) for c in tree.cells()} == expected


def _settle(chip: Nrf52840) -> None:
    """Wait until the chip waits for the host."""
    while chip.runnable:
        pass


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"functions": [[4, 2]], "cut": [], "markers": []},
        {"functions": [[0, 4]], "cut": [[8, 1]], "markers": []},
        {"functions": [[0, 4]], "cut": [[0, 0]], "markers": []},
        {"functions": [[0, 4]], "cut": [], "markers": [{"function": 0, "section": 1, "argument": 9}]},
        {"functions": [[0, 4]], "cut": [], "markers": [{"function": 8, "section": 1, "argument": 1}]},
        {"functions": [["x", 4]], "cut": [], "markers": []},
    ],
)
def test_a_senseless_watch_is_refused(data: object) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        Watch.parse(data)
