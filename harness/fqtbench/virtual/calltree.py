"""What ran, and who called it: a tree of calls with the blocks, executions and cycles below each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fqtbench.virtual import block_hook as blocks
from fqtbench.virtual import call_hook as hook
from fqtbench.virtual import native
from fqtbench.virtual.cpu import Cpu
from fqtbench.virtual.memory import PAGE_BITS, CodeMemory

ROOT: Final = 0
_MAX_FUNCTIONS: Final = 65_536


@dataclass(frozen=True)
class Marker:
    """A function whose call begins a section of a function that is cut: `section`, or with 0 the caller's own.

    The section's element is (argument number `argument` - `base`) // `stride`; with `argument` None it stays what
    it was, with `stride` 0 it is none.
    """

    function: int  # address
    section: int
    argument: int | None  # 0 to 3: in r0 to r3
    base: int = 0
    stride: int = 1


@dataclass(frozen=True)
class Watch:
    """What to follow: functions as (first address, end); those that are cut, with their section; the markers."""

    functions: tuple[tuple[int, int], ...]
    cut: tuple[tuple[int, int], ...]
    markers: tuple[Marker, ...]

    @classmethod
    def parse(cls, data: Any) -> Self:
        """Read it from JSON; ValueError, TypeError or KeyError where it makes no sense."""
        functions = tuple((int(begin), int(end)) for begin, end in data["functions"])
        if len(functions) > _MAX_FUNCTIONS or any(begin >= end for begin, end in functions):
            raise ValueError("functions must be pairs of addresses, ascending, not too many")
        markers = tuple(Marker(**marker) for marker in data["markers"])
        for marker in markers:
            numbers = (marker.base, marker.stride, marker.section)
            if marker.argument not in (None, 0, 1, 2, 3) or not all(0 <= n < 1 << 32 for n in numbers):
                raise ValueError(f"marker at 0x{marker.function:x} makes no sense")
        cut = tuple((int(address), int(section)) for address, section in data["cut"])
        if any(not 0 < section < 1 << 32 for _, section in cut):
            raise ValueError("sections are numbered from 1")
        strange = {a for a, _ in cut}.union(m.function for m in markers) - {begin for begin, _ in functions}
        if strange:
            raise ValueError(f"no function begins at 0x{min(strange):x}")
        return cls(functions, cut, markers)


class Node(NamedTuple):
    """Calls (`function`: its first address, 0 unknown code) or a section (`section` > 0) below `parent`."""

    parent: int
    function: int
    section: int
    element: int
    calls: int


class Cell(NamedTuple):
    """What the block at `address` did below node number `node`."""

    node: int
    address: int
    size: int
    executions: int
    cycles: int
    instructions: int


class CallTree:
    """Follows the calls on `cpu` from its making until `close`. The CPU must not run during either."""

    def __init__(self, cpu: Cpu, memory: CodeMemory, watch: Watch) -> None:
        self._cpu = cpu
        self._watch = watch
        n_halfwords = memory.n_rows()
        n_functions = len(watch.functions) + 1
        parts = (
            (hook.OWNERS_AT, n_halfwords),
            (hook.MARKERS_AT, n_functions * hook.MARKER_FIELDS),
            (hook.STACK_AT, hook.MAX_DEPTH * hook.FRAME_FIELDS),
            (hook.NODES_AT, hook.MAX_NODES * hook.NODE_FIELDS),
            (hook.CELLS_AT, hook.CELL_SLOTS * hook.CELL_FIELDS),
        )
        table = np.zeros(hook.HEADER + sum(n for _, n in parts), np.int64)
        at = hook.HEADER
        for field, n in parts:
            table[field] = at
            at += n
        self._table = table
        self._fill_functions(memory, n_halfwords, n_functions)
        table[hook.COUNTS_ADDRESS] = cpu.table.ctypes.data
        table[hook.READ_FUNCTION] = blocks.function_address("uc_reg_read")
        table[hook.SCRATCH_ADDRESS] = table.ctypes.data + 8 * hook.SCRATCH
        table[hook.N_NODES] = 1  # the root
        table[hook.LAST_NOW], table[hook.LAST_OUTSIDE] = cpu.table[blocks.NOW], cpu.table[blocks.OUTSIDE]
        table[hook.PREVIOUS_END] = cpu.table[blocks.PREVIOUS_END]
        self.began = int(cpu.table[blocks.NOW])
        self._outside = int(cpu.table[blocks.OUTSIDE])
        self._handle: int | None = blocks.install(cpu.engine, table, native.address(native.CALLS))

    def _fill_functions(self, memory: CodeMemory, n_halfwords: int, n_functions: int) -> None:
        pages = memory.pages()
        owners = self._part(hook.OWNERS_AT, n_halfwords, 1)[:, 0]
        rows = self._part(hook.MARKERS_AT, n_functions, hook.MARKER_FIELDS)
        rows[:, hook.START] = -1
        rows[:, hook.REGISTER] = hook.NO_MARKER
        numbers = {begin: n for n, (begin, _) in enumerate(self._watch.functions, 1)}
        for number, (begin, end) in enumerate(self._watch.functions, 1):
            row = pages.get(begin >> PAGE_BITS, 0) + (begin % (1 << PAGE_BITS) >> 1)
            owners[row : row + (end - begin + 1 >> 1)] = number
            rows[number, hook.START] = begin
        for address, section in self._watch.cut:
            rows[numbers[address], hook.CUTS] = section
        for marker in self._watch.markers:
            register = hook.KEEPS if marker.argument is None else marker.argument
            rows[numbers[marker.function], hook.REGISTER :] = (
                register,
                marker.base,
                marker.stride,
                marker.section,
            )

    def _part(self, field: int, n: int, width: int) -> NDArray[np.int64]:
        begin = int(self._table[field])
        return self._table[begin : begin + n * width].reshape(n, width)

    @property
    def full(self) -> bool:
        """Whether there was more than the tables hold: then what was counted is not all."""
        return bool(self._table[hook.FULL])

    @property
    def cycles(self) -> int:
        """Cycles that have passed since the beginning."""
        return int(self._cpu.table[blocks.NOW]) - self.began

    @property
    def outside_cycles(self) -> int:
        """Those of them that no block took: asleep, or entering and leaving exceptions."""
        return int(self._cpu.table[blocks.OUTSIDE]) - self._outside

    @property
    def strays(self) -> int:
        """Jumps from one function into the middle of another that no call explains."""
        return int(self._table[hook.STRAYS])

    def close(self) -> None:
        """Stop following."""
        if self._handle is not None:
            blocks.remove(self._cpu.engine, self._handle)
            self._handle = None

    def nodes(self) -> list[Node]:
        """Return the tree; a node's number is its index, and greater than its parent's."""
        rows = self._part(hook.NODES_AT, int(self._table[hook.N_NODES]), hook.NODE_FIELDS).tolist()
        starts: Sequence[int] = (0, *(begin for begin, _ in self._watch.functions))
        return [
            Node(
                r[hook.PARENT],
                starts[r[hook.NODE_FUNCTION]],
                r[hook.NODE_SECTION],
                r[hook.NODE_ELEMENT],
                r[hook.CALLS],
            )
            for r in rows
        ]

    def cells(self) -> list[Cell]:
        """Return what ran, by node and address."""
        rows = self._part(hook.CELLS_AT, hook.CELL_SLOTS, hook.CELL_FIELDS)
        used = rows[rows[:, hook.KEY] != 0][:, hook.CELL_NODE :]
        return sorted(Cell(*row) for row in used.tolist())
