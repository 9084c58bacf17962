"""UARTE with EasyDMA (nRF52840 Product Specification v1.7, 6.34; offsets from Nordic's SVD).

Received bytes are written to RAM lazily: at each register access, at WFI, at the end of a frame, and byte by byte while
the RXDRDY interrupt is enabled; so nothing that the core can see through registers differs from a byte-by-byte DMA.
"""

from collections.abc import Callable
from typing import Final, Protocol

from fqtbench.virtual.flow import Flow
from fqtbench.virtual.schedule import Event, Schedule

TASKS_STARTRX: Final = 0x000
TASKS_STOPRX: Final = 0x004
TASKS_STARTTX: Final = 0x008
TASKS_STOPTX: Final = 0x00C
TASKS_FLUSHRX: Final = 0x02C
EVENTS_RXDRDY: Final = 0x108
EVENTS_ENDRX: Final = 0x110
EVENTS_TXDRDY: Final = 0x11C
EVENTS_ENDTX: Final = 0x120
EVENTS_ERROR: Final = 0x124
EVENTS_RXTO: Final = 0x144
EVENTS_RXSTARTED: Final = 0x14C
EVENTS_TXSTARTED: Final = 0x150
EVENTS_TXSTOPPED: Final = 0x158
SHORTS: Final = 0x200
INTEN: Final = 0x300
INTENSET: Final = 0x304
INTENCLR: Final = 0x308
ERRORSRC: Final = 0x480
ENABLE: Final = 0x500
BAUDRATE: Final = 0x524
RXD_PTR: Final = 0x534
RXD_MAXCNT: Final = 0x538
RXD_AMOUNT: Final = 0x53C
TXD_PTR: Final = 0x544
TXD_MAXCNT: Final = 0x548
TXD_AMOUNT: Final = 0x54C

SHORT_ENDRX_STARTRX: Final = 1 << 5
ENABLED: Final = 8
_EVENTS: Final = 0x100  # the first event register; bit n of INTEN belongs to the n-th
_EVENTS_END: Final = 0x180
_OVERRUN: Final = 1  # ERRORSRC
_BITS_PER_BYTE: Final = 10  # start, 8 data, stop
_BAUD_UNIT: Final = 16_000_000 / 2**32  # baud = BAUDRATE · 16 MHz / 2^32, within the table's rounding


def _bit(event: int) -> int:
    return 1 << (event - _EVENTS) // 4


class Bus(Protocol):
    """What the DMA needs of the chip."""

    @property
    def now(self) -> int:
        """Cycles since power-on."""

    def dma_write(self, address: int, data: bytes) -> None:
        """Write RAM."""

    def dma_read(self, address: int, size: int) -> bytes:
        """Read RAM."""

    def set_pending(self, interrupt: int, level: bool) -> None:
        """Set the level of an interrupt line."""


