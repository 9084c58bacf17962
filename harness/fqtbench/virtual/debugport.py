"""The debug access port of a virtual chip at register level: SW-DP, AHB-AP, and Nordic's CTRL-AP.

What a probe's wire transfers would read and write, without the wire. `DebugPort` routes a transfer to the
selected access port; a failed one sets the sticky error and raises `TransferFault`, the FAULT answer.

Sources: "ADI" is the ARM Debug Interface Architecture Specification ADIv5.0 to ADIv5.2 (ARM IHI 0031E), "PS"
the nRF52840 Product Specification v1.7, "TRM" the Cortex-M4 TRM (ARM DDI 0439, r0p1).
"""

import struct
from collections.abc import Sequence
from typing import Final, Protocol

from fqtbench.virtual.debug_components import ROM_TABLE, DebugComponents
from fqtbench.virtual.target import BusFault, Target

# DP registers by A[3:2] (ADI B2.2).
DP_DPIDR: Final = 0x0  # read
DP_ABORT: Final = 0x0  # write
DP_CTRL_STAT: Final = 0x4
DP_SELECT: Final = 0x8  # write; reading here is RESEND
DP_RDBUFF: Final = 0xC  # read

ABORT_STKCMPCLR: Final = 1 << 1
ABORT_STKERRCLR: Final = 1 << 2
CTRL_STICKYCMP: Final = 1 << 4
CTRL_STICKYERR: Final = 1 << 5
CTRL_READOK: Final = 1 << 6
CTRL_CDBGPWRUPREQ: Final = 1 << 28
CTRL_CDBGPWRUPACK: Final = 1 << 29
CTRL_CSYSPWRUPREQ: Final = 1 << 30
CTRL_CSYSPWRUPACK: Final = 1 << 31
_CTRL_WRITABLE: Final = 0x543F_FF0D  # power and reset requests, transaction counter, lane mask, mode

# MEM-AP registers (ADI C2.6).
AP_CSW: Final = 0x00
AP_TAR: Final = 0x04
AP_DRW: Final = 0x0C
AP_BD0: Final = 0x10
AP_BD3: Final = 0x1C
AP_CFG: Final = 0xF4
AP_BASE: Final = 0xF8
AP_IDR: Final = 0xFC

AHB_AP_BASE: Final = ROM_TABLE | 0x3  # ADIv5 format, entry present

CSW_SIZE: Final = 0x7
CSW_SIZE_WORD: Final = 2
CSW_ADDRINC: Final = 0x3 << 4
CSW_ADDRINC_SINGLE: Final = 1 << 4
CSW_ADDRINC_PACKED: Final = 2 << 4
CSW_DEVICEEN: Final = 1 << 6
CSW_RESET: Final = 0x2300_0000  # MasterType debugger, privileged data access
_CSW_WRITABLE: Final = 0x2F00_0037
_TAR_WRAP_BYTES: Final = 0x1000  # the Cortex-M4's AHB-AP increments within 4 KB (TRM 8.2)

# CTRL-AP registers (PS 4.8, CTRL-AP; the values are also in pyOCD's target_nRF52.py).
CTRL_AP_RESET: Final = 0x00
CTRL_AP_ERASEALL: Final = 0x04
CTRL_AP_ERASEALLSTATUS: Final = 0x08
CTRL_AP_APPROTECTSTATUS: Final = 0x0C
CTRL_AP_IDR: Final = 0x0288_0000
APPROTECT_ENABLED: Final = 0
APPROTECT_DISABLED: Final = 1

_MASK32: Final = 0xFFFF_FFFF


class TransferFault(Exception):  # noqa: N818 - the wire's name for it
    """The port answers FAULT: the bus refused the access, the chip is protected, or debug power is off."""


class AccessPort(Protocol):
    """One access port: 64 word registers at offsets 0x00 to 0xFC."""

    def read(self, register: int) -> int:
        """Return a register's value."""

    def write(self, register: int, value: int) -> None:
        """Write a register."""


