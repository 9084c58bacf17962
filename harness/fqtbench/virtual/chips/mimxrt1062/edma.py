"""The i.MX RT1062's eDMA and DMAMUX as far as a UART needs them: bytes paced by a peripheral, scatter/gather.

"RM" is the i.MX RT1060 Processor Reference Manual, chapters eDMA and DMAMUX; offsets are those of NXP's SVD file.
A channel moves bytes only if its descriptor says one byte per request; any other moves nothing. Moving takes no
virtual time of its own.
"""

import struct
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Final, Protocol

from fqtbench.virtual.peripheral import PlainRegisters

CHANNELS: Final = 32
CR: Final = 0x00
ERQ: Final = 0x0C
INT: Final = 0x24
_CR_RESET: Final = 0x400
_CR_HALT: Final = 1 << 5
CERQ, SERQ, CINT = 0x1A, 0x1B, 0x1F  # bytes that clear or set one channel's bit
_ALL_CHANNELS: Final = 1 << 6  # in those bytes
_NO_OPERATION: Final = 1 << 7
DESCRIPTORS: Final = 0x1000
DESCRIPTOR_BYTES: Final = 32
_LAYOUT: Final = struct.Struct("<IhHIiIhHIHH")  # RM, TCD: from SADDR to BITER
INT_MAJOR: Final = 1 << 1
ONCE: Final = 1 << 3  # DREQ
GATHER: Final = 1 << 4  # ESG
DONE: Final = 1 << 7
_COUNT: Final = 0x7FFF
MUX_ENABLE: Final = 1 << 31


class Memory(Protocol):
    """What the DMA moves from and to."""

    def dma_write(self, address: int, data: bytes) -> None:
        """Write RAM."""

    def dma_read(self, address: int, size: int) -> bytes:
        """Read RAM."""


@dataclass
class _Descriptor:
    """A channel's transfer control descriptor, its fields in their order in memory."""

    source: int
    source_step: int
    sizes: int
    bytes_per_request: int
    source_last: int
    target: int
    target_step: int
    left: int
    next: int
    control: int
    count: int

    def pack(self) -> bytes:
        """Return the 32 bytes."""
        return _LAYOUT.pack(*astuple(self))

    @property
    def by_bytes(self) -> bool:
        """Whether a request moves one byte."""
        return self.sizes == 0 and self.bytes_per_request == 1


class Mux(PlainRegisters):
    """DMAMUX: which peripheral's request paces a channel."""

    def channels(self, request: int) -> list[int]:
        """Return the channels that `request` paces."""
        return [n for n in range(CHANNELS) if self.read(4 * n) == MUX_ENABLE | request]


