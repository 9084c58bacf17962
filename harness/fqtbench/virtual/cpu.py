"""A Cortex-M core on Unicorn that counts instructions and cycles of every basic block it runs.

A native hook, called at the start of each block, first compares the time with the deadline and stops there if it is
reached: *before* counting, so totals don't depend on where the CPU was stopped. Otherwise it adds the block's price
and goes on. A block without a price stops the CPU once; Python decodes and prices it, and it never stops again.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

import numpy as np
import unicorn
from numba import carray, cfunc, types
from unicorn import arm_const as arm
from unicorn.unicorn_py3 import unicorn as unicorn_binding

Pricer = Callable[[bytes, int], tuple[int, int]]  # code, address -> cycles, instructions

# Layout of the table shared with the native hook: a header of int64, then four int64 a halfword of code.
_NOW, _DEADLINE, _PREVIOUS_END, _INSTRUCTIONS, _STOPPED_AT, _STOPPED_SIZE, _STOPPED, _TAKEN_CYCLES = range(8)
_FLASH_BYTES, _RAM_BASE, _RAM_BYTES, _PAUSED = range(8, 12)
_HEADER: Final = 16
_FIELDS: Final = 4  # cycles, instructions, executions, entries by a jump
_UNBOUNDED: Final = 1 << 40  # shape for carray, which does not check it

_FOREVER: Final = 0xFFFF_FFFE  # end address for emu_start that no code reaches

_CODE_HALT: Final = 7  # Unicorn's number of a BKPT
_CODE_EXCEPTION_RETURN: Final = 8  # of a branch to EXC_RETURN
_CODE_SVC: Final = 2

_library = unicorn_binding.uclib
_emu_stop = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(
    ctypes.cast(_library.uc_emu_stop, ctypes.c_void_p).value or 0
)


@cfunc(types.void(types.voidptr, types.uint64, types.uint32, types.CPointer(types.int64)))  # type: ignore[untyped-decorator]
def _on_block(engine: Any, address: int, size: int, table: Any) -> None:
    t = carray(table, (_UNBOUNDED,))
    if t[_PAUSED] != 0:
        return
    a = types.uint64(address)
    # unsigned, so that an index costs no check for a negative one
    flash_bytes = types.uint64(t[_FLASH_BYTES])
    place = a if a < flash_bytes else flash_bytes + a - types.uint64(t[_RAM_BASE])
    i = types.uint64(_HEADER) + (place >> types.uint64(1)) * types.uint64(_FIELDS)
    now, cycles = t[_NOW], t[i]
    if now >= t[_DEADLINE] or cycles == 0:
        t[_STOPPED_AT] = types.int64(address)
        t[_STOPPED_SIZE] = types.int64(size)
        t[_STOPPED] = 1
        _emu_stop(engine)
        return
    if t[_PREVIOUS_END] != types.int64(a):
        now += t[_TAKEN_CYCLES]
        t[i + types.uint64(3)] += 1
    t[_NOW] = now + cycles
    t[_INSTRUCTIONS] += t[i + types.uint64(1)]
    t[i + types.uint64(2)] += 1
    t[_PREVIOUS_END] = types.int64(a) + types.int64(size)


class Stop(Enum):
    """Why the CPU came back."""

    DEADLINE = auto()
    WAIT = auto()  # WFI or WFE
    BREAKPOINT = auto()
    SUPERVISOR_CALL = auto()
    EXCEPTION_RETURN = auto()
    FAULT = auto()


@dataclass(frozen=True)
class CodeMemory:
    """The two memories that code runs from; flash begins at 0."""

    flash_bytes: int
    ram_base: int
    ram_bytes: int


class Cpu:
    """One core. `price` gives the cycles of a block without a taken branch; a jump costs `taken_cycles` more."""

    def __init__(self, model: int, memory: CodeMemory, price: Pricer, taken_cycles: int) -> None:
        self.engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.engine.ctl_set_cpu_model(model)
        self._price = price
        self._memory = memory
        n_halfwords = (memory.flash_bytes + memory.ram_bytes) // 2
        self._table = np.zeros(_HEADER + _FIELDS * n_halfwords, np.int64)
        self._table[_FLASH_BYTES] = memory.flash_bytes
        self._table[_RAM_BASE], self._table[_RAM_BYTES] = memory.ram_base, memory.ram_bytes
        self._table[_TAKEN_CYCLES] = taken_cycles
        self._blocks = self._table[_HEADER:].reshape(n_halfwords, _FIELDS)
        self._sizes: dict[int, int] = {}
        self._interrupt: int | None = None
        self._breakpoints: list[int] = []
        self._at_breakpoint = False
        self._hook_blocks()
        self.engine.hook_add(unicorn.UC_HOOK_INTR, self._on_interrupt)

    def _hook_blocks(self) -> None:
        handle = ctypes.c_size_t()
        status = _library.uc_hook_add(
            self.engine._uch,
            ctypes.byref(handle),
            ctypes.c_int(unicorn.UC_HOOK_BLOCK),
            ctypes.c_void_p(_on_block.address),
            ctypes.c_void_p(self._table.ctypes.data),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if status != unicorn.UC_ERR_OK:
            raise RuntimeError(f"Unicorn refused the block hook: status {status}")

    # -- time ----------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Cycles since power-on."""
        return int(self._table[_NOW])

    @now.setter
    def now(self, cycles: int) -> None:
        self._table[_NOW] = cycles

    @property
    def instructions(self) -> int:
        """Instructions executed since power-on."""
        return int(self._table[_INSTRUCTIONS])

    def stop_by(self, deadline: int) -> None:
        """Bring the deadline forward; callable while the CPU runs, from a register access."""
        self._table[_DEADLINE] = min(int(self._table[_DEADLINE]), deadline)

    # -- registers -----------------------------------------------------------------------------------------

    @property
    def pc(self) -> int:
        """Address of the next instruction."""
        return int(self.engine.reg_read(arm.UC_ARM_REG_PC)) & ~1

    @pc.setter
    def pc(self, address: int) -> None:
        """Go on at `address`; a jump made from outside costs nothing."""
        self.engine.reg_write(arm.UC_ARM_REG_PC, address | 1)
        self._table[_PREVIOUS_END] = address & ~1

    # -- running -------------------------------------------------------------------------------------------

    def run(self, deadline: int) -> Stop:
        """Run until the first block that begins at or after `deadline`, or until something else stops the core."""
        self._table[_DEADLINE] = deadline
        while True:
            self._table[_STOPPED] = 0
            self._interrupt = None
            try:
                self.engine.emu_start(self.pc | 1, _FOREVER)
            except unicorn.UcError:
                return Stop.FAULT
            if self._at_breakpoint:
                self._at_breakpoint = False
                return Stop.BREAKPOINT
            if self._interrupt is not None:
                return _STOPS.get(self._interrupt, Stop.FAULT)
            if not self._table[_STOPPED]:
                return Stop.WAIT
            if self.now >= int(self._table[_DEADLINE]):
                return Stop.DEADLINE
            self._price_block(int(self._table[_STOPPED_AT]), int(self._table[_STOPPED_SIZE]))

    def step(self) -> Stop:
        """Run one instruction for a debugger: one cycle, not counted in any block."""
        self._table[_PAUSED] = 1
        self._interrupt = None
        self.engine.ctl_flush_tb()  # translations made without the instruction count would ignore it
        try:
            self.engine.emu_start(self.pc | 1, _FOREVER, count=1)
        except unicorn.UcError:
            return Stop.FAULT
        finally:
            self.engine.ctl_flush_tb()
            self._table[_PAUSED] = 0
            self._at_breakpoint = False
            self._table[_PREVIOUS_END] = self.pc
        self.now += 1
        return Stop.DEADLINE if self._interrupt is None else _STOPS.get(self._interrupt, Stop.FAULT)

    def _on_interrupt(self, engine: unicorn.Uc, number: int, _: object) -> None:
        self._interrupt = number
        engine.emu_stop()

    def _price_block(self, address: int, size: int) -> None:
        cycles, instructions = self._price(bytes(self.engine.mem_read(address, size)), address)
        self._blocks[self._index(address), :2] = max(cycles, 1), instructions
        self._sizes[address] = size

    def _index(self, address: int) -> int:
        memory = self._memory
        offset = address if address < memory.flash_bytes else memory.flash_bytes + address - memory.ram_base
        return offset >> 1

    # -- code that changes -----------------------------------------------------------------------------------

    def forget_code(self, address: int, size: int) -> None:
        """Drop prices and translations of code in [address, address + size)."""
        first, last = self._index(address), self._index(address + size - 1)
        self._blocks[first : last + 1, :2] = 0
        self.engine.ctl_remove_cache(address, address + size)

    def set_breakpoints(self, addresses: frozenset[int]) -> None:
        """Stop before the instructions at these addresses."""
        for handle in self._breakpoints:
            self.engine.hook_del(handle)
        self._breakpoints = [
            self.engine.hook_add(unicorn.UC_HOOK_CODE, self._on_breakpoint, begin=a, end=a) for a in addresses
        ]
        self.engine.ctl_flush_tb()

    def _on_breakpoint(self, engine: unicorn.Uc, address: int, size: int, _: object) -> None:
        if not self._table[_PAUSED]:
            self._at_breakpoint = True
            engine.emu_stop()


_STOPS: Final = {
    _CODE_HALT: Stop.BREAKPOINT,
    _CODE_SVC: Stop.SUPERVISOR_CALL,
    _CODE_EXCEPTION_RETURN: Stop.EXCEPTION_RETURN,
}