class Uarte:
    """One UARTE; `transmitted` takes the bytes whose last bit has been sent."""

    def __init__(
        self,
        bus: Bus,
        schedule: Schedule,
        clock_hz: int,
        interrupt: int,
        transmitted: Callable[[bytes], None],
    ) -> None:
        self._bus, self._schedule = bus, schedule
        self._clock_hz, self._interrupt = clock_hz, interrupt
        self._transmitted = transmitted
        self.flow: Flow | None = None
        self.reset()

    def reset(self) -> None:
        """Go to the reset state; a frame on the line is lost."""
        self._registers = {BAUDRATE: 0x04000000}
        self._inten = 0
        self._events = 0  # a bit per event register that is not 0
        self._frame, self._frame_at, self._delivered = b"", 0, 0
        self._receiving, self._rx_address, self._rx_room, self._rx_count = False, 0, 0, 0
        self._transmitting = False
        self._byte_event: Event | None = None

    def _span(self, n_bytes: int) -> int:
        """Cycles of the core that `n_bytes` take on the line."""
        baud = round(self._registers[BAUDRATE] * _BAUD_UNIT / 100) * 100
        return n_bytes * _BITS_PER_BYTE * self._clock_hz // max(baud, 100)

    # -- registers -----------------------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        """Return a register."""
        self.synchronize()
        if offset in (INTEN, INTENSET, INTENCLR):
            return self._inten
        if _EVENTS <= offset < _EVENTS_END:
            return self._events >> (offset - _EVENTS) // 4 & 1
        return self._registers.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        self.synchronize()
        match offset:
            case 0x000 | 0x004 | 0x008 | 0x00C | 0x02C:
                if value & 1 and self._registers.get(ENABLE, 0) == ENABLED:
                    self._task(offset)
            case 0x304:
                self._inten |= value
            case 0x308:
                self._inten &= ~value
            case 0x300:
                self._inten = value
            case _ if _EVENTS <= offset < _EVENTS_END:
                bit = _bit(offset)
                self._events = self._events | bit if value & 1 else self._events & ~bit
            case 0x480:
                self._registers[ERRORSRC] = self._registers.get(ERRORSRC, 0) & ~value
            case _:
                self._registers[offset] = value
        self._update_interrupt()
        self._watch_bytes()

    def _task(self, offset: int) -> None:
        match offset:
            case 0x000:
                self._start_receiver()
            case 0x004:
                self._stop_receiver()
            case 0x008:
                self._start_transmitter()
            case 0x00C:
                self._raise(EVENTS_TXSTOPPED)
            case _:
                self._end_reception()  # FLUSHRX: the FIFO is always empty here

    def _raise(self, event: int) -> None:
        self._events |= _bit(event)
        self._update_interrupt()

    def _update_interrupt(self) -> None:
        self._bus.set_pending(self._interrupt, bool(self._inten & self._events))

    # -- receiver ------------------------------------------------------------------------------------------

    def _start_receiver(self) -> None:
        self._receiving = True
        self._rx_address = self._registers.get(RXD_PTR, 0)
        self._rx_room = self._registers.get(RXD_MAXCNT, 0) & 0xFFFF
        self._rx_count = 0
        self._raise(EVENTS_RXSTARTED)

    def _stop_receiver(self) -> None:
        if self._receiving:
            self._end_reception()
        self._receiving = False
        self._raise(EVENTS_RXTO)

    def _end_reception(self) -> None:
        self._registers[RXD_AMOUNT] = self._rx_count
        self._raise(EVENTS_ENDRX)
        if self._receiving and self._registers.get(SHORTS, 0) & SHORT_ENDRX_STARTRX:
            self._start_receiver()
        else:
            self._receiving = False

    def receive(self, frame: bytes, at: int) -> None:
        """Let `frame` begin on the RX line at cycle `at`."""
        self._frame, self._frame_at, self._delivered = frame, at, 0
        if self.flow is not None:
            self.flow.begin_transfer()
        self._schedule.add(at + self._span(len(frame)), self._frame_ends)
        self._watch_bytes()

    def _frame_ends(self) -> None:
        self.synchronize()
        ended = self._frame_at + self._span(len(self._frame))
        self._frame = b""
        self._delivered = 0
        if self.flow is not None:
            self.flow.end_transfer(ended)

    def synchronize(self) -> None:
        """Bring into RAM what has arrived by now."""
        if not self._frame:
            return
        elapsed = self._bus.now - self._frame_at
        arrived = min(elapsed // max(self._span(1), 1), len(self._frame)) if elapsed > 0 else 0
        while self._delivered < arrived:
            if not self._receiving:
                self._lose(arrived)
                return
            n = min(arrived - self._delivered, self._rx_room - self._rx_count)
            chunk = self._frame[self._delivered : self._delivered + n]
            self._bus.dma_write(self._rx_address + self._rx_count, chunk)
            self._rx_count += n
            self._delivered += n
            self._raise(EVENTS_RXDRDY)
            if self._rx_count >= self._rx_room:
                self._end_reception()

    def _lose(self, arrived: int) -> None:
        """Bytes for which no reception was started."""
        self._delivered = arrived
        self._registers[ERRORSRC] = self._registers.get(ERRORSRC, 0) | _OVERRUN
        self._raise(EVENTS_ERROR)

    def _watch_bytes(self) -> None:
        """While RXDRDY interrupts, look at each byte as it arrives."""
        wanted = bool(self._frame) and bool(self._inten & _bit(EVENTS_RXDRDY))
        if self._byte_event is not None:
            self._byte_event.cancel()
            self._byte_event = None
        if wanted and self._delivered < len(self._frame):
            at = self._frame_at + self._span(self._delivered + 1)
            self._byte_event = self._schedule.add(at, self._byte_arrives)

    def _byte_arrives(self) -> None:
        self._byte_event = None
        self.synchronize()
        self._watch_bytes()

    # -- transmitter -----------------------------------------------------------------------------------------

    def _start_transmitter(self) -> None:
        if self._transmitting:
            return
        n = self._registers.get(TXD_MAXCNT, 0) & 0xFFFF
        data = self._bus.dma_read(self._registers.get(TXD_PTR, 0), n) if n else b""
        self._transmitting = True
        self._raise(EVENTS_TXSTARTED)
        if self.flow is not None:
            self.flow.begin_transfer()
        end = self._bus.now + self._span(n)
        self._schedule.add(end, lambda: self._transmission_ends(data, end))

    def _transmission_ends(self, data: bytes, at: int) -> None:
        self._transmitting = False
        self._registers[TXD_AMOUNT] = len(data)
        self._transmitted(data)
        self._raise(EVENTS_TXDRDY)
        self._raise(EVENTS_ENDTX)
        if self.flow is not None:
            self.flow.end_transfer(at)