class Edma:
    """All channels, at offsets of both pages. `before` is called before registers are read or written.

    `started(request)` tells a peripheral that a channel which it paces has been enabled.
    """

    def __init__(self, memory: Memory, mux: Mux) -> None:
        self._memory, self._mux = memory, mux
        self.before: Callable[[], None] = lambda: None
        self.started: Callable[[int], None] = lambda request: None
        self.reset()

    def reset(self) -> None:
        """No channel is enabled. (Descriptors hold anything after a reset: here zeros.)"""
        self._descriptors = bytearray(CHANNELS * DESCRIPTOR_BYTES)
        self._control = _CR_RESET
        self._enabled = self._interrupts = 0

    # -- registers -----------------------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        """Return a word."""
        self.before()
        if offset >= DESCRIPTORS:
            at = offset - DESCRIPTORS
            return int.from_bytes(self._descriptors[at : at + 4], "little")
        return {CR: self._control, ERQ: self._enabled, INT: self._interrupts}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a word."""
        self.write_part(offset, 4, value)

    def write_part(self, offset: int, size: int, value: int) -> None:
        """Write 1, 2 or 4 bytes."""
        self.before()
        if offset >= DESCRIPTORS:
            at = offset - DESCRIPTORS
            if at + size <= len(self._descriptors):
                self._descriptors[at : at + size] = value.to_bytes(size, "little")
        elif offset == CR:
            self._control = value
        elif offset == ERQ:
            self._enable(value)
        elif offset == INT:
            self._interrupts &= ~value
        elif size == 1 and not value & _NO_OPERATION:
            self._command(offset, (1 << CHANNELS) - 1 if value & _ALL_CHANNELS else 1 << (value & 0x1F))

    def _command(self, offset: int, channels: int) -> None:
        if offset == CERQ:
            self._enabled &= ~channels
        elif offset == SERQ:
            self._enable(self._enabled | channels)
        elif offset == CINT:
            self._interrupts &= ~channels

    def _enable(self, channels: int) -> None:
        new = channels & ~self._enabled
        self._enabled = channels
        for n in range(CHANNELS):
            source = self._mux.read(4 * n)
            if new >> n & 1 and source & MUX_ENABLE:
                self.started(source & ~MUX_ENABLE)

    # -- channels ------------------------------------------------------------------------------------------

    def _load(self, channel: int) -> _Descriptor:
        at = channel * DESCRIPTOR_BYTES
        return _Descriptor(*_LAYOUT.unpack_from(self._descriptors, at))

    def _keep(self, channel: int, raw: bytes) -> None:
        at = channel * DESCRIPTOR_BYTES
        self._descriptors[at : at + DESCRIPTOR_BYTES] = raw

    def _paced_by(self, request: int) -> tuple[int, _Descriptor] | None:
        if self._control & _CR_HALT:
            return None
        for n in self._mux.channels(request):
            descriptor = self._load(n)
            if self._enabled >> n & 1 and descriptor.by_bytes and descriptor.left & _COUNT:
                return n, descriptor
        return None

    def _complete(self, channel: int, descriptor: _Descriptor) -> None:
        """The major loop has ended (RM, eDMA, basic data flow)."""
        if descriptor.control & INT_MAJOR:
            self._interrupts |= 1 << channel
        if descriptor.control & ONCE:
            self._enabled &= ~(1 << channel)
        if descriptor.control & GATHER:
            self._keep(channel, self._memory.dma_read(descriptor.next, DESCRIPTOR_BYTES))
            return
        descriptor.control |= DONE
        descriptor.left = descriptor.count
        descriptor.source = descriptor.source + descriptor.source_last & 0xFFFFFFFF
        descriptor.target = descriptor.target + descriptor.next & 0xFFFFFFFF  # here a signed adjustment
        self._keep(channel, descriptor.pack())

    # -- what a peripheral does ----------------------------------------------------------------------------

    def room(self, request: int) -> int:
        """Return how many bytes the channel that a peripheral paces still wants; 0 if there is none."""
        paced = self._paced_by(request)
        return paced[1].left if paced else 0

    def give(self, request: int, data: bytes) -> None:
        """Let the channel write bytes, at most `room`, to RAM; behind the last one it is complete."""
        paced = self._paced_by(request)
        if paced is None:
            return
        channel, descriptor = paced
        step = descriptor.target_step
        if step == 1:
            self._memory.dma_write(descriptor.target, data)
        else:
            for n, byte in enumerate(data):
                self._memory.dma_write(descriptor.target + n * step, bytes([byte]))
        descriptor.target = descriptor.target + len(data) * step & 0xFFFFFFFF
        descriptor.left -= len(data)
        if descriptor.left:
            self._keep(channel, descriptor.pack())
        else:
            self._complete(channel, descriptor)

    def fetch(self, request: int) -> bytes:
        """Return all bytes that the channel is to bring to a peripheral; it is complete when `taken` is called."""
        paced = self._paced_by(request)
        if paced is None:
            return b""
        return self._memory.dma_read(paced[1].source, paced[1].left)

    def taken(self, request: int) -> None:
        """The peripheral has room for the last of those bytes."""
        paced = self._paced_by(request)
        if paced is not None:
            channel, descriptor = paced
            descriptor.source = descriptor.source + descriptor.left & 0xFFFFFFFF
            self._complete(channel, descriptor)


class EdmaPage:
    """One of the eDMA's pages; it resets with the first."""

    def __init__(self, edma: Edma, first: int) -> None:
        self._edma, self._first = edma, first

    def read(self, offset: int) -> int:
        """Return a word."""
        return self._edma.read(self._first + offset)

    def write(self, offset: int, value: int) -> None:
        """Write a word."""
        self._edma.write(self._first + offset, value)

    def write_part(self, offset: int, size: int, value: int) -> None:
        """Write 1, 2 or 4 bytes."""
        self._edma.write_part(self._first + offset, size, value)

    def reset(self) -> None:
        """Go to the reset state."""
        self._edma.reset()
