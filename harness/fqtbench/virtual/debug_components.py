"""The debug components of a Cortex-M4 or M0+, laid over a chip's address space as its AHB-AP sees it.

`DebugComponents` answers the registers that only a debugger uses (halting debug, vector catch, hardware
breakpoints, the ROM table and the component ids) and turns them into calls of the chip's `Target`; every
other address goes to the chip unchanged. It knows nothing of wires, ports or sockets.

Sources: "ARMv7-M ARM" is the ARMv7-M Architecture Reference Manual (ARM DDI 0403E.e), "TRM" the Cortex-M4
Technical Reference Manual (ARM DDI 0439, r0p1), "PS" the nRF52840 Product Specification v1.7.

Two differences from silicon, both visible to a debugger instead of failing quietly: the DWT announces no
comparators, so that a watchpoint is refused; ITM, TPIU and ETM are marked "not present" in the ROM table.
"""

from collections.abc import Callable
from typing import Final

from fqtbench.virtual.debug_identity import DebugIdentity
from fqtbench.virtual.target import Target

# Private peripheral bus, ARMv7-M ARM B3.1.
PPB_START: Final = 0xE000_0000
PPB_END: Final = 0xE010_0000

# Core debug registers, ARMv7-M ARM C1.6; AIRCR: B3.2.6.
AIRCR: Final = 0xE000_ED0C
DFSR: Final = 0xE000_ED30
DHCSR: Final = 0xE000_EDF0
DCRSR: Final = 0xE000_EDF4
DCRDR: Final = 0xE000_EDF8
DEMCR: Final = 0xE000_EDFC

AIRCR_VECTKEY: Final = 0x05FA
AIRCR_VECTRESET: Final = 1 << 0
AIRCR_SYSRESETREQ: Final = 1 << 2

DFSR_HALTED: Final = 1 << 0
DFSR_VCATCH: Final = 1 << 3

DHCSR_DBGKEY: Final = 0xA05F
C_DEBUGEN: Final = 1 << 0
C_HALT: Final = 1 << 1
C_STEP: Final = 1 << 2
C_MASKINTS: Final = 1 << 3
S_REGRDY: Final = 1 << 16
S_HALT: Final = 1 << 17
S_LOCKUP: Final = 1 << 19
S_RETIRE_ST: Final = 1 << 24
S_RESET_ST: Final = 1 << 25

DCRSR_REGSEL: Final = 0x7F
DCRSR_WRITE: Final = 1 << 16

DEMCR_VC_CORERESET: Final = 1 << 0
DEMCR_VC_MASK: Final = 0x7F1  # VC_CORERESET, VC_MMERR … VC_HARDERR
DEMCR_TRCENA: Final = 1 << 24  # shared with the code on the core, which enables its cycle counter with it

# Flash patch and breakpoint unit, ARMv7-M ARM C1.11.
FP_CTRL: Final = 0xE000_2000
FP_REMAP: Final = 0xE000_2004
FP_COMP0: Final = 0xE000_2008
FP_CTRL_ENABLE: Final = 1 << 0
FP_CTRL_KEY: Final = 1 << 1
# The M0+'s breakpoint unit has the same registers (ARMv6-M ARM, DDI 0419E, C1.9), without literal comparators.

DWT_CTRL: Final = 0xE000_1000  # ARMv7-M ARM C1.8.7
DWT_CTRL_NUMCOMP: Final = 0xF << 28

ROM_TABLE: Final = 0xE00F_F000  # TRM 8.1
_ID_REGISTERS: Final = 0xFD0  # offset of PIDR4, the first of the twelve id registers
_MEMTYPE: Final = 0xFCC
_PRESENT: Final = 0x3  # entry: 32-bit format, component present
_ABSENT: Final = 0x2
_CIDR_ROM_TABLE: Final = 0xB105_100D  # component class 0x1
_CIDR_GENERIC: Final = 0xB105_E00D  # component class 0xE


def _id_words(pidr: int, cidr: int) -> list[int]:
    """Return the twelve words from PIDR4 to CIDR3 (ARMv7-M ARM D1.2.3, one byte of the id in each)."""
    order = (4, 5, 6, 7, 0, 1, 2, 3)
    return [pidr >> 8 * i & 0xFF for i in order] + [cidr >> 8 * i & 0xFF for i in range(4)]


