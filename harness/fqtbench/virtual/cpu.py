"""A Cortex-M core on Unicorn that counts instructions and cycles of every basic block it runs.

A native hook, called at the start of each block, first compares the time with the deadline and stops there if it is
reached: *before* counting, so totals don't depend on where the CPU was stopped. Otherwise it adds the block's price
and goes on. A block without a price stops the CPU once; Python decodes and prices it, and it never stops again.

Two kinds of block are treated apart. One that may unmask interrupts (CPS, MSR) never keeps its price, so that the CPU
comes back behind it, wherever slices end. One that a debugger cuts in two, by a breakpoint or by steps, is counted in
parts that add up to the whole.

The time that a register access sees is that of the end of its block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

import numpy as np
import unicorn
from numpy.typing import NDArray
from unicorn import arm_const as arm

from fqtbench.virtual import native
from fqtbench.virtual.block_hook import (
    DEADLINE,
    FIELDS,
    INSTRUCTIONS,
    NOW,
    OUTSIDE,
    PAUSED,
    PREVIOUS_END,
    ROWS,
    STOPPED,
    STOPPED_AT,
    STOPPED_SIZE,
    TAKEN_CYCLES,
    install,
    new_table,
)
from fqtbench.virtual.memory import PAGE_BITS, CodeMemory, Kind
from fqtbench.virtual.timing.model import Timing

_XPSR_IT: Final = 0x0600FC00  # EPSR.ICI/IT (ARMv7-M ARM, B1.4.2)
_FOREVER: Final = 0xFFFF_FFFE  # end address for emu_start that no code reaches

_CODE_HALT: Final = 7  # Unicorn's number of a BKPT
_CODE_EXCEPTION_RETURN: Final = 8  # of a branch to EXC_RETURN
_CODE_SVC: Final = 2
_CODE_PREFETCH_ABORT: Final = 3
_CODE_DATA_ABORT: Final = 4
_WIDE_PREFIX: Final = 0xE800  # first halfword of a 32-bit instruction (ARMv7-M ARM A5.1)

_PAGE_BYTES: Final = 4096  # no block is longer: a translation ends at its page's end
_STEP_WINDOW_BYTES: Final = 32  # code behind a step that its price may depend on
_HINTS: Final = (0xBF10, 0xBF20)  # YIELD, WFE: Unicorn calls them invalid, behind them


class Stop(Enum):
    """Why the CPU came back."""

    DEADLINE = auto()
    WAIT = auto()  # WFI or WFE
    BREAKPOINT = auto()
    SUPERVISOR_CALL = auto()
    EXCEPTION_RETURN = auto()
    FAULT = auto()


class Refusal(Enum):
    """What the core could not do."""

    LOAD_STORE = auto()
    FETCH = auto()
    UNDEFINED = auto()


@dataclass(frozen=True)
class Fault:
    """Why the CPU stopped with `Stop.FAULT`; `address` is that of a load, a store or a fetch."""

    refusal: Refusal
    address: int


@dataclass(frozen=True)
class BlockCount:
    """How often a basic block ran: the material of a profile."""

    address: int
    size: int
    cycles: int  # of one execution, without taken jumps
    instructions: int  # of one execution
    executions: int
    jumps: int  # executions that began with a taken jump to the block


class Cpu:
    """One core of Unicorn's `model`, whose blocks cost what `timing` says."""

    def __init__(self, model: int, memory: CodeMemory, timing: Timing) -> None:
        self.engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.engine.ctl_set_cpu_model(model)
        self._price = timing.price
        self._memory = memory
        self._pages = memory.pages()
        self._table = new_table(memory)
        self._table[TAKEN_CYCLES] = timing.taken_cycles
        self._blocks = self._table[ROWS:].reshape(memory.n_rows(), FIELDS)
        self._sizes: dict[int, int] = {}  # bytes of a priced block, by address
        self._interrupt: int | None = None
        self._breakpoints: list[int] = []
        self._at_breakpoint = False
        self._code_pages: set[int] = set()  # addresses of the engine's pages that code was fetched from
        self._ram_code_pages: set[int] = set()
        self._ram_hooks: list[int] = []
        self.fault = Fault(Refusal.UNDEFINED, 0)
        self._on_price: Callable[[int, bytes], None] | None = None
        install(self.engine, self._table, native.address(native.BLOCKS))
        self.engine.hook_add(unicorn.UC_HOOK_INTR, self._on_interrupt)
        for begin, end in memory.outside(Kind.RAM):  # a hook over RAM would make all its stores slow
            self.engine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_refused, begin=begin, end=end)
        self.engine.ctl_set_tlb_mode(unicorn.UC_TLB_VIRTUAL)
        self.engine.hook_add(unicorn.UC_HOOK_TLB_FILL, self._on_page)

    # -- time ----------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Cycles since power-on."""
        return int(self._table[NOW])

    @now.setter
    def now(self, cycles: int) -> None:
        self._table[OUTSIDE] += cycles - self._table[NOW]
        self._table[NOW] = cycles

    @property
    def instructions(self) -> int:
        """Instructions executed since power-on."""
        counted = self._blocks[:, 1] @ self._blocks[:, 2]
        return int(self._table[INSTRUCTIONS] + counted)

    def stop_by(self, deadline: int) -> None:
        """Bring the deadline forward; callable while the CPU runs, from a register access."""
        self._table[DEADLINE] = min(int(self._table[DEADLINE]), deadline)

    # -- registers -----------------------------------------------------------------------------------------

    @property
    def pc(self) -> int:
        """Address of the next instruction."""
        return int(self.engine.reg_read(arm.UC_ARM_REG_PC)) & ~1

    @pc.setter
    def pc(self, address: int) -> None:
        """Go on at `address`; a jump made from outside costs nothing."""
        self.engine.reg_write(arm.UC_ARM_REG_PC, address | 1)
        self._table[PREVIOUS_END] = address & ~1

    # -- running -------------------------------------------------------------------------------------------

    def run(self, deadline: int) -> Stop:
        """Run until the first block that begins at or after `deadline`, or until something else stops the core.

        `Stop.DEADLINE` may come early: behind a block that may unmask interrupts, and after `stop_by`.
        """
        self._table[DEADLINE] = deadline
        while True:
            self._table[STOPPED] = 0
            stop = self._emulate()
            if stop is not None:
                return stop
            if not self._table[STOPPED]:
                return Stop.WAIT
            if self.now >= int(self._table[DEADLINE]):
                return Stop.DEADLINE
            address, size = int(self._table[STOPPED_AT]), int(self._table[STOPPED_SIZE])
            if _may_unmask(self._price_block(address, size)):
                return self._run_alone(address)

    def _run_alone(self, address: int) -> Stop:
        """Run the block at `address`, and come back behind it."""
        self._table[DEADLINE] = self.now + 1
        self._table[STOPPED] = 0
        stop = self._emulate()
        self._blocks[self._index(address), 0] = 0
        if stop is not None:
            return stop
        return Stop.DEADLINE if self._table[STOPPED] else Stop.WAIT

    def _emulate(self, count: int = 0) -> Stop | None:
        """Let Unicorn run; return why it stopped, or None if its own hook or a WFI did it."""
        self._interrupt = None
        self._at_breakpoint = False
        while True:
            try:
                self.engine.emu_start(self.pc | 1, _FOREVER, count=count)
            except unicorn.UcError as error:
                if self._is_behind_hint(error):
                    if count:
                        return None
                    continue
                self._record_fault(error)
                return Stop.FAULT
            break
        if self._at_breakpoint:
            self._uncount(self.pc)
            return Stop.BREAKPOINT
        return None if self._interrupt is None else self._interrupted(self._interrupt)

    def _interrupted(self, number: int) -> Stop:
        stop = _STOPS.get(number, Stop.FAULT)
        if stop in (Stop.FAULT, Stop.BREAKPOINT):
            self.fault = Fault(_REFUSALS.get(number, Refusal.UNDEFINED), self.pc)
            self._uncount(self.pc)
        return stop

    def _is_behind_hint(self, error: unicorn.UcError) -> bool:
        if error.errno != unicorn.UC_ERR_INSN_INVALID:
            return False
        try:
            return int.from_bytes(self.engine.mem_read(self.pc - 2, 2), "little") in _HINTS
        except unicorn.UcError:
            return False

    def _record_fault(self, error: unicorn.UcError) -> None:
        if error.errno in (unicorn.UC_ERR_FETCH_UNMAPPED, unicorn.UC_ERR_FETCH_PROT):
            self.fault = Fault(Refusal.FETCH, self.pc)
        elif error.errno in _LOAD_STORE_ERRORS:
            self.fault = Fault(Refusal.LOAD_STORE, self.fault.address)
        else:
            self.fault = Fault(Refusal.UNDEFINED, self.pc)
        self._uncount(self.pc)

    def _on_refused(self, _: unicorn.Uc, __: int, address: int, ___: int, ____: int, _____: object) -> bool:
        self.fault = Fault(Refusal.LOAD_STORE, address)
        return False

    def _on_page(self, _: unicorn.Uc, page: int, access: int, entry: Any, __: object) -> bool:
        """Map a page of the core's address space to itself; RAM is executable only where code has run from it.

        Stores to a page that may hold code look for translations of it, which takes longer than all the rest of a
        training step together.
        """
        if access == unicorn.UC_MEM_FETCH:
            self._code_pages.add(page)
        else:
            self._leave_it_block()
        executable = page in self._code_pages or not self._memory.is_kind(Kind.RAM, page)
        entry.paddr = page
        entry.perms = unicorn.UC_PROT_ALL if executable else unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE
        return True

    def _leave_it_block(self) -> None:
        """Undo what Unicorn does before it asks for a page or calls a hook: it sets the IT bits for an exception.

        Translated code goes on, though, and has resolved its conditions; at its end the bits must be clear.
        """
        xpsr = int(self.engine.reg_read(arm.UC_ARM_REG_XPSR))
        if xpsr & _XPSR_IT:
            self.engine.reg_write(arm.UC_ARM_REG_XPSR, xpsr & ~_XPSR_IT)

    def _on_interrupt(self, engine: unicorn.Uc, number: int, _: object) -> None:
        self._interrupt = number
        engine.emu_stop()

    def _uncount(self, address: int) -> None:
        """Take back what the running block was charged for its part from `address` on, which has not been executed."""
        end = int(self._table[PREVIOUS_END])
        if 0 < end - address <= _PAGE_BYTES:
            cycles, instructions = self._price_code(address, end)
            self._table[NOW] -= cycles
            self._table[INSTRUCTIONS] -= instructions
            self._table[PREVIOUS_END] = address

    def step(self) -> Stop:
        """Run one instruction for a debugger, counted as it would be in the course of its block."""
        begin = self.pc
        if (
            self._table[PREVIOUS_END] != begin
        ):  # stopped by a deadline behind a jump, before its cycles were counted
            self._table[NOW] += self._table[TAKEN_CYCLES]
            self._table[PREVIOUS_END] = begin
        self._table[PAUSED] = 1
        self.engine.ctl_flush_tb()  # translations made without the instruction count would ignore it
        try:
            stop = self._emulate(count=1)
        finally:
            self.engine.ctl_flush_tb()
            self._table[PAUSED] = 0
            self._at_breakpoint = False
        self._table[PREVIOUS_END] = self.pc
        if stop is not Stop.FAULT:
            self._count_step(begin)
        return Stop.DEADLINE if stop is None else stop

    def _count_step(self, begin: int) -> None:
        size = self._instruction_bytes(begin)
        behind = begin + size
        end = min(behind + _STEP_WINDOW_BYTES, (behind // _PAGE_BYTES + 1) * _PAGE_BYTES)
        cycles = self._price_code(begin, end)[0] - self._price_code(behind, end)[0]
        if self.pc != behind:
            cycles = self._price_code(begin, behind)[0] + int(self._table[TAKEN_CYCLES])
        self._table[NOW] += cycles
        self._table[INSTRUCTIONS] += 1

    def _instruction_bytes(self, address: int) -> int:
        halfword = int.from_bytes(self.engine.mem_read(address, 2), "little")
        return 4 if halfword >= _WIDE_PREFIX else 2

    # -- prices ----------------------------------------------------------------------------------------------

    def _price_block(self, address: int, size: int) -> bytes:
        """Price a block; return its code."""
        code = bytes(self.engine.mem_read(address, size))
        cycles, instructions = self._price(code, address)
        row = self._blocks[self._index(address)]
        self._table[INSTRUCTIONS] += (row[1] - instructions) * row[2]  # what was counted stays
        row[:2] = max(cycles, 1), instructions
        self._sizes[address] = size
        if self._on_price is not None:
            self._on_price(address, code)
        if self._memory.ram_code_changes and self._memory.is_kind(Kind.RAM, address):
            self._watch_ram(address, size)
        return code

    def on_price(self, listener: Callable[[int, bytes], None] | None) -> None:
        """Call `listener(address, code)` with every block that has a price, and from now on with each that gets one."""
        self._on_price = listener
        if listener is not None:
            for address, size in self._sizes.items():
                listener(address, bytes(self.engine.mem_read(address, size)))

    def _price_code(self, begin: int, end: int) -> tuple[int, int]:
        return self._price(bytes(self.engine.mem_read(begin, end - begin)), begin)

    def _index(self, address: int) -> int:
        return self._pages[address >> PAGE_BITS] + (address % (1 << PAGE_BITS) >> 1)

    @property
    def table(self) -> NDArray[np.int64]:
        """What the native hook counts in (block_hook.py); for other hooks to read."""
        return self._table

    def block_counts(self) -> list[BlockCount]:
        """Return the counts of every block whose code is still there, in order of address."""
        counts = []
        for address, size in sorted(self._sizes.items()):
            cycles, instructions, executions, jumps = (int(v) for v in self._blocks[self._index(address)])
            if not cycles:  # a block that never keeps its price
                cycles, instructions = self._price_code(address, address + size)
            counts.append(BlockCount(address, size, cycles, instructions, executions, jumps))
        return counts

    # -- code that changes -----------------------------------------------------------------------------------

    def forget_code(self, address: int, size: int) -> None:
        """Drop prices, counts and translations of code that touches [address, address + size)."""
        first, last = self._index(address), self._index(address + max(size, 1) - 1)
        lowest = max(first - _PAGE_BYTES // 2, 0)
        if not self._blocks[lowest : last + 1, 1].any():
            return
        for block in [a for a, n in self._sizes.items() if a < address + size and address < a + n]:
            row = self._blocks[self._index(block)]
            self._table[INSTRUCTIONS] += row[1] * row[2]
            row[:] = 0
            del self._sizes[block]
        self.engine.ctl_remove_cache(address, address + size)

    def forget_ram_code(self) -> None:
        """Drop all code in RAM; stores are fast again."""
        for region in self._memory.of(Kind.RAM):
            self.forget_code(region.base, region.size)
        self._unwatch_ram()
        self._code_pages.clear()
        self._flush()

    def _flush(self) -> None:
        """Let Unicorn forget its translations of code and of addresses, which don't know of new hooks."""
        self.engine.ctl_flush_tb()
        self.engine.ctl(unicorn.UC_CTL_TLB_FLUSH, unicorn.UC_CTL_IO_WRITE)

    def _watch_ram(self, address: int, size: int) -> None:
        """Notice stores to pages with code: Unicorn would go on with what it has translated."""
        pages = {address // _PAGE_BYTES, (address + size - 1) // _PAGE_BYTES}
        if pages <= self._ram_code_pages:
            return
        for page in pages - self._ram_code_pages:
            begin = page * _PAGE_BYTES
            self._ram_hooks.append(
                self.engine.hook_add(
                    unicorn.UC_HOOK_MEM_WRITE, self._on_store, begin=begin, end=begin + _PAGE_BYTES - 1
                )
            )
        self._ram_code_pages |= pages
        self._flush()

    def _unwatch_ram(self) -> None:
        for handle in self._ram_hooks:
            self.engine.hook_del(handle)
        if self._ram_hooks:
            self.engine.ctl_flush_tb()
        self._ram_hooks.clear()
        self._ram_code_pages.clear()

    def _on_store(self, _: unicorn.Uc, __: int, address: int, size: int, ___: int, ____: object) -> None:
        self._leave_it_block()
        self.forget_code(address, size)

    def set_breakpoints(self, addresses: frozenset[int]) -> None:
        """Stop before the instructions at these addresses."""
        for handle in self._breakpoints:
            self.engine.hook_del(handle)
        self._breakpoints = [
            self.engine.hook_add(unicorn.UC_HOOK_CODE, self._on_breakpoint, begin=a, end=a) for a in addresses
        ]
        self.engine.ctl_flush_tb()

    def _on_breakpoint(self, engine: unicorn.Uc, address: int, size: int, _: object) -> None:
        if not self._table[PAUSED]:
            self._at_breakpoint = True
            engine.emu_stop()


def _may_unmask(code: bytes) -> bool:
    """Tell whether a block ends with CPSIE or MSR; both end a translation (ARMv7-M ARM, B5.2)."""
    last = int.from_bytes(code[-2:], "little")
    before = int.from_bytes(code[-4:-2], "little")
    return last & 0xFFF8 == 0xB660 or (before & 0xFFE0 == 0xF380 and last & 0xD000 == 0x8000)


_LOAD_STORE_ERRORS: Final = (
    unicorn.UC_ERR_READ_UNMAPPED,
    unicorn.UC_ERR_WRITE_UNMAPPED,
    unicorn.UC_ERR_READ_PROT,
    unicorn.UC_ERR_WRITE_PROT,
)
_STOPS: Final = {
    _CODE_HALT: Stop.BREAKPOINT,
    _CODE_SVC: Stop.SUPERVISOR_CALL,
    _CODE_EXCEPTION_RETURN: Stop.EXCEPTION_RETURN,
}
_REFUSALS: Final = {_CODE_PREFETCH_ABORT: Refusal.FETCH, _CODE_DATA_ABORT: Refusal.LOAD_STORE}
