"""A virtual chip: core, memories, peripherals and time, under the control of a debugger."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import unicorn

from fqtbench.virtual import core_registers
from fqtbench.virtual.cpu import Cpu, Stop
from fqtbench.virtual.debug_identity import DebugIdentity
from fqtbench.virtual.exceptions import Exceptions, LockUp
from fqtbench.virtual.memory import CodeMemory, Kind
from fqtbench.virtual.peripheral import NarrowWrites, Peripheral
from fqtbench.virtual.schedule import NEVER, Schedule
from fqtbench.virtual.system_control import BASE as PPB_BASE
from fqtbench.virtual.system_control import SIZE as PPB_SIZE
from fqtbench.virtual.system_control import SystemControl
from fqtbench.virtual.target import BusFault
from fqtbench.virtual.timing.model import Timing

_READ_EXECUTE: Final = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
_PAGE_BYTES: Final = 0x1000

DFSR_HALTED: Final = 1 << 0
DFSR_BKPT: Final = 1 << 1
DFSR_VCATCH: Final = 1 << 3


@dataclass(frozen=True)
class Core:
    """The core of a chip: Unicorn's number of it, the content of its register CPUID, its timing, its debug port."""

    model: int
    cpuid: int
    timing: Timing
    debug: DebugIdentity