def _constants(identity: DebugIdentity) -> dict[int, int]:
    """Return the read-only words: ROM table and component ids, by address."""
    words: dict[int, int] = {ROM_TABLE + _MEMTYPE: 1}  # 1: system memory is on this bus
    for index, component in enumerate(identity.components):
        offset = (component.base - ROM_TABLE) & 0xFFFF_F000
        words[ROM_TABLE + 4 * index] = offset | (_PRESENT if component.present else _ABSENT)
    words[ROM_TABLE + 4 * len(identity.components)] = 0
    ids = [(c.base, c.pidr, _CIDR_GENERIC) for c in identity.components if c.present]
    for base, pidr, cidr in [*ids, (ROM_TABLE, identity.rom_table_pidr, _CIDR_ROM_TABLE)]:
        for index, word in enumerate(_id_words(pidr, cidr)):
            words[base + _ID_REGISTERS + 4 * index] = word
    return words


class DebugComponents:
    """The address space of a chip with a debugger attached.

    Memory accesses raise the target's `BusFault` unchanged.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._identity = target.debug_identity
        self._constants = _constants(self._identity)
        self._reset_seen = True  # S_RESET_ST, sticky until read: the chip has just been powered
        self._retired = False  # S_RETIRE_ST, sticky until read
        self._held_in_reset = False
        self._clear()
        self._registers: dict[int, tuple[Callable[[], int], Callable[[int], None]]] = {
            AIRCR: (lambda: self._pass_read(AIRCR), self._write_aircr),
            DFSR: (lambda: self._target.halt_reason, self._write_dfsr),
            DHCSR: (self._read_dhcsr, self._write_dhcsr),
            DCRSR: (lambda: 0, self._write_dcrsr),
            DCRDR: (lambda: self._dcrdr, self._write_dcrdr),
            DEMCR: (self._read_demcr, self._write_demcr),
            DWT_CTRL: (self._read_dwt_ctrl, lambda value: self._pass_write(DWT_CTRL, value)),
            FP_CTRL: (self._read_fp_ctrl, self._write_fp_ctrl),
            FP_REMAP: (lambda: 0, lambda value: None),  # remapping to SRAM is not offered
        }

    def _clear(self) -> None:
        """Put every debug register to its reset value."""
        self._target.debug_enabled = False
        self._mask_interrupts = False
        self._halt_on_release = False
        self._dcrdr = 0
        self._vector_catch = 0
        self._fpb_enabled = False
        self._comparators = [0] * (self._identity.code_comparators + self._identity.literal_comparators)

    # Memory

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes from `address` on."""
        if not _touches_ppb(address, size):
            return self._target.read_memory(address, size)
        if address % 4 or size % 4:
            return self._target.read_memory(address, size)  # the registers here are word-sized
        return b"".join(self._read_word(a).to_bytes(4, "little") for a in range(address, address + size, 4))

    def write(self, address: int, data: bytes) -> None:
        """Write `data` from `address` on."""
        if not _touches_ppb(address, len(data)) or address % 4 or len(data) % 4:
            self._target.write_memory(address, data)
            return
        for offset in range(0, len(data), 4):
            self._write_word(address + offset, int.from_bytes(data[offset : offset + 4], "little"))

    def _read_word(self, address: int) -> int:
        if address in self._registers:
            return self._registers[address][0]()
        if FP_COMP0 <= address < FP_COMP0 + 4 * len(self._comparators):
            return self._comparators[(address - FP_COMP0) // 4]
        if address in self._constants:
            return self._constants[address]
        if address >= ROM_TABLE:
            return 0
        return self._pass_read(address)

    def _write_word(self, address: int, value: int) -> None:
        if address in self._registers:
            self._registers[address][1](value)
        elif FP_COMP0 <= address < FP_COMP0 + 4 * len(self._comparators):
            self._comparators[(address - FP_COMP0) // 4] = value
            self._update_breakpoints()
        elif address not in self._constants and address < ROM_TABLE:
            self._pass_write(address, value)

    def _pass_read(self, address: int) -> int:
        return int.from_bytes(self._target.read_memory(address, 4), "little")

    def _pass_write(self, address: int, value: int) -> None:
        self._target.write_memory(address, value.to_bytes(4, "little"))

    # Resets

    def system_reset(self) -> None:
        """SYSRESETREQ: reset the chip but not its debug components (PS 5.3, "Reset behavior": soft)."""
        self._reset_seen = True
        self._target.reset(self._catches_reset)

    @property
    def _catches_reset(self) -> bool:
        return bool(self._target.debug_enabled and self._vector_catch & DEMCR_VC_CORERESET)

    def hold_in_reset(self) -> None:
        """nRESET low: reset the chip with its debug components (same table: pin reset) and keep it there."""
        self._clear()
        self._update_breakpoints()
        self._held_in_reset = True
        self._target.reset(halt=True)
        self._target.halt_reason = 0

    def release_reset(self) -> None:
        """nRESET high: run from the reset vector, unless the debugger has asked for a halt meanwhile."""
        if not self._held_in_reset:
            return
        self._held_in_reset = False
        self._reset_seen = True
        if self._catches_reset:
            self._target.halt_reason |= DFSR_VCATCH
        elif self._target.debug_enabled and self._halt_on_release:
            self._target.halt_reason |= DFSR_HALTED
        else:
            self._target.resume()

    @property
    def held_in_reset(self) -> bool:
        """Whether the reset line keeps the chip from running."""
        return self._held_in_reset

    # Core debug registers

    def _read_dhcsr(self) -> int:
        halted = self._target.halted and not self._held_in_reset
        value = S_REGRDY
        value |= C_DEBUGEN if self._target.debug_enabled else 0
        value |= C_MASKINTS if self._mask_interrupts else 0
        value |= S_HALT | C_HALT if halted else 0
        # S_LOCKUP clears when the core enters debug state (ARMv7-M ARM C1.6.2).
        value |= S_LOCKUP if self._target.locked_up and not self._target.halted else 0
        value |= S_RETIRE_ST if self._retired else 0
        value |= S_RESET_ST if self._reset_seen or self._held_in_reset else 0
        self._reset_seen = False
        self._retired = not self._target.halted and not self._target.locked_up
        return value

    def _write_dhcsr(self, value: int) -> None:
        if value >> 16 != DHCSR_DBGKEY:
            return
        self._target.debug_enabled = bool(value & C_DEBUGEN)
        self._mask_interrupts = bool(self._target.debug_enabled and value & C_MASKINTS)
        halt = bool(self._target.debug_enabled and value & C_HALT)
        if self._held_in_reset:
            self._halt_on_release = halt
        elif not self._target.halted:
            if halt:
                self._target.halt()
        elif not halt:
            self._retired = True
            if self._target.debug_enabled and value & C_STEP:
                self._target.step()
            else:
                self._target.resume()

    def _write_dcrsr(self, value: int) -> None:
        if not self._target.halted or self._held_in_reset:
            return  # UNPREDICTABLE outside debug state (ARMv7-M ARM C1.6.3): ignored
        index = value & DCRSR_REGSEL
        if value & DCRSR_WRITE:
            self._target.write_register(index, self._dcrdr)
        else:
            self._dcrdr = self._target.read_register(index)

    def _write_dcrdr(self, value: int) -> None:
        self._dcrdr = value

    def _write_dfsr(self, value: int) -> None:
        self._target.halt_reason &= ~value  # write one to clear

    def _read_demcr(self) -> int:
        return self._pass_read(DEMCR) & DEMCR_TRCENA | self._vector_catch

    def _write_demcr(self, value: int) -> None:
        self._vector_catch = value & DEMCR_VC_MASK
        self._pass_write(DEMCR, value & DEMCR_TRCENA)

    def _write_aircr(self, value: int) -> None:
        if value >> 16 != AIRCR_VECTKEY:
            return
        if value & AIRCR_SYSRESETREQ:
            self.system_reset()
        elif value & AIRCR_VECTRESET:
            self._reset_seen = True
            self._target.reset_core(self._catches_reset)
        else:
            self._pass_write(AIRCR, value)

    def _read_dwt_ctrl(self) -> int:
        return self._pass_read(DWT_CTRL) & ~DWT_CTRL_NUMCOMP

    # Hardware breakpoints

    def _read_fp_ctrl(self) -> int:
        identity = self._identity
        comparators = identity.literal_comparators << 8 | identity.code_comparators << 4
        return (identity.breakpoint_version - 1) << 28 | comparators | int(self._fpb_enabled)

    def _write_fp_ctrl(self, value: int) -> None:
        if value & FP_CTRL_KEY:
            self._fpb_enabled = bool(value & FP_CTRL_ENABLE)
            self._update_breakpoints()

    def _update_breakpoints(self) -> None:
        addresses: set[int] = set()
        if self._fpb_enabled:
            for comparator in self._comparators[: self._identity.code_comparators]:
                addresses |= _breakpoint_addresses(comparator, self._identity.breakpoint_version)
        self._target.set_breakpoints(frozenset(addresses))


def _touches_ppb(address: int, size: int) -> bool:
    return address < PPB_END and address + size > PPB_START


def _breakpoint_addresses(comparator: int, version: int) -> set[int]:
    """Return the addresses that an FP_COMPn value stops at (ARMv7-M ARM C1.11.5 of DDI 0403E.e: both versions)."""
    if not comparator & 1:
        return set()
    if version == 2:
        return {comparator & ~1}
    word, replace = comparator & 0x1FFF_FFFC, comparator >> 30
    return {word + 2 * half for half in (0, 1) if replace & 1 << half}
