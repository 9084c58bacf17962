"""From a trace to a profile: every cell of the trace is counted once in layers, functions, blocks and stacks each."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fqtbench.bench.profiler import Trace
from fqtbench.errors import ResultError
from fqtbench.profile.engine import PHASE_OF, Phase
from fqtbench.profile.model import BlockCost, Cost, FunctionCost, LayerCost, PhaseName, Stack
from fqtbench.profile.symbols import FirmwareMap
from fqtbench.training.network import Layer

UNKNOWN: Final = "?"  # code of no function
_PHASES: Final = {int(phase): phase for phase in Phase}
_NOTHING: Final = Cost()


@dataclass(frozen=True)
class Place:
    """Where a node of the call tree is: its frames, function addresses on the way, and layer and phase, if any."""

    frames: tuple[str, ...] = ()
    functions: frozenset[int] = frozenset()
    layer: int | None = None
    phase: Phase | None = None


@dataclass(frozen=True)
class Breakdown:
    """The same cycles, broken down in four ways; see `Profile`."""

    layers: tuple[LayerCost, ...]
    rest: dict[PhaseName, Cost]
    outside: Cost
    functions: tuple[FunctionCost, ...]
    blocks: tuple[BlockCost, ...]
    stacks: tuple[Stack, ...]


def break_down(
    trace: Trace, firmware: FirmwareMap, layers: Sequence[Layer], macs: Sequence[dict[PhaseName, int]]
) -> Breakdown:
    """Attribute a trace's cells; `layers` in the image's order, `macs` of each by phase.

    Raises ResultError if the trace is inconsistent.
    """
    _check(trace)
    places = _places(trace, firmware, [layer.name for layer in layers])
    by_place = _by_layer_and_phase(trace, places)
    per_layer = tuple(
        LayerCost(
            name=layer.name,
            type=layer.type.name.lower(),
            phases=_phases(by_place, number),
            macs=macs[number],
        )
        for number, layer in enumerate(layers)
    )
    return Breakdown(
        per_layer,
        _phases(by_place, None),
        by_place.get((None, None), _NOTHING),
        _functions(trace, firmware, places),
        _blocks(trace, firmware),
        _stacks(trace, places),
    )


def _check(trace: Trace) -> None:
    """A tree in order, cells of its nodes, and all cycles there."""
    ordered = all(0 <= node[0] < number for number, node in enumerate(trace.nodes) if number)
    if not trace.nodes or not ordered or not all(0 <= cell[0] < len(trace.nodes) for cell in trace.cells):
        raise ResultError("the profiler's calls make no tree; profile again")
    counted = sum(cell[4] for cell in trace.cells) + trace.outside_cycles
    if counted != trace.cycles:
        raise ResultError(f"the profiler counted {counted} of {trace.cycles} cycles; profile again")


def _places(trace: Trace, firmware: FirmwareMap, layer_names: Sequence[str]) -> list[Place]:
    names = {f.begin: f.name for f in firmware.functions}
    places = [Place()]
    for parent, function, section, element, _ in trace.nodes[1:]:
        above = places[parent]
        if section:
            phase = _PHASES.get(section)
            layer = element if 0 <= element < len(layer_names) else None
            what = layer_names[layer] if layer is not None else "no layer"
            label = f"{what} {phase.title if phase else UNKNOWN}"
            places.append(Place((*above.frames, label), above.functions, layer, phase))
            continue
        name = names.get(function, UNKNOWN)
        phase = PHASE_OF.get(name, above.phase)
        places.append(Place((*above.frames, name), above.functions | {function}, above.layer, phase))
    return places


def _by_layer_and_phase(trace: Trace, places: Sequence[Place]) -> dict[tuple[int | None, Phase | None], Cost]:
    sums: dict[tuple[int | None, Phase | None], list[int]] = defaultdict(lambda: [0, 0])
    for node, _, _, _, cycles, instructions in trace.cells:
        place = places[node]
        total = sums[place.layer if place.phase else None, place.phase]
        total[0] += cycles
        total[1] += instructions
    return {key: Cost(cycles=c, instructions=n) for key, (c, n) in sums.items()}


def _phases(costs: dict[tuple[int | None, Phase | None], Cost], layer: int | None) -> dict[PhaseName, Cost]:
    return {p.key: costs[layer, p] for p in Phase if (layer, p) in costs}


def _functions(trace: Trace, firmware: FirmwareMap, places: Sequence[Place]) -> tuple[FunctionCost, ...]:
    own: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    total: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    names: dict[int, str] = {}
    for node, address, _, _, cycles, instructions in trace.cells:
        function = firmware.function_at(address)
        begin = function.begin if function else 0
        names[begin] = function.name if function else UNKNOWN
        sums = own[begin]
        sums[0] += cycles
        sums[1] += instructions
        for above in places[node].functions | {begin}:
            total[above][0] += cycles
            total[above][1] += instructions
    calls: dict[int, int] = defaultdict(int)
    for _, begin, _, _, n in trace.nodes:
        calls[begin] += n
    costs = [
        FunctionCost(
            name=names[begin],
            address=begin,
            calls=calls[begin],
            own=Cost(cycles=cycles, instructions=instructions),
            total=Cost(cycles=total[begin][0], instructions=total[begin][1]),
        )
        for begin, (cycles, instructions) in own.items()
    ]
    return tuple(sorted(costs, key=lambda f: (-f.own.cycles, f.address)))


def _blocks(trace: Trace, firmware: FirmwareMap) -> tuple[BlockCost, ...]:
    sums: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    for _, address, size, executions, cycles, instructions in trace.cells:
        row = sums[address, size]
        row[0] += executions
        row[1] += cycles
        row[2] += instructions
    return tuple(
        BlockCost(
            address=address,
            size=size,
            function=_name(firmware, address),
            executions=executions,
            cycles=cycles,
            instructions=instructions // executions,
        )
        for (address, size), (executions, cycles, instructions) in sorted(sums.items())
    )


def _name(firmware: FirmwareMap, address: int) -> str:
    function = firmware.function_at(address)
    return function.name if function else UNKNOWN


def _stacks(trace: Trace, places: Sequence[Place]) -> tuple[Stack, ...]:
    sums: dict[tuple[tuple[str, ...], Phase | None], int] = defaultdict(int)
    for node, _, _, _, cycles, _ in trace.cells:
        sums[places[node].frames, places[node].phase] += cycles
    return tuple(
        Stack(frames=frames, phase=phase.key if phase else None, cycles=cycles)
        for (frames, phase), cycles in sorted(sums.items(), key=lambda item: item[0][0])
    )
