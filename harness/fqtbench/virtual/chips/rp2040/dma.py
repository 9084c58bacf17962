"""The RP2040's DMA (RP2040 Datasheet, 2.5) as far as a UART needs it: bytes paced by a peripheral, chains, controls.

A channel without pacing does its whole transfer when it is started; one that is paced by a peripheral moves what that
peripheral gives (`give`) or takes (`taken`). Moving takes no virtual time of its own.
"""

from collections.abc import Callable
from typing import Final, Protocol

CHANNELS: Final = 12
EN: Final = 1 << 0
INCR_READ: Final = 1 << 4
INCR_WRITE: Final = 1 << 5
IRQ_QUIET: Final = 1 << 21
BUSY: Final = 1 << 24
PERMANENT: Final = 0x3F
_CHANNEL_BYTES: Final = 0x40
_INTR: Final = 0x400
_CHAN_ABORT: Final = 0x444
_N_CHANNELS: Final = 0x448
_CTRL_WRITABLE: Final = 0x00FFFFFF
_READ, _WRITE, _COUNT, _CTRL = range(4)
# Which register stands at each of a channel's sixteen words; the last of four starts the channel (RP 2.5.2.1).
_LAYOUT: Final = (
    *(_READ, _WRITE, _COUNT, _CTRL),
    *(_CTRL, _READ, _WRITE, _COUNT),
    *(_CTRL, _COUNT, _READ, _WRITE),
    *(_CTRL, _WRITE, _COUNT, _READ),
)


class Memory(Protocol):
    """What the DMA moves from and to."""

    def dma_write(self, address: int, data: bytes) -> None:
        """Write RAM."""

    def dma_read(self, address: int, size: int) -> bytes:
        """Read RAM."""


class _Channel:
    def __init__(self, number: int) -> None:
        self.registers = [0, 0, 0, number << 11]  # a channel that chains to itself chains to none
        self.left = 0
        self.busy = False

    @property
    def control(self) -> int:
        return self.registers[_CTRL]

    @property
    def request(self) -> int:
        return self.control >> 15 & 0x3F


class Dma:
    """All channels. `before` is called before registers are read or written: a peripheral that works lazily catches up.

    `started(request)` tells a peripheral that a channel which it paces has begun.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.before: Callable[[], None] = lambda: None
        self.started: Callable[[int], None] = lambda request: None
        self.reset()

    def reset(self) -> None:
        """No channel runs."""
        self._channels = [_Channel(n) for n in range(CHANNELS)]
        self._done = 0

    # -- registers -----------------------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        """Return a register."""
        self.before()
        if offset < CHANNELS * _CHANNEL_BYTES:
            channel = self._channels[offset // _CHANNEL_BYTES]
            which = _LAYOUT[offset % _CHANNEL_BYTES // 4]
            if which == _COUNT:
                return channel.left
            return channel.registers[which] | (BUSY if which == _CTRL and channel.busy else 0)
        return {_INTR: self._done, _N_CHANNELS: CHANNELS}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register; some start a channel."""
        self.before()
        self._write(offset, value)

    def _write(self, offset: int, value: int) -> None:
        if offset < CHANNELS * _CHANNEL_BYTES:
            word = offset % _CHANNEL_BYTES // 4
            channel = self._channels[offset // _CHANNEL_BYTES]
            which = _LAYOUT[word]
            channel.registers[which] = value & _CTRL_WRITABLE if which == _CTRL else value
            if word % 4 == 3 and value:  # a null trigger starts nothing (RP 2.5.2.3)
                self._start(channel)
        elif offset == _INTR:
            self._done &= ~value
        elif offset == _CHAN_ABORT:
            for n in range(CHANNELS):
                if value >> n & 1:
                    self._channels[n].busy = False

    # -- channels ------------------------------------------------------------------------------------------

    def _start(self, channel: _Channel) -> None:
        if channel.busy or not channel.control & EN:
            return
        channel.busy, channel.left = True, channel.registers[_COUNT]
        if channel.request == PERMANENT:
            self._copy_words(channel)
        else:
            self.started(channel.request)

    def _copy_words(self, channel: _Channel) -> None:
        """Move words from RAM into a register of the DMA itself: a control block."""
        read, write, _, control = channel.registers
        for _ in range(channel.left):
            value = int.from_bytes(self._memory.dma_read(read, 4), "little")
            read += 4 if control & INCR_READ else 0
            channel.registers[_READ] = read
            self._store(write, value)
        channel.left = 0
        self._complete(channel)

    def _store(self, address: int, value: int) -> None:
        offset = address - 0x50000000
        if 0 <= offset < CHANNELS * _CHANNEL_BYTES:
            self._write(offset, value)
        else:
            self._memory.dma_write(address, value.to_bytes(4, "little"))

    def _complete(self, channel: _Channel) -> None:
        channel.busy = False
        number = self._channels.index(channel)
        if not channel.control & IRQ_QUIET:
            self._done |= 1 << number
        target = channel.control >> 11 & 0xF
        if target != number and target < CHANNELS:
            self._start(self._channels[target])

    def _paced_by(self, request: int) -> _Channel | None:
        for channel in self._channels:
            if channel.busy and channel.request == request and channel.control & EN:
                return channel
        return None

    # -- what a peripheral does ----------------------------------------------------------------------------

    def room(self, request: int) -> int:
        """Return how many bytes the channel that a peripheral paces still wants; 0 if there is none."""
        channel = self._paced_by(request)
        return channel.left if channel else 0

    def give(self, request: int, data: bytes) -> None:
        """Let the channel write bytes, at most `room`, to RAM; behind the last one it is complete."""
        channel = self._paced_by(request)
        if channel is None:
            return
        address = channel.registers[_WRITE]
        self._memory.dma_write(address, data)
        channel.registers[_WRITE] = address + (len(data) if channel.control & INCR_WRITE else 0)
        channel.left -= len(data)
        if channel.left == 0:
            self._complete(channel)

    def fetch(self, request: int) -> bytes:
        """Return all bytes that the channel is to bring to a peripheral; it is complete when `taken` is called."""
        channel = self._paced_by(request)
        if channel is None:
            return b""
        return self._memory.dma_read(channel.registers[_READ], channel.left)

    def taken(self, request: int) -> None:
        """The peripheral has room for the last of those bytes."""
        channel = self._paced_by(request)
        if channel is not None:
            channel.registers[_READ] += channel.left
            channel.left = 0
            self._complete(channel)
