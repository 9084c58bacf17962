"""What the debug port needs of a virtual chip: the interface between the two, and nothing else."""

from typing import Protocol

from fqtbench.virtual.debug_identity import DebugIdentity


class BusFault(Exception):  # noqa: N818 - the hardware's name for it
    """The bus refused an access: nothing answers at that address, or not to such an access."""


class Target(Protocol):
    """A chip under a debugger's control.

    `debug_enabled` is DHCSR.C_DEBUGEN, written by the debug port: with it a BKPT instruction halts the core,
    without it a BKPT is a fault (ARMv7-M ARM C1.4.2).
    `halt_reason` holds DFSR bits (ARMv7-M ARM C1.6.1), sticky until the debug port clears them.
    Register indices are those of DCRSR.REGSEL (ARMv7-M ARM C1.6.3): 0-15, 16 xPSR, 17 MSP, 18 PSP,
    20 CONTROL/FAULTMASK/BASEPRI/PRIMASK, 33 FPSCR, 64-95 S0-S31.
    """

    debug_identity: DebugIdentity
    debug_enabled: bool
    halted: bool
    locked_up: bool
    halt_reason: int
    protected: bool

    def halt(self) -> None:
        """Enter debug state."""

    def resume(self) -> None:
        """Leave debug state; the CPU runs in its own loop, never inside this call."""

    def step(self) -> None:
        """Execute one instruction and enter debug state again."""

    def reset(self, halt: bool) -> None:
        """Reset chip and peripherals; with `halt`, stop before the first instruction (vector catch)."""

    def reset_core(self, halt: bool) -> None:
        """Reset the core alone; `halt` as for `reset`."""

    def read_memory(self, address: int, size: int) -> bytes:
        """Return `size` bytes as the AHB-AP sees them; raise `BusFault`."""

    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes as the AHB-AP does; raise `BusFault`."""

    def read_register(self, index: int) -> int:
        """Return a core register."""

    def write_register(self, index: int, value: int) -> None:
        """Write a core register."""

    def set_breakpoints(self, addresses: frozenset[int]) -> None:
        """Stop before the instructions at these addresses, and at no others."""

    def erase_all(self) -> None:
        """Erase flash, UICR and RAM (CTRL-AP ERASEALL)."""
