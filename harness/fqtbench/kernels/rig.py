"""A bare virtual core that runs one kernel of an ELF at a time, and counts.

The ELF is firmware/prebuilt/kernels-<core>.elf; firmware/bench/kernels.mk says where it lies. Memory never waits.
"""

from pathlib import Path
from typing import Final, NamedTuple

import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import arm_const

from fqtbench.kernels.call import Call, Result, lay_out, read_back
from fqtbench.virtual.cpu import Cpu, Stop
from fqtbench.virtual.memory import CodeMemory, Kind, Region
from fqtbench.virtual.timing import cortex_m0plus, cortex_m4, cortex_m7
from fqtbench.virtual.timing.model import Timing

_FLASH_BYTES: Final = 0x10000
_RAM: Final = Region(0x2000_0000, 0x8_0000, Kind.RAM)
_MEMORY: Final = CodeMemory((Region(0, _FLASH_BYTES, Kind.FLASH), _RAM))
_STACK_BYTES: Final = 0x1000
_RETURN: Final = 0x100  # a BKPT lies there, below the code, which begins at 0x1000
_BREAKPOINT: Final = b"\x00\xbe"
_DEADLINE_CYCLES: Final = 1 << 40


class Core(NamedTuple):
    """A core: Unicorn's number of it, and what its instructions cost."""

    model: int
    timing: Timing


CORES: Final = {
    "cortex-m0plus": Core(arm_const.UC_CPU_ARM_CORTEX_M0, cortex_m0plus.TIMING),
    "cortex-m4": Core(arm_const.UC_CPU_ARM_CORTEX_M4, cortex_m4.TIMING),
    "cortex-m7": Core(arm_const.UC_CPU_ARM_CORTEX_M7, cortex_m7.TIMING),
}


class OnCore:
    """The kernels of `elf` as one of CORES runs them, virtual, with memory that never waits."""

    def __init__(self, elf: Path, core: str) -> None:
        self._cpu = Cpu(CORES[core].model, _MEMORY, CORES[core].timing)
        engine = self._cpu.engine
        engine.mem_map(0, _FLASH_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        engine.mem_map(_RAM.base, _RAM.size)
        engine.mem_write(_RETURN, _BREAKPOINT)
        with elf.open("rb") as file:
            parsed = ELFFile(file)
            for segment in parsed.iter_segments("PT_LOAD"):
                engine.mem_write(segment["p_paddr"], segment.data())
            self._entry = int(parsed.header["e_entry"]) & ~1

    def __call__(self, call: Call) -> Result:
        """Run it; instructions and cycles include the call itself."""
        memory = lay_out(call)
        assert len(memory) < _RAM.size - _STACK_BYTES
        engine = self._cpu.engine
        engine.mem_write(_RAM.base, memory.tobytes())
        engine.reg_write(arm_const.UC_ARM_REG_R0, _RAM.base)
        engine.reg_write(arm_const.UC_ARM_REG_SP, _RAM.base + _RAM.size)
        engine.reg_write(arm_const.UC_ARM_REG_LR, _RETURN | 1)
        self._cpu.pc = self._entry
        instructions, cycles = self._cpu.instructions, self._cpu.now
        stop = self._cpu.run(cycles + _DEADLINE_CYCLES)
        if stop is not Stop.BREAKPOINT:
            raise RuntimeError(f"{call.kernel.name} on {call.shape}: {stop} {self._cpu.fault}")
        after = bytes(engine.mem_read(_RAM.base, len(memory)))
        return read_back(call, after, self._cpu.instructions - instructions, self._cpu.now - cycles)

    def executed(self) -> dict[int, int]:
        """Return how often each basic block ran so far, by its address."""
        return {block.address: block.executions for block in self._cpu.block_counts()}
