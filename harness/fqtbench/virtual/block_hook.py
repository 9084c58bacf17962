"""The native hook that Unicorn calls at the start of each basic block, and the table that it works on.

Header fields are indices into an int64 array. Behind the header stands, for each page of the address space, where its
rows begin; behind that the rows, four int64 for each halfword that code may run from: a block's cycles (0 = no price),
instructions, executions, and executions that began with a taken jump.
OUTSIDE counts the cycles that passed between blocks: asleep, or on the way into an exception and back.
"""

import ctypes
from typing import Any, Final

import numpy as np
import unicorn
from numba import carray, cfunc, njit, types
from numpy.typing import NDArray
from unicorn.unicorn_py3 import unicorn as unicorn_binding

from fqtbench.virtual.memory import PAGE_BITS, CodeMemory

NOW, DEADLINE, PREVIOUS_END, INSTRUCTIONS, STOPPED_AT, STOPPED_SIZE, STOPPED, TAKEN_CYCLES = range(8)
PAUSED, OUTSIDE = range(8, 10)
PAGES: Final = 16
ROWS: Final = PAGES + (1 << 32 - PAGE_BITS)
FIELDS: Final = 4  # cycles, instructions, executions, entries by a jump
_UNBOUNDED: Final = 1 << 40  # shape for carray, which does not check it
_OFFSET: Final = (1 << PAGE_BITS) - 1


_library = unicorn_binding.uclib
_emu_stop = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(
    ctypes.cast(_library.uc_emu_stop, ctypes.c_void_p).value or 0
)


def new_table(memory: CodeMemory) -> NDArray[np.int64]:
    """Return a table without prices for code in `memory`."""
    table = np.zeros(ROWS + FIELDS * memory.n_rows(), np.int64)
    table[PAGES:ROWS] = ROWS
    for page, row in memory.pages().items():
        table[PAGES + page] = ROWS + FIELDS * row
    return table


@njit  # type: ignore[untyped-decorator]
def row_of(t: Any, a: Any) -> Any:
    """Return the index of an address's row; unsigned, so that it costs no check for a negative one."""
    return types.uint64(t[PAGES + (a >> types.uint64(PAGE_BITS))]) + (
        a & types.uint64(_OFFSET & ~1)
    ) * types.uint64(FIELDS // 2)


@cfunc(types.void(types.voidptr, types.uint64, types.uint32, types.CPointer(types.int64)))  # type: ignore[untyped-decorator]
def on_block(engine: Any, address: int, size: int, table: Any) -> None:
    t = carray(table, (_UNBOUNDED,))
    if t[PAUSED] != 0:
        return
    a = types.uint64(address)
    i = row_of(t, a)
    now, cycles = t[NOW], t[i]
    if now >= t[DEADLINE] or cycles == 0:
        t[STOPPED_AT] = types.int64(address)
        t[STOPPED_SIZE] = types.int64(size)
        t[STOPPED] = 1
        _emu_stop(engine)
        return
    if t[PREVIOUS_END] != types.int64(a):
        now += t[TAKEN_CYCLES]
        t[i + types.uint64(3)] += 1
    t[NOW] = now + cycles
    t[i + types.uint64(2)] += 1
    t[PREVIOUS_END] = types.int64(a) + types.int64(size)


def install(engine: unicorn.Uc, table: NDArray[np.int64], callback: int = on_block.address) -> int:
    """Call the native hook at address `callback` for every block that `engine` begins; return its handle.

    `table` must outlive it. Hooks are called in the order in which they were installed; when one stops the CPU, those
    behind it are not called.
    """
    handle = ctypes.c_size_t()
    status = _library.uc_hook_add(
        engine._uch,
        ctypes.byref(handle),
        ctypes.c_int(unicorn.UC_HOOK_BLOCK),
        ctypes.c_void_p(callback),
        ctypes.c_void_p(table.ctypes.data),
        ctypes.c_uint64(1),  # begin > end: everywhere
        ctypes.c_uint64(0),
    )
    if status != unicorn.UC_ERR_OK:
        raise RuntimeError(f"Unicorn refused the block hook: status {status}")
    engine.ctl_flush_tb()  # translations made before would call only the hooks of then
    return int(handle.value)


def remove(engine: unicorn.Uc, handle: int) -> None:
    """Remove a hook by the handle that `install` returned."""
    status = _library.uc_hook_del(engine._uch, ctypes.c_size_t(handle))
    if status != unicorn.UC_ERR_OK:
        raise RuntimeError(f"Unicorn did not remove the block hook: status {status}")
    engine.ctl_flush_tb()
