"""The table that the native hook works on which Unicorn calls at the start of each basic block (block_code.py).

Header fields are indices into an int64 array. Behind the header stands, for each page of the address space, where its
rows begin; behind that the rows, four int64 for each halfword that code may run from: a block's cycles (0 = no price),
instructions, executions, and executions that began with a taken jump.
OUTSIDE counts the cycles that passed between blocks: asleep, or on the way into an exception and back. STOP_FUNCTION
is the address of uc_emu_stop.
"""

import ctypes
from typing import Final

import numpy as np
import unicorn
from numpy.typing import NDArray
from unicorn.unicorn_py3 import unicorn as unicorn_binding

from fqtbench.virtual.memory import PAGE_BITS, CodeMemory

NOW, DEADLINE, PREVIOUS_END, INSTRUCTIONS, STOPPED_AT, STOPPED_SIZE, STOPPED, TAKEN_CYCLES = range(8)
PAUSED, OUTSIDE, STOP_FUNCTION = range(8, 11)
PAGES: Final = 16
ROWS: Final = PAGES + (1 << 32 - PAGE_BITS)
FIELDS: Final = 4  # cycles, instructions, executions, entries by a jump


_library = unicorn_binding.uclib


def function_address(name: str) -> int:
    """Return where a function of Unicorn's library lies; a compiled hook is the same in every process and is told."""
    return ctypes.cast(getattr(_library, name), ctypes.c_void_p).value or 0


def new_table(memory: CodeMemory) -> NDArray[np.int64]:
    """Return a table without prices for code in `memory`."""
    table = np.zeros(ROWS + FIELDS * memory.n_rows(), np.int64)
    table[STOP_FUNCTION] = function_address("uc_emu_stop")
    table[PAGES:ROWS] = ROWS
    for page, row in memory.pages().items():
        table[PAGES + page] = ROWS + FIELDS * row
    return table


def install(engine: unicorn.Uc, table: NDArray[np.int64], callback: int) -> int:
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
