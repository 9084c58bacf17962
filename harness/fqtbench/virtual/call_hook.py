"""A second native hook, which follows calls and returns and counts each block under the calls that led to it.

It sees exactly the blocks that the first hook (block_hook.py) has counted, and charges what that one added to the time.
Nothing in the firmware takes part: a jump to the first instruction of a function is a call if LR says so, else a tail
call; a block at the return address of the innermost call is a return.

Beside functions the tree has *sections*: a function that works through a list, one element at a time, is cut into parts
by the functions that it calls for each element, the markers, whose argument tells the element.
"""

import ctypes
from typing import Any, Final

from llvmlite import ir
from numba import carray, cfunc, extending, njit, types
from unicorn import arm_const as arm
from unicorn.unicorn_py3 import unicorn as unicorn_binding

from fqtbench.virtual import block_hook as blocks

# Header of the table, int64 each. *_AT are indices into the table itself.
COUNTS_ADDRESS, SCRATCH_ADDRESS, LAST_NOW, LAST_OUTSIDE, PREVIOUS_END, DEPTH, N_NODES, N_CELLS = range(8)
FULL, OUTSIDE_CYCLES, SCRATCH, OWNERS_AT, MARKERS_AT, STACK_AT, NODES_AT, CELLS_AT = range(8, 16)
STRAYS = 16
HEADER: Final = 20

# A function's row in MARKERS; functions are numbered from 1, 0 is code of no known function.
# CUTS: the section of those whose marker has none, 0 of a function that isn't cut.
START, CUTS, REGISTER, BASE, STRIDE, SECTION = range(6)
MARKER_FIELDS: Final = 6
NO_MARKER, KEEPS = -2, -1  # of REGISTER: not a marker; one without an argument, the element stays

# A frame of the call stack.
RETURN, FUNCTION, WHOLE, NODE, ELEMENT = range(5)
FRAME_FIELDS: Final = 5
MAX_DEPTH: Final = 64

# A node of the tree: a function called by its parent, or, with function 0 and section > 0, a section of it.
PARENT, NODE_FUNCTION, NODE_SECTION, NODE_ELEMENT, CALLS, CHILD, SIBLING = range(7)
NODE_FIELDS: Final = 7
MAX_NODES: Final = 16_384

# A block under a node: a slot of a hash table. KEY is 0 where it is free.
KEY, CELL_NODE, ADDRESS, SIZE, EXECUTIONS, CYCLES, INSTRUCTIONS = range(7)
CELL_FIELDS: Final = 7
CELL_SLOTS: Final = 1 << 17
_MAX_CELLS: Final = CELL_SLOTS * 3 // 4

NO_ELEMENT: Final = -1
_UNBOUNDED: Final = 1 << 40
_HASH: Final = 0x9E3779B1
_R0, _LR = int(arm.UC_ARM_REG_R0), int(arm.UC_ARM_REG_LR)

# The value's address is passed as an integer: it lies in the table.
_reg_read = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64)(
    ctypes.cast(unicorn_binding.uclib.uc_reg_read, ctypes.c_void_p).value or 0
)


@extending.intrinsic  # type: ignore[untyped-decorator]
def _pointer(_: Any, address: Any) -> Any:
    """Return the int64 pointer to an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(types.int64), generate


@njit  # type: ignore[untyped-decorator]
def _register(engine: Any, t: Any, number: int) -> int:
    t[SCRATCH] = 0
    _reg_read(engine, number, types.uint64(t[SCRATCH_ADDRESS]))
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


@njit  # type: ignore[untyped-decorator]
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
    if t[N_CELLS] >= _MAX_CELLS:
        t[FULL] = 1
        return -1
    t[N_CELLS] += 1
    t[row + KEY], t[row + CELL_NODE], t[row + ADDRESS], t[row + SIZE] = key, node, address, size
    return row  # type: ignore[no-any-return]


@cfunc(types.void(types.voidptr, types.uint64, types.uint32, types.CPointer(types.int64)))  # type: ignore[untyped-decorator]
def on_call(engine: Any, address: int, size: int, table: Any) -> None:
    t = carray(table, (_UNBOUNDED,))
    counts = carray(_pointer(t[COUNTS_ADDRESS]), (_UNBOUNDED,))
    if counts[blocks.PAUSED] != 0 or t[FULL] != 0:
        return
    a = types.int64(address)
    counted = types.int64(blocks.row_of(counts, types.uint64(address)))
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
