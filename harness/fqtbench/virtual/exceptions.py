"""Exceptions of a Cortex-M core: what is taken when, the frame it pushes, and the way back (ARMv7-M ARM, B1.5).

Not modelled: tail-chaining and late arrival (each entry and each return takes its full time), and lazy stacking: where
FPU registers are in use, the long frame is written at once.
"""

import struct
from typing import Final

import unicorn
from unicorn import arm_const as arm

from fqtbench.virtual.cpu import Cpu, Fault, Refusal
from fqtbench.virtual.system_control import SystemControl

HARD_FAULT: Final = 3
BUS_FAULT: Final = 5
USAGE_FAULT: Final = 6
SVCALL: Final = 11

CFSR_IBUSERR: Final = 1 << 8
CFSR_PRECISERR: Final = 1 << 9
CFSR_BFARVALID: Final = 1 << 15
CFSR_UNDEFINSTR: Final = 1 << 16
HFSR_DEBUGEVT: Final = 1 << 31
HFSR_FORCED: Final = 1 << 30

_EXCEPTION_CYCLES: Final = 12  # entry and return each: Cortex-M4 TRM, 3.9.1
_SETENA: Final = {BUS_FAULT: 1 << 17, USAGE_FAULT: 1 << 18}  # SHCSR
_EXC_RETURN: Final = 0xFFFFFFE1  # bit 4 basic frame, bit 3 to thread mode, bit 2 process stack
_BASIC_FRAME: Final = 1 << 4
_TO_THREAD: Final = 1 << 3
_PROCESS_STACK: Final = 1 << 2
_CONTROL_SPSEL: Final = 1 << 1
_CONTROL_FPCA: Final = 1 << 2
_XPSR_THUMB: Final = 1 << 24
_XPSR_ALIGNED: Final = 1 << 9  # the frame lies 4 bytes lower than it needs to
_IPSR: Final = 0x1FF

_STACKED: Final = (*(getattr(arm, f"UC_ARM_REG_R{n}") for n in (0, 1, 2, 3, 12)), arm.UC_ARM_REG_LR)
_FLOATS: Final = (*(getattr(arm, f"UC_ARM_REG_S{n}") for n in range(16)), arm.UC_ARM_REG_FPSCR)
_BASIC_BYTES: Final = 32
_FLOAT_BYTES: Final = 72  # S0 to S15, FPSCR, a reserved word


class LockUp(Exception):  # noqa: N818 - the architecture's name for it
    """A fault where none can be taken: the core stops until a reset or a debugger."""


