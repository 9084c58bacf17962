"""The second native hook, which follows calls and returns (call_hook.py): source code for Numba (native.py)."""

from typing import Any, Final

from llvmlite import ir
from numba import cfunc, extending, njit, types
from unicorn import arm_const as arm

from fqtbench.virtual import block_hook as blocks
from fqtbench.virtual.block_code import SIGNATURE, pointer, row_of
from fqtbench.virtual.call_hook import (
    ADDRESS,
    BASE,
    CALLS,
    CELL_FIELDS,
    CELL_NODE,
    CELL_SLOTS,
    CELLS_AT,
    CHILD,
    COUNTS_ADDRESS,
    CUTS,
    CYCLES,
    DEPTH,
    ELEMENT,
    EXECUTIONS,
    FRAME_FIELDS,
    FULL,
    FUNCTION,
    INSTRUCTIONS,
    KEEPS,
    KEY,
    LAST_NOW,
    LAST_OUTSIDE,
    MARKER_FIELDS,
    MARKERS_AT,
    MAX_CELLS,
    MAX_DEPTH,
    MAX_NODES,
    N_CELLS,
    N_NODES,
    NO_ELEMENT,
    NO_MARKER,
    NODE,
    NODE_ELEMENT,
    NODE_FIELDS,
    NODE_FUNCTION,
    NODE_SECTION,
    NODES_AT,
    OUTSIDE_CYCLES,
    OWNERS_AT,
    PARENT,
    PREVIOUS_END,
    READ_FUNCTION,
    REGISTER,
    RETURN,
    SCRATCH,
    SCRATCH_ADDRESS,
    SECTION,
    SIBLING,
    SIZE,
    STACK_AT,
    START,
    STRAYS,
    STRIDE,
    WHOLE,
)

_HASH: Final = 0x9E3779B1
_R0, _LR = int(arm.UC_ARM_REG_R0), int(arm.UC_ARM_REG_LR)