class Chip:
    """Core, flash, RAM, peripherals by page, and the schedule of virtual time.

    Subclasses add peripherals with `map_peripheral` and `constants`, and say in `held` when the core must not run on.
    """

    def __init__(self, core: Core, memory: CodeMemory) -> None:
        self.core = core
        self.debug_identity = core.debug
        self.cpu = Cpu(core.model, memory, core.timing)
        self.memory = memory
        self.schedule = Schedule()
        self.schedule.on_earlier = self.cpu.stop_by
        self.system = SystemControl(self, self.schedule, core.cpuid)
        self.exceptions = Exceptions(self.cpu, self.system)
        self._engine = self.cpu.engine
        self._pages: dict[int, Peripheral] = {}
        self._windows: list[tuple[int, int]] = []
        for region in memory.regions:
            access = unicorn.UC_PROT_ALL if region.kind is Kind.RAM else _READ_EXECUTE
            self._engine.mem_map(region.base, region.size, access)
            self._windows.append((region.base, region.size))
            if region.kind is Kind.FLASH:
                self._engine.mem_write(region.base, b"\xff" * region.size)
        self._map_registers(PPB_BASE, PPB_SIZE)
        self.debug_enabled = False
        self.halted = False
        self.locked_up = False
        self.halt_reason = 0
        self.protected = False
        self._asleep = False
        self._reset_requested = False
        self.powered = True
        self.trigger = False  # the level of the board's trigger pin
        self.on_trigger: Callable[[int, bool], None] | None = None  # told the cycle and level of each edge
        self.on_pause: Callable[[], None] | None = None  # called whenever the core has come back

    # -- memory ----------------------------------------------------------------------------------------------

    def constants(self, address: int, size: int) -> None:
        """Map read-only memory that no code runs from, erased."""
        self._engine.mem_map(address, size, unicorn.UC_PROT_READ)
        self._engine.mem_write(address, b"\xff" * size)
        self._windows.append((address, size))

    def map_peripherals(self, base: int, size: int, pages: dict[int, Peripheral]) -> None:
        """Map register space; `pages` gives the peripheral of an address, its registers in the 4 KB there."""
        self._pages.update(pages)
        self._map_registers(base, size)

    def _map_registers(self, base: int, size: int) -> None:
        def read(_: unicorn.Uc, offset: int, size: int, __: object) -> int:
            return self._read_part(base + offset, size)

        def write(_: unicorn.Uc, offset: int, size: int, value: int, __: object) -> None:
            self._write_part(base + offset, size, value)

        self._engine.mmio_map(base, size, read, None, write, None)
        self._windows.append((base, size))

    def _read_register(self, address: int) -> int:
        if address >= PPB_BASE:
            return self.system.read(address - PPB_BASE)
        peripheral, offset = self._peripheral(address)
        return peripheral.read(offset) if peripheral else 0

    def _write_register(self, address: int, value: int) -> None:
        if address >= PPB_BASE:
            self.system.write(address - PPB_BASE, value)
            return
        peripheral, offset = self._peripheral(address)
        if peripheral:
            peripheral.write(offset, value)

    def _read_part(self, address: int, size: int) -> int:
        """Return a register or, of its `size` bytes, the part at `address`."""
        shift = 8 * (address & 3)
        return self._read_register(address & ~3) >> shift & ((1 << 8 * size) - 1)

    def _write_part(self, address: int, size: int, value: int) -> None:
        """Write a register; of some only a part, as priorities on the private bus are written."""
        word = address & ~3
        if size < 4 and address >= PPB_BASE:
            shift = 8 * (address & 3)
            mask = ((1 << 8 * size) - 1) << shift
            value = self._read_register(word) & ~mask | value << shift & mask
        elif size < 4:
            peripheral, offset = self._peripheral(address)
            if isinstance(peripheral, NarrowWrites):
                peripheral.write_part(offset, size, value)
                return
        self._write_register(word, value)

    def _peripheral(self, address: int) -> tuple[Peripheral | None, int]:
        page = address & ~(_PAGE_BYTES - 1)
        return self._pages.get(page), address - page

    def _is_registers(self, address: int) -> bool:
        return address >= PPB_BASE or (address & ~(_PAGE_BYTES - 1)) in self._pages

    def read_memory(self, address: int, size: int) -> bytes:
        """Return bytes as the AHB-AP sees them; BusFault where nothing answers."""
        self._check(address, size)
        if self._is_registers(address):
            first = address & ~3
            words = [self._read_register(a) for a in range(first, address + size, 4)]
            data = struct.pack(f"<{len(words)}I", *(w & 0xFFFFFFFF for w in words))
            return data[address - first : address - first + size]
        return bytes(self._engine.mem_read(address, size))

    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes as the AHB-AP does; BusFault where nothing answers. Flash obeys its controller."""
        self._check(address, len(data))
        if self._is_registers(address):
            for offset in range(0, len(data), 4):
                word = data[offset : offset + 4]
                self._write_part(address + offset, len(word), int.from_bytes(word, "little"))
        elif self._in_ram(address, len(data)):
            self._engine.mem_write(address, data)
            self.cpu.forget_code(address, len(data))
        else:
            self.write_flash(address, data)

    def write_flash(self, address: int, data: bytes) -> None:
        """A debugger's write outside RAM; a chip whose controller allows it overrides this."""

    def _check(self, address: int, size: int) -> None:
        if not self.powered:
            raise BusFault("the board has no supply")
        for base, length in self._windows:
            if base <= address and address + size <= base + length:
                return
        raise BusFault(f"nothing answers at 0x{address:08x}")

    def dma_write(self, address: int, data: bytes) -> None:
        """EasyDMA reaches RAM only; elsewhere the bytes are lost."""
        if self._in_ram(address, len(data)):
            self._engine.mem_write(address, data)
            self.cpu.forget_code(address, len(data))

    def dma_read(self, address: int, size: int) -> bytes:
        """EasyDMA reads RAM only; elsewhere zeros."""
        return bytes(self._engine.mem_read(address, size)) if self._in_ram(address, size) else bytes(size)

    def _in_ram(self, address: int, size: int) -> bool:
        return self.memory.is_kind(Kind.RAM, address, size)

    def fill(self, address: int, size: int) -> None:
        """Erase flash-like memory to 0xFF."""
        self._engine.mem_write(address, b"\xff" * size)
        if self.memory.is_kind(Kind.FLASH, address):
            self.cpu.forget_code(address, size)

    def program(self, address: int, data: bytes) -> None:
        """Program NOR memory: bits are cleared, never set."""
        old = np.frombuffer(self._engine.mem_read(address, len(data)), np.uint8)
        self._engine.mem_write(address, (old & np.frombuffer(data, np.uint8)).tobytes())
        if self.memory.is_kind(Kind.FLASH, address):
            self.cpu.forget_code(address, len(data))

    # -- time and interrupts -----------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Virtual time in core cycles."""
        return self.cpu.now

    def set_pending(self, interrupt: int, level: bool) -> None:
        """Set the level of an interrupt line."""
        self.system.set_line(interrupt, level)

    def interrupts_changed(self) -> None:
        """Come back from the CPU at the next block."""
        self.cpu.stop_by(0)

    def request_reset(self) -> None:
        """Reset the chip at the end of the block."""
        self._reset_requested = True
        self.cpu.stop_by(0)

    @property
    def held(self) -> bool:
        """Whether virtual time must stand still until something outside happens."""
        return False

    @property
    def runnable(self) -> bool:
        """Whether `run` can advance virtual time."""
        idle = self._asleep and not self.exceptions.wakes and self.schedule.next_at == NEVER
        return self.powered and not (self.halted or self.locked_up or self.held or idle)

    def before_wait(self) -> None:
        """The core is about to sleep: peripherals that work lazily catch up."""

    def run(self, cycles: int) -> None:
        """Advance virtual time by about `cycles`, or until the core can't go on. Where it is cut changes nothing."""
        end = self.now + cycles
        while self.runnable and self.now < end:
            if self.on_pause is not None:
                self.on_pause()
            self.schedule.fire(self.now)
            if self.held:
                return
            if self._asleep:
                self._sleep()
                continue
            self._guarded(self.exceptions.take_pending)
            if not (self.locked_up or self._reset_requested):
                self._after(self.cpu.run(min(end, self.schedule.next_at)))
            self._reset_if_requested()

    def _sleep(self) -> None:
        """In WFI time jumps from event to event until an interrupt is pending."""
        self.before_wait()
        if self.exceptions.wakes:
            self._asleep = False
        elif self.schedule.next_at != NEVER:
            self.cpu.now = max(self.now, self.schedule.next_at)

    def _after(self, stop: Stop) -> None:
        match stop:
            case Stop.WAIT:
                self._asleep = True
            case Stop.BREAKPOINT if self.debug_enabled:
                self._enter_debug(DFSR_BKPT)
            case Stop.BREAKPOINT:
                self._guarded(self.exceptions.breakpoint)
            case Stop.SUPERVISOR_CALL:
                self._guarded(self.supervisor_call)
            case Stop.EXCEPTION_RETURN:
                self._guarded(self.exceptions.return_from)
            case Stop.FAULT:
                self._guarded(lambda: self.exceptions.fault(self.cpu.fault))
            case Stop.DEADLINE:
                pass

    def _reset_if_requested(self) -> None:
        if self._reset_requested:
            self._reset_requested = False
            self.software_reset()

    def supervisor_call(self) -> None:
        """SVC: an exception, but for one in a boot ROM whose functions are not code."""
        self.exceptions.supervisor_call()

    def software_reset(self) -> None:
        """SYSRESETREQ from code."""
        self.reset(halt=False)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except LockUp:
            self.lock_up()

    def lock_up(self) -> None:
        """Nothing sensible to execute: the core waits for a reset or the debugger."""
        self.locked_up = True

    # -- supply and trigger pin ------------------------------------------------------------------------------

    def power(self, on: bool) -> None:
        """Give the board its supply, with which it starts anew, or take it away, with which time stands still."""
        if self.powered and not on:
            self.lose_power()
        self.powered = on

    def lose_power(self) -> None:
        """Forget everything but what is in flash. A subclass adds what outlives its resets."""
        for ram in self.memory.of(Kind.RAM):
            self._engine.mem_write(ram.base, bytes(ram.size))
        self.debug_enabled = False
        self.halt_reason = 0
        self.set_breakpoints(frozenset())
        self.reset(halt=False)

    def drive_trigger(self, level: bool) -> None:
        """Tell the level of the trigger pin, whenever outputs may have changed; the time is that of the block's end."""
        if level != self.trigger:
            self.trigger = level
            if self.on_trigger is not None:
                self.on_trigger(self.now, level)

    # -- debugger ----------------------------------------------------------------------------------------------

    def _enter_debug(self, reason: int) -> None:
        self.halted = True
        self.halt_reason |= reason

    def halt(self) -> None:
        """Enter debug state; a core that sleeps goes on sleeping when it is resumed, unless its PC is written."""
        self.locked_up = False
        self._enter_debug(DFSR_HALTED)

    def resume(self) -> None:
        """Leave debug state."""
        self.halted = False

    def step(self) -> None:
        """Execute one instruction."""
        self.halted = self._asleep = False
        self._after(self.cpu.step())
        self._reset_if_requested()
        self._enter_debug(DFSR_HALTED)

    def reset(self, halt: bool) -> None:
        """Reset core and peripherals; RAM and flash stay."""
        self.schedule.clear()
        for peripheral in self._pages.values():
            peripheral.reset()
        self.reset_peripherals()
        self._restart(halt)

    def reset_core(self, halt: bool) -> None:
        """Reset the core alone: peripherals go on (VECTRESET, ARMv7-M ARM B3.2.6)."""
        self._restart(halt)

    def _restart(self, halt: bool) -> None:
        self.cpu.forget_ram_code()
        self.system.reset()
        self.locked_up = self._asleep = self.halted = self._reset_requested = False
        stack, entry = self._vectors()
        core_registers.reset(self._engine, stack)
        self.cpu.pc = entry
        if halt:
            self._enter_debug(DFSR_VCATCH)
        elif not self._can_start(entry):
            self.lock_up()

    def _vectors(self) -> tuple[int, int]:
        """Return the first stack pointer and the address that a reset goes to."""
        stack, entry = struct.unpack("<II", self._engine.mem_read(self.memory.vectors, 8))
        return stack, entry

    def _can_start(self, entry: int) -> bool:
        """Whether code may begin at what a vector table says: Thumb code that is not in RAM."""
        region = self.memory.find(entry & ~1)
        return bool(entry & 1) and region is not None and region.kind is not Kind.RAM

    def reset_peripherals(self) -> None:
        """What a chip does at reset beyond its peripherals' own."""

    def read_register(self, index: int) -> int:
        """Return a core register by its number in DCRSR."""
        return core_registers.read(self._engine, index)

    def write_register(self, index: int, value: int) -> None:
        """Write a core register."""
        if index != core_registers.PC:
            core_registers.write(self._engine, index, value)
            return
        if value & ~1 != self.cpu.pc:
            self._asleep = False
            self.diverted()
        self.cpu.pc = value

    def diverted(self) -> None:
        """A debugger has sent the core elsewhere: what the program waits for holds it no longer."""

    def set_breakpoints(self, addresses: frozenset[int]) -> None:
        """Stop before the instructions at these addresses."""
        self.cpu.set_breakpoints(addresses)

    def erase_all(self) -> None:
        """Erase everything that is not volatile, and RAM."""
        for flash in self.memory.of(Kind.FLASH):
            self.fill(flash.base, flash.size)
        for ram in self.memory.of(Kind.RAM):
            self._engine.mem_write(ram.base, bytes(ram.size))
            self.cpu.forget_code(ram.base, ram.size)
