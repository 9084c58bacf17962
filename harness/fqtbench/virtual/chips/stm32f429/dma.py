"""One DMA controller of the STM32F429 (RM0090 rev 19, "RM": 10) as far as a UART needs it: bytes in direct mode.

A stream moves what a peripheral gives (`give`) or takes (`fetch`, `taken`), in single, circular and double-buffer mode.
Moving takes no virtual time of its own. Offsets are those of STM32F429x.svd.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

STREAMS: Final = 8
EN: Final = 1 << 0
DIR_TO_PERIPHERAL: Final = 1 << 6
CIRC: Final = 1 << 8
MINC: Final = 1 << 10
DBM: Final = 1 << 18
CT: Final = 1 << 19
_FIRST_STREAM: Final = 0x10
_STREAM_BYTES: Final = 0x18
_CR, _NDTR, _PAR, _M0AR, _M1AR, _FCR = range(6)
_ERROR, _HALF, _COMPLETE = 1 << 3, 1 << 4, 1 << 5  # TEIF, HTIF, TCIF of a stream's six flags
_FLAG_SHIFTS: Final = (0, 6, 16, 22)  # of streams 0 to 3 in LISR, 4 to 7 in HISR
_FCR_RESET: Final = 0x21


class Request(NamedTuple):
    """A peripheral's line to a stream; the stream heeds it if its CHSEL says so (RM table 42)."""

    stream: int
    channel: int


class Memory(Protocol):
    """What the DMA moves from and to."""

    def dma_write(self, address: int, data: bytes) -> None:
        """Write RAM."""

    def dma_read(self, address: int, size: int) -> bytes:
        """Read RAM."""


class _Stream:
    def __init__(self) -> None:
        self.registers = [0, 0, 0, 0, 0, _FCR_RESET]
        self.flags = 0
        self.reload = 0  # NDTR when the stream was enabled

    @property
    def control(self) -> int:
        return self.registers[_CR]

    @property
    def left(self) -> int:
        return self.registers[_NDTR]

    def target(self) -> int:
        """Return the address of the buffer in use."""
        return self.registers[_M1AR if self.control & (DBM | CT) == DBM | CT else _M0AR]

    def advance(self, n_bytes: int) -> None:
        """Count bytes, at most `left`, and do what follows the last one."""
        before = self.left
        self.registers[_NDTR] -= n_bytes
        if before > self.reload // 2 >= self.left:
            self.flags |= _HALF
        if self.left:
            return
        self.flags |= _COMPLETE
        if self.control & (DBM | CIRC):
            self.registers[_NDTR] = self.reload
            self.registers[_CR] ^= CT if self.control & DBM else 0
        else:
            self.registers[_CR] &= ~EN


class Dma:
    """`before` is called before registers are read or written: a peripheral that works lazily catches up.

    `started(request)` tells peripherals that a stream has been enabled.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.before: Callable[[], None] = lambda: None
        self.started: Callable[[Request], None] = lambda request: None
        self.reset()

    def reset(self) -> None:
        """No stream is enabled."""
        self._streams = [_Stream() for _ in range(STREAMS)]

    # -- registers -----------------------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        """Return a register."""
        self.before()
        if offset < 8:  # LISR, HISR
            streams = self._streams[offset : offset + 4]
            return sum(s.flags << shift for s, shift in zip(streams, _FLAG_SHIFTS, strict=True))
        stream, register = divmod(offset - _FIRST_STREAM, _STREAM_BYTES)
        return self._streams[stream].registers[register // 4] if 0 <= stream < STREAMS else 0

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        self.before()
        if 8 <= offset < _FIRST_STREAM:  # LIFCR, HIFCR
            for stream, shift in zip(self._streams[offset - 8 : offset - 4], _FLAG_SHIFTS, strict=True):
                stream.flags &= ~(value >> shift)
            return
        number, register = divmod(offset - _FIRST_STREAM, _STREAM_BYTES)
        if 0 <= number < STREAMS:
            self._write_stream(number, register // 4, value)

    def _write_stream(self, number: int, register: int, value: int) -> None:
        stream = self._streams[number]
        if register == _CR:
            self._control(number, value)
        elif not stream.control & EN:
            stream.registers[register] = value & 0xFFFF if register == _NDTR else value
        elif stream.control & DBM and register in (_M0AR, _M1AR):
            self._move_buffer(stream, register, value)

    def _move_buffer(self, stream: _Stream, register: int, value: int) -> None:
        """The buffer that is not in use may be moved; an attempt at the other ends the transfer (RM 10.3.9)."""
        if bool(stream.control & CT) == (register == _M0AR):
            stream.registers[register] = value
        else:
            stream.flags |= _ERROR
            stream.registers[_CR] &= ~EN

    def _control(self, number: int, value: int) -> None:
        stream = self._streams[number]
        was_on = bool(stream.control & EN)
        if was_on:  # other fields are protected (RM 10.5.5)
            stream.registers[_CR] &= value | ~EN
            stream.flags |= 0 if value & EN else _COMPLETE
            return
        stream.registers[_CR] = value
        if value & EN and (stream.flags or not stream.left):  # flags must be clear (RM 10.3.17)
            stream.registers[_CR] &= ~EN
        elif value & EN:
            stream.reload = stream.left
            self.started(Request(number, value >> 25 & 7))

    # -- what a peripheral does ----------------------------------------------------------------------------

    def _serving(self, request: Request) -> _Stream | None:
        stream = self._streams[request.stream]
        return stream if stream.control & EN and stream.control >> 25 & 7 == request.channel else None

    def give(self, request: Request, data: bytes) -> int:
        """Write bytes to RAM; return how many of them the stream took."""
        taken = 0
        while taken < len(data):
            stream = self._serving(request)
            if stream is None or stream.control & DIR_TO_PERIPHERAL:
                break
            n_bytes = min(stream.left, len(data) - taken)
            done = stream.reload - stream.left if stream.control & MINC else 0
            self._memory.dma_write(stream.target() + done, data[taken : taken + n_bytes])
            stream.advance(n_bytes)
            taken += n_bytes
        return taken

    def fetch(self, request: Request) -> bytes:
        """Return all bytes that the stream is to bring to a peripheral; it is complete when `taken` is called."""
        stream = self._serving(request)
        if stream is None or not stream.control & DIR_TO_PERIPHERAL:
            return b""
        return self._memory.dma_read(stream.target(), stream.left)

    def taken(self, request: Request) -> None:
        """The peripheral has taken the last of those bytes."""
        stream = self._serving(request)
        if stream is not None:
            stream.advance(stream.left)