class MemoryAccessPort:
    """AHB-AP: the chip's memory through CSW, TAR, DRW and the banked data registers."""

    def __init__(self, target: Target, memory: DebugComponents, idr: int) -> None:
        self._target = target
        self._memory = memory
        self._idr = idr
        self._csw = CSW_RESET
        self._tar = 0

    def read(self, register: int) -> int:
        """Return a register's value; DRW and BD0-3 read memory."""
        if register == AP_DRW:
            return self._read_drw()
        if AP_BD0 <= register <= AP_BD3:
            return int.from_bytes(self.read_memory(self._banked(register), 4), "little")
        if register == AP_CSW:
            return self._csw | (0 if self._target.protected else CSW_DEVICEEN)
        constants = {AP_TAR: self._tar, AP_CFG: 0, AP_BASE: AHB_AP_BASE, AP_IDR: self._idr}
        return constants.get(register, 0)

    def write(self, register: int, value: int) -> None:
        """Write a register; DRW and BD0-3 write memory."""
        if register == AP_DRW:
            self._write_drw(value)
        elif AP_BD0 <= register <= AP_BD3:
            self.write_memory(self._banked(register), value.to_bytes(4, "little"))
        elif register == AP_CSW:
            size = value & CSW_SIZE
            self._csw = value & _CSW_WRITABLE & ~CSW_SIZE | (size if size <= CSW_SIZE_WORD else CSW_SIZE_WORD)
        elif register == AP_TAR:
            self._tar = value

    def read_block(self, count: int) -> list[int]:
        """Return the results of `count` reads of DRW."""
        words: list[int] = []
        while len(words) < count and self._streams_words():
            n = min(count - len(words), self._bytes_to_wrap() // 4)
            words += struct.unpack(f"<{n}I", self.read_memory(self._tar, 4 * n))
            self._advance(4 * n)
        return words + [self._read_drw() for _ in range(count - len(words))]

    def write_block(self, values: Sequence[int]) -> None:
        """Write `values` to DRW, one after the other."""
        done = 0
        while done < len(values) and self._streams_words():
            n = min(len(values) - done, self._bytes_to_wrap() // 4)
            self.write_memory(self._tar, struct.pack(f"<{n}I", *values[done : done + n]))
            self._advance(4 * n)
            done += n
        for value in values[done:]:
            self._write_drw(value)

    def read_memory(self, address: int, size: int) -> bytes:
        """Return `size` bytes from `address` on; raise `TransferFault` where the bus or APPROTECT refuses."""
        self._check_access()
        try:
            return self._memory.read(address, size)
        except BusFault as fault:
            raise TransferFault(f"bus fault reading {size} bytes at {address:#010x}") from fault

    def write_memory(self, address: int, data: bytes) -> None:
        """Write `data` from `address` on; raise `TransferFault` where the bus or APPROTECT refuses."""
        self._check_access()
        try:
            self._memory.write(address, data)
        except BusFault as fault:
            raise TransferFault(f"bus fault writing {len(data)} bytes at {address:#010x}") from fault

    def _check_access(self) -> None:
        if self._target.protected:
            raise TransferFault("the chip's access port protection (APPROTECT) is on")

    def _banked(self, register: int) -> int:
        return (self._tar & ~0xF) + (register - AP_BD0)

    def _streams_words(self) -> bool:
        mode = self._csw & (CSW_ADDRINC | CSW_SIZE)
        return mode == CSW_ADDRINC_SINGLE | CSW_SIZE_WORD and self._tar % 4 == 0

    def _bytes_to_wrap(self) -> int:
        return _TAR_WRAP_BYTES - self._tar % _TAR_WRAP_BYTES

    def _advance(self, size: int) -> None:
        page = self._tar & ~(_TAR_WRAP_BYTES - 1)
        self._tar = page | (self._tar + size) % _TAR_WRAP_BYTES

    def _elements(self) -> tuple[int, int]:
        """Return the size in bytes of one bus access, and how many of them one DRW transfer makes."""
        size = 1 << (self._csw & CSW_SIZE)
        packed = self._csw & CSW_ADDRINC == CSW_ADDRINC_PACKED
        return size, 4 // size if packed else 1

    def _read_drw(self) -> int:
        size, repeats = self._elements()
        value = 0
        for _ in range(repeats):
            address = self._tar & ~(size - 1)
            lane = 8 * (address & 3)  # data travels on the byte lanes of its address (ADI C2.2.6)
            value |= int.from_bytes(self.read_memory(address, size), "little") << lane
            self._increment(size)
        return value

    def _write_drw(self, value: int) -> None:
        size, repeats = self._elements()
        for _ in range(repeats):
            address = self._tar & ~(size - 1)
            data = value.to_bytes(4, "little")[address & 3 : (address & 3) + size]
            self.write_memory(address, data)
            self._increment(size)

    def _increment(self, size: int) -> None:
        if self._csw & CSW_ADDRINC:
            self._advance(size)


class ControlAccessPort:
    """CTRL-AP: reset and mass erase, also of a chip whose AHB-AP is locked (PS 4.8)."""

    def __init__(self, target: Target, memory: DebugComponents) -> None:
        self._target = target
        self._memory = memory

    def read(self, register: int) -> int:
        """Return a register's value. An erase is over when its write returns: ERASEALLSTATUS reads ready."""
        protection = APPROTECT_ENABLED if self._target.protected else APPROTECT_DISABLED
        values = {
            CTRL_AP_RESET: int(self._memory.held_in_reset),
            CTRL_AP_APPROTECTSTATUS: protection,
            AP_IDR: CTRL_AP_IDR,
        }
        return values.get(register, 0)

    def write(self, register: int, value: int) -> None:
        """Write a register: RESET holds the chip while 1, ERASEALL erases flash, UICR and RAM on 1."""
        if register == CTRL_AP_RESET:
            if value & 1:
                self._memory.hold_in_reset()
            else:
                self._memory.release_reset()
        elif register == CTRL_AP_ERASEALL and value & 1:
            self._target.erase_all()


class DebugPort:
    """SW-DP with a chip's access ports, driving `target`.

    Register numbers are A[3:2] of a transfer (0x0, 0x4, 0x8, 0xC; higher bits are ignored, as on the
    wire); values are unsigned 32-bit. AP transfers go to the port and bank chosen in SELECT.
    """

    def __init__(self, target: Target) -> None:
        identity = self._identity = target.debug_identity
        self._components = DebugComponents(target)
        self._memory = MemoryAccessPort(target, self._components, identity.ap_idr)
        self._ports: dict[int, AccessPort] = {0: self._memory}
        if identity.control_ap:
            self._ports[1] = ControlAccessPort(target, self._components)
        self._selected = True
        self._control = 0
        self._select = 0
        self._last_read = 0
        self._reset_asserted = False

    def select_target(self, target_id: int) -> None:
        """A write of TARGETSEL: of several ports on the wire the one with this id answers (ADI B4.3.4)."""
        self._selected = target_id == self._identity.target_id

    def _check_selected(self) -> None:
        if not self._selected:
            raise TransferFault(
                "no debug port answers: TARGETSEL has chosen another core than this board offers"
            )

    def read_dp(self, register: int) -> int:
        """Return a register of the debug port itself."""
        self._check_selected()
        match register & 0xC:
            case 0x0:
                return self._identity.dpidr
            case 0x4:
                # Other banks: DLCR, and ids that only a port with a target id has (ADI B2.2).
                banks = {2: self._identity.target_id, 3: self._identity.dlpidr}
                bank = self._select & 0xF
                return self._control_status() if bank == 0 else banks.get(bank, 0)
            case _:
                return self._last_read  # RESEND and RDBUFF

    def write_dp(self, register: int, value: int) -> None:
        """Write a register of the debug port itself."""
        self._check_selected()
        match register & 0xC:
            case 0x0:
                if value & ABORT_STKERRCLR:
                    self._control &= ~CTRL_STICKYERR
                if value & ABORT_STKCMPCLR:
                    self._control &= ~CTRL_STICKYCMP
            case 0x4:
                if self._select & 0xF == 0:
                    sticky = self._control & (CTRL_STICKYERR | CTRL_STICKYCMP | CTRL_READOK)
                    self._control = value & _CTRL_WRITABLE | sticky
            case 0x8:
                self._select = value
            case _:
                pass

    def read_ap(self, register: int) -> int:
        """Return a register of the selected access port; 0 where there is no port."""
        return self.read_ap_block(register, 1)[0]

    def write_ap(self, register: int, value: int) -> None:
        """Write a register of the selected access port; ignored where there is no port."""
        self.write_ap_block(register, [value])

    def read_ap_block(self, register: int, count: int) -> list[int]:
        """Read one register of the selected access port `count` times."""
        port, register = self._check_transfer(register)
        try:
            if port is self._memory and register == AP_DRW:
                values = self._memory.read_block(count)
            else:
                values = [port.read(register) if port else 0 for _ in range(count)]
        except TransferFault:
            self._fault()
            raise
        self._control |= CTRL_READOK
        if values:
            self._last_read = values[-1]
        return values

    def write_ap_block(self, register: int, values: Sequence[int]) -> None:
        """Write `values` one after the other to one register of the selected access port."""
        port, register = self._check_transfer(register)
        try:
            if port is self._memory and register == AP_DRW:
                self._memory.write_block(values)
            elif port:
                for value in values:
                    port.write(register, value)
        except TransferFault:
            self._fault()
            raise

    def read_memory(self, address: int, size: int) -> bytes:
        """Read memory as a probe with its own block transfers does: without TAR, DRW or sticky errors."""
        self._check_power()
        return self._memory.read_memory(address & _MASK32, size)

    def write_memory(self, address: int, data: bytes) -> None:
        """Write memory as a probe with its own block transfers does."""
        self._check_power()
        self._memory.write_memory(address & _MASK32, data)

    @property
    def reset_asserted(self) -> bool:
        """Whether the probe drives nRESET low."""
        return self._reset_asserted

    def assert_reset(self, asserted: bool) -> None:
        """Drive nRESET low (True) or release it. It spares the debug port itself (PS 5.3, "Reset behavior")."""
        self._reset_asserted = asserted
        if asserted:
            self._components.hold_in_reset()
        else:
            self._components.release_reset()

    def _control_status(self) -> int:
        acknowledged = 0
        if self._control & CTRL_CDBGPWRUPREQ:
            acknowledged |= CTRL_CDBGPWRUPACK
        if self._control & CTRL_CSYSPWRUPREQ:
            acknowledged |= CTRL_CSYSPWRUPACK
        return self._control | acknowledged

    def _check_power(self) -> None:
        self._check_selected()
        if not self._control & CTRL_CDBGPWRUPREQ:
            raise TransferFault("debug power is off (CTRL/STAT.CDBGPWRUPREQ is 0)")

    def _check_transfer(self, register: int) -> tuple[AccessPort | None, int]:
        """Return the selected port and the full register offset, or raise as the wire would answer FAULT."""
        if self._control & CTRL_STICKYERR:
            raise TransferFault("an earlier transfer failed (CTRL/STAT.STICKYERR); clear it through ABORT")
        try:
            self._check_power()
        except TransferFault:
            self._fault()
            raise
        return self._ports.get(self._select >> 24), self._select & 0xF0 | register & 0xC

    def _fault(self) -> None:
        self._control = (self._control | CTRL_STICKYERR) & ~CTRL_READOK
