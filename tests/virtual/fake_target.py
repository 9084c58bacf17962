"""A chip of plain memory for tests of the debug port: no CPU, but it does what pyOCD's flash algorithm does.

When it is resumed at an entry point of pyOCD's nRF52 flash algorithm it performs that function on its memory
at once and stops at the algorithm's return address, as the real one does at its BKPT.
"""

import contextlib
import socket
import threading
import zlib
from collections.abc import Iterator

from fqtbench.virtual.chips.nrf52840.debug import IDENTITY
from fqtbench.virtual.debug_components import DFSR_HALTED, DFSR_VCATCH
from fqtbench.virtual.probe_server import ProbeServer
from fqtbench.virtual.target import BusFault

DFSR_BKPT = 2

FLASH_BYTES = 0x10_0000
RAM_START, RAM_BYTES = 0x2000_0000, 0x4_0000
PAGE_BYTES = 0x1000
NVMC_READY = 0x4001_E400
UICR_APPROTECT = 0x1000_1208

_WORDS = {
    0x1000_0100: 0x0005_2840,  # FICR INFO.PART, VARIANT ("AAC0": not hardened), PACKAGE
    0x1000_0104: 0x4141_4330,
    0x1000_0108: 0x2004,
    UICR_APPROTECT: 0xFFFF_FFFF,
    0xE000_ED00: 0x410F_C241,  # CPUID of a Cortex-M4 r0p1
    0xE000_EF40: 0x1011_0021,  # MVFR0: single precision
    0xE000_1000: 0x4000_0000,  # DWT_CTRL: four comparators, as on silicon
    NVMC_READY: 1,
}


class FakeTarget:
    """Implements `fqtbench.virtual.target.Target`."""

    def __init__(self) -> None:
        self.flash = bytearray(b"\xff" * FLASH_BYTES)
        self.ram = bytearray(RAM_BYTES)
        self.words = dict(_WORDS)
        self.registers: dict[int, int] = {}
        self.breakpoints: frozenset[int] = frozenset()
        self.debug_identity = IDENTITY
        self.debug_enabled = False
        self.halted = False
        self.locked_up = False
        self.halt_reason = 0
        self.protected = False
        self.resets: list[bool] = []
        self.steps = 0
        self.pages_programmed: list[int] = []
        self.fail_programming_at: int | None = None

    def halt(self) -> None:
        self._stop(DFSR_HALTED)

    def _stop(self, reason: int) -> None:
        self.halted = True
        self.halt_reason |= reason

    def resume(self) -> None:
        self.halted = False
        if self._call(self.registers.get(15, 0)):
            self.registers[15] = self.registers[14] & ~1
            self._stop(DFSR_BKPT)

    def _call(self, pc: int) -> bool:
        r0, r1, r2 = (self.registers.get(i, 0) for i in range(3))
        match pc & ~1:
            case 0x2000_0020:  # Init
                pass
            case 0x2000_0048:  # EraseSector(r0)
                self.flash[r0 : r0 + PAGE_BYTES] = b"\xff" * PAGE_BYTES
            case 0x2000_0070:  # ProgramPage(r0, r1 bytes, from r2)
                data = self.ram[r2 - RAM_START : r2 - RAM_START + r1]
                if r0 == self.fail_programming_at:
                    data[0] ^= 1
                self.flash[r0 : r0 + r1] = data
                self.pages_programmed.append(r0)
            case 0x2000_4000:  # the analyzer: CRC-32 of r1 ranges described at r0, in place
                self._analyze(r0 - RAM_START, r1)
            case _:
                return False
        self.registers[0] = 0
        return True

    def _analyze(self, offset: int, count: int) -> None:
        for at in range(offset, offset + 4 * count, 4):
            word = int.from_bytes(self.ram[at : at + 4], "little")
            size = 1 << (word & 0xFFFF)
            start = (word >> 16) * size
            self.ram[at : at + 4] = zlib.crc32(self.flash[start : start + size]).to_bytes(4, "little")

    def step(self) -> None:
        self.steps += 1
        self.registers[15] = self.registers.get(15, 0) + 2
        self._stop(DFSR_HALTED)

    def reset_core(self, halt: bool) -> None:
        self.reset(halt)

    def reset(self, halt: bool) -> None:
        self.resets.append(halt)
        self.halted = self.locked_up = False
        self.protected = self.words[UICR_APPROTECT] & 0xFF == 0
        self.registers = {13: int.from_bytes(self.flash[0:4], "little")}
        self.registers[15] = int.from_bytes(self.flash[4:8], "little") & ~1
        self.registers[16] = 1 << 24
        if halt:
            self._stop(DFSR_VCATCH)

    def _region(self, address: int, size: int) -> tuple[bytearray, int] | None:
        for memory, start in ((self.flash, 0), (self.ram, RAM_START)):
            if start <= address and address + size <= start + len(memory):
                return memory, address - start
        return None

    def read_memory(self, address: int, size: int) -> bytes:
        if region := self._region(address, size):
            return bytes(region[0][region[1] : region[1] + size])
        if not 0x1000_0000 <= address < 0x1000_2000 and not 0x4000_0000 <= address < 0xE010_0000:
            raise BusFault(f"{address:#010x}")
        word = self.words.get(address & ~3, 0).to_bytes(4, "little")
        return word[address & 3 : (address & 3) + size] if size < 4 else word.ljust(size, b"\0")

    def write_memory(self, address: int, data: bytes) -> None:
        if region := self._region(address, len(data)):
            if region[0] is self.flash:
                raise BusFault("flash is written through the NVMC")
            region[0][region[1] : region[1] + len(data)] = data
            return
        if not 0x1000_0000 <= address < 0x1000_2000 and not 0x4000_0000 <= address < 0xE010_0000:
            raise BusFault(f"{address:#010x}")
        self.words[address & ~3] = int.from_bytes(data[:4], "little")

    def read_register(self, index: int) -> int:
        return self.registers.get(index, 0)

    def write_register(self, index: int, value: int) -> None:
        self.registers[index] = value

    def set_breakpoints(self, addresses: frozenset[int]) -> None:
        self.breakpoints = addresses

    def erase_all(self) -> None:
        self.flash[:] = b"\xff" * FLASH_BYTES
        self.ram[:] = bytes(RAM_BYTES)
        self.words[UICR_APPROTECT] = 0xFFFF_FFFF
        self.protected = False

    def lock(self) -> None:
        """Turn access port protection on, as UICR.APPROTECT does at a reset."""
        self.words[UICR_APPROTECT] = 0
        self.protected = True


@contextlib.contextmanager
def serving(target: FakeTarget) -> Iterator[ProbeServer]:
    """Serve `target` from a thread, as a board's main loop would from its own process."""
    server = ProbeServer(target)
    wake, stop = socket.socketpair()

    def loop() -> None:
        while not closing.is_set():
            server.service(0.02)

    closing = threading.Event()
    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield server
    finally:
        closing.set()
        thread.join(timeout=10)
        server.close()
        wake.close()
        stop.close()
        assert not thread.is_alive(), "the probe server hangs"