class Exceptions:
    """Decides and performs entry and return."""

    def __init__(self, cpu: Cpu, system: SystemControl) -> None:
        self._cpu, self._engine, self._system = cpu, cpu.engine, system

    @property
    def current(self) -> int:
        """Number of the exception that the core handles; 0 in thread mode."""
        return self._read(arm.UC_ARM_REG_IPSR) & _IPSR

    def _read(self, register: int) -> int:
        return int(self._engine.reg_read(register))

    # -- what is taken when ----------------------------------------------------------------------------------

    def execution_priority(self, masked: bool = True) -> int:
        """Return the priority that an exception must beat; without PRIMASK and FAULTMASK if not `masked`."""
        priority = self._system.active_priority()
        base = self._read(arm.UC_ARM_REG_BASEPRI)
        if base:
            priority = min(priority, self._system.group(base))
        if masked and self._read(arm.UC_ARM_REG_PRIMASK) & 1:
            priority = min(priority, 0)
        if masked and self._read(arm.UC_ARM_REG_FAULTMASK) & 1:
            priority = min(priority, -1)
        return priority

    @property
    def wakes(self) -> bool:
        """Whether a pending exception ends WFI: one that PRIMASK at most holds back (ARMv7-M ARM, B1.5.19)."""
        number = self._system.next_pending()
        return number is not None and self._system.priority(number) < self.execution_priority(masked=False)

    def take_pending(self) -> None:
        """Enter the handler of the most urgent pending exception, if it may be taken."""
        number = self._system.next_pending()
        if number is not None and self._system.priority(number) < self.execution_priority():
            self._system.acknowledge(number)
            self._enter(number)

    def supervisor_call(self) -> None:
        """SVC: taken at once, or a HardFault where it can't be."""
        if self._system.priority(SVCALL) < self.execution_priority():
            self._enter(SVCALL)
        else:
            self._hard_fault(HFSR_FORCED)

    def breakpoint(self) -> None:
        """BKPT without a debugger (ARMv7-M ARM, C1.4.2)."""
        self._hard_fault(HFSR_DEBUGEVT)

    def fault(self, fault: Fault) -> None:
        """Take BusFault or UsageFault where it is enabled, HardFault where it isn't; raise `LockUp` in a HardFault."""
        number = USAGE_FAULT
        match fault.refusal:
            case Refusal.LOAD_STORE:
                number = BUS_FAULT
                self._system.record_fault(CFSR_PRECISERR | CFSR_BFARVALID, fault.address)
            case Refusal.FETCH:
                number = BUS_FAULT
                self._system.record_fault(CFSR_IBUSERR)
            case Refusal.UNDEFINED:
                self._system.record_fault(CFSR_UNDEFINSTR)
        enabled = self._system.fault_enables & _SETENA[number]
        if enabled and self._system.priority(number) < self.execution_priority():
            self._enter(number)
        else:
            self._hard_fault(HFSR_FORCED)

    def _hard_fault(self, reason: int) -> None:
        if self.execution_priority() <= -1:
            raise LockUp
        self._system.record_hard_fault(reason)
        self._enter(HARD_FAULT)

    # -- entry and return ------------------------------------------------------------------------------------

    def _enter(self, number: int) -> None:
        control = self._read(arm.UC_ARM_REG_CONTROL)
        thread = self.current == 0
        floats = bool(control & _CONTROL_FPCA)
        try:
            stack = self._push(floats)
            handler = self._word(self._system.vector_table + 4 * number)
        except unicorn.UcError:
            raise LockUp from None
        process_stack = thread and bool(control & _CONTROL_SPSEL)
        link = _EXC_RETURN | (0 if floats else _BASIC_FRAME) | (_TO_THREAD if thread else 0)
        link |= _PROCESS_STACK if process_stack else 0
        write = self._engine.reg_write
        write(arm.UC_ARM_REG_SP, stack)
        write(arm.UC_ARM_REG_CONTROL, control & ~(_CONTROL_SPSEL | _CONTROL_FPCA))
        write(arm.UC_ARM_REG_LR, link)
        write(arm.UC_ARM_REG_XPSR, self._read(arm.UC_ARM_REG_XPSR) & 0xF80F0000 | _XPSR_THUMB)  # no IT state
        write(arm.UC_ARM_REG_IPSR, number)
        self._system.activate(number)
        self._jump(handler)

    def _push(self, floats: bool) -> int:
        """Write the frame; return its address."""
        top = self._read(arm.UC_ARM_REG_SP)
        bottom = top - _BASIC_BYTES - (_FLOAT_BYTES if floats else 0) & ~7
        xpsr = self._read(arm.UC_ARM_REG_XPSR) & ~(_IPSR | _XPSR_ALIGNED) | self.current | _XPSR_THUMB
        if top & 4:
            xpsr |= _XPSR_ALIGNED
        words = [*map(self._read, _STACKED), self._cpu.pc, xpsr]
        if floats:
            words += [*map(self._read, _FLOATS), 0]
        self._engine.mem_write(bottom, struct.pack(f"<{len(words)}I", *words))
        return bottom

    def return_from(self) -> None:
        """A branch to EXC_RETURN: restore what the entry saved."""
        link = self._cpu.pc | 1
        floats = not link & _BASIC_FRAME
        self._system.deactivate(self.current)
        control = self._read(arm.UC_ARM_REG_CONTROL) & ~_CONTROL_FPCA
        if link & _PROCESS_STACK:
            control |= _CONTROL_SPSEL
        write = self._engine.reg_write
        write(arm.UC_ARM_REG_FAULTMASK, 0)
        write(arm.UC_ARM_REG_CONTROL, control | (_CONTROL_FPCA if floats else 0))
        size = _BASIC_BYTES + (_FLOAT_BYTES if floats else 0)
        bottom = self._read(arm.UC_ARM_REG_SP)
        try:
            words = struct.unpack(f"<{size // 4}I", self._engine.mem_read(bottom, size))
        except unicorn.UcError:
            raise LockUp from None
        for register, value in zip((*_STACKED, None, None, *_FLOATS), words, strict=False):
            if register is not None:
                write(register, value)
        pc, xpsr = words[6:8]
        write(arm.UC_ARM_REG_SP, bottom + size + (4 if xpsr & _XPSR_ALIGNED else 0))
        write(arm.UC_ARM_REG_IPSR, xpsr & _IPSR)
        write(arm.UC_ARM_REG_XPSR, xpsr)
        self._jump(pc)

    def _word(self, address: int) -> int:
        return int.from_bytes(self._engine.mem_read(address, 4), "little")

    def _jump(self, address: int) -> None:
        self._cpu.now += _EXCEPTION_CYCLES
        self._cpu.pc = address