@extending.intrinsic  # type: ignore[untyped-decorator]
def _read(_: Any, function: Any, engine: Any, number: Any, value: Any) -> Any:
    """Call int function(void *engine, int number, void *value) at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[3], arguments[1].type)
        called = ir.FunctionType(ir.IntType(32), [arguments[1].type, ir.IntType(32), place.type])
        pointer = builder.inttoptr(arguments[0], called.as_pointer())
        return builder.call(pointer, [arguments[1], arguments[2], place])

    return types.int32(types.int64, types.voidptr, types.int32, types.int64), generate


@njit  # type: ignore[untyped-decorator]
def _register(engine: Any, t: Any, number: int) -> int:
    t[SCRATCH] = 0
    _read(t[READ_FUNCTION], engine, types.int32(number), t[SCRATCH_ADDRESS])
    return t[SCRATCH] & 0xFFFFFFFF  # type: ignore[no-any-return]


@njit  # type: ignore[untyped-decorator]
def _child(t: Any, parent: int, function: int, section: int, element: int) -> int:
    """Return the node below `parent` with these three, made if need be."""
    nodes = t[NODES_AT]
    node = t[nodes + parent * NODE_FIELDS + CHILD]
    while node != 0:
        row = nodes + node * NODE_FIELDS
        if (
            t[row + NODE_FUNCTION] == function
            and t[row + NODE_SECTION] == section
            and t[row + NODE_ELEMENT] == element
        ):
            return node  # type: ignore[no-any-return]
        node = t[row + SIBLING]
    node = t[N_NODES]
    if node >= MAX_NODES:
        t[FULL] = 1
        return parent
    t[N_NODES] = node + 1
    row = nodes + node * NODE_FIELDS
    t[row + PARENT], t[row + NODE_FUNCTION] = parent, function
    t[row + NODE_SECTION], t[row + NODE_ELEMENT] = section, element
    t[row + SIBLING] = t[nodes + parent * NODE_FIELDS + CHILD]
    t[nodes + parent * NODE_FIELDS + CHILD] = node
    return node  # type: ignore[no-any-return]


@njit  # type: ignore[untyped-decorator]
def _enter(t: Any, depth: int, function: int) -> None:
    """Let frame `depth` be one of `function`, called by the frame below it."""
    frame = t[STACK_AT] + depth * FRAME_FIELDS
    caller = t[frame - FRAME_FIELDS + NODE] if depth > 0 else 0
    node = _child(t, caller, function, 0, NO_ELEMENT)
    t[frame + FUNCTION], t[frame + ELEMENT] = function, NO_ELEMENT
    t[frame + WHOLE] = t[frame + NODE] = node
    t[t[NODES_AT] + node * NODE_FIELDS + CALLS] += 1


@njit(error_model="numpy")  # type: ignore[untyped-decorator]  # a division that can't raise
def _mark(engine: Any, t: Any, frame: int, function: int) -> None:
    """Let the calling frame begin a section, if `function` is one that tells."""
    marker = t[MARKERS_AT] + function * MARKER_FIELDS
    caller = t[MARKERS_AT] + t[frame + FUNCTION] * MARKER_FIELDS
    if t[marker + REGISTER] == NO_MARKER or t[caller + CUTS] == 0:
        return
    section = t[marker + SECTION] if t[marker + SECTION] > 0 else t[caller + CUTS]
    element = t[frame + ELEMENT]
    if t[marker + REGISTER] != KEEPS:
        value = _register(engine, t, _R0 + t[marker + REGISTER])
        element = NO_ELEMENT
        if t[marker + STRIDE] > 0:
            element = (value - t[marker + BASE]) // t[marker + STRIDE]
    t[frame + ELEMENT] = element
    t[frame + NODE] = _child(t, t[frame + WHOLE], 0, section, element)


@njit  # type: ignore[untyped-decorator]
def _depth_returned_to(t: Any, address: int) -> int:
    """Return the depth of the frame that goes on at `address`; -1 if none does."""
    for depth in range(t[DEPTH], 0, -1):
        if t[t[STACK_AT] + depth * FRAME_FIELDS + RETURN] == address:
            return depth - 1
    return -1


@njit  # type: ignore[untyped-decorator]
def _follow(engine: Any, t: Any, address: int, function: int) -> None:
    """Bring the call stack up to date: a block of `function` begins at `address`."""
    frame = t[STACK_AT] + t[DEPTH] * FRAME_FIELDS
    if t[DEPTH] > 0 and t[frame + RETURN] == address:
        t[DEPTH] -= 1
        frame -= FRAME_FIELDS
    elif address == t[t[MARKERS_AT] + function * MARKER_FIELDS + START]:
        if (_register(engine, t, _LR) & ~1) == t[PREVIOUS_END] and t[DEPTH] + 1 < MAX_DEPTH:
            _mark(engine, t, frame, function)
            t[DEPTH] += 1
            t[frame + FRAME_FIELDS + RETURN] = t[PREVIOUS_END]
        elif t[frame + FUNCTION] == function:
            return  # a loop back to its first instruction
        elif t[DEPTH] > 0:
            _mark(
                engine, t, frame - FRAME_FIELDS, function
            )  # as if the caller had called it: perhaps by a veneer
        _enter(t, t[DEPTH], function)
        return
    if t[frame + FUNCTION] == function:
        return
    depth = _depth_returned_to(t, address)
    if depth < 0 and t[DEPTH] > 0 and t[frame - FRAME_FIELDS + FUNCTION] == function:
        depth = t[DEPTH] - 1  # back by another address, as the compiler's helpers for switches do
    if depth >= 0:
        t[DEPTH] = depth
        frame = t[STACK_AT] + depth * FRAME_FIELDS
    if t[frame + FUNCTION] != function:
        t[STRAYS] += 1
        _enter(t, t[DEPTH], function)


@njit  # type: ignore[untyped-decorator]
def _cell(t: Any, node: int, address: int, size: int) -> int:
    """Return the index of the row that counts this block under this node; -1 if the table is full."""
    key = (node << 32 | address) + 1
    slot = (key ^ key >> 29) * _HASH & (CELL_SLOTS - 1)
    while True:
        row = t[CELLS_AT] + slot * CELL_FIELDS
        if t[row + KEY] == key and t[row + SIZE] == size:
            return row  # type: ignore[no-any-return]
        if t[row + KEY] == 0:
            break
        slot = (slot + 1) & (CELL_SLOTS - 1)
    if t[N_CELLS] >= MAX_CELLS:
        t[FULL] = 1
        return -1
    t[N_CELLS] += 1
    t[row + KEY], t[row + CELL_NODE], t[row + ADDRESS], t[row + SIZE] = key, node, address, size
    return row  # type: ignore[no-any-return]


@cfunc(SIGNATURE)  # type: ignore[untyped-decorator]
def hook(engine: Any, address: int, size: int, t: Any) -> None:
    counts = pointer(t[COUNTS_ADDRESS])
    if counts[blocks.PAUSED] != 0 or t[FULL] != 0:
        return
    a = types.int64(address)
    counted = types.int64(row_of(counts, types.uint64(address)))
    function = t[t[OWNERS_AT] + (counted - blocks.ROWS) // blocks.FIELDS]
    _follow(engine, t, a, function)
    outside = counts[blocks.OUTSIDE] - t[LAST_OUTSIDE]
    t[OUTSIDE_CYCLES] += outside
    row = _cell(t, t[t[STACK_AT] + t[DEPTH] * FRAME_FIELDS + NODE], a, types.int64(size))
    if row >= 0:
        t[row + EXECUTIONS] += 1
        t[row + CYCLES] += counts[blocks.NOW] - t[LAST_NOW] - outside
        t[row + INSTRUCTIONS] += counts[counted + 1]
    t[LAST_NOW], t[LAST_OUTSIDE] = counts[blocks.NOW], counts[blocks.OUTSIDE]
    t[PREVIOUS_END] = a + types.int64(size)
