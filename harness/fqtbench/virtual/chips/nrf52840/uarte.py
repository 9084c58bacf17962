"""UARTE with EasyDMA (nRF52840 Product Specification v1.7, 6.34; offsets from Nordic's SVD).

Received bytes are written to RAM lazily: at each register access, at WFI, at the end of a frame, and at each event that
may interrupt; so nothing that the core can see through registers differs from a byte-by-byte DMA.
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
_PERIPHERAL_HZ: Final = 16_000_000  # the UARTE's clock; a bit lasts a whole number of its ticks
# BAUDRATE to the actual rate in baud (Nordic's SVD, UARTE0.BAUDRATE).
ACTUAL_BAUD: Final = {
    0x0004F000: 1205,
    0x0009D000: 2396,
    0x0013B000: 4808,
    0x00275000: 9598,
    0x003AF000: 14401,
    0x004EA000: 19208,
    0x0075C000: 28777,
    0x00800000: 31250,
    0x009D0000: 38369,
    0x00E50000: 55944,
    0x00EB0000: 57554,
    0x013A9000: 76923,
    0x01D60000: 115108,
    0x03B00000: 231884,
    0x04000000: 250000,
    0x07400000: 457143,
    0x0F000000: 941176,
    0x10000000: 1_000_000,
}
_RESET_BAUDRATE: Final = 0x04000000


def _bit(event: int) -> int:
    return 1 << (event - _EVENTS) // 4


_RECEIVER_EVENTS: Final = sum(map(_bit, (EVENTS_RXDRDY, EVENTS_ENDRX, EVENTS_ERROR, EVENTS_RXSTARTED)))


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
        self._registers = {BAUDRATE: _RESET_BAUDRATE}
        self._inten = 0
        self._events = 0  # a bit per event register that is not 0
        self._frame, self._frame_at, self._delivered = b"", 0, 0
        self._receiving, self._rx_address, self._rx_room, self._rx_count = False, 0, 0, 0
        self._sending: bytes | None = None
        self._sending_since, self._sent, self._stopping = 0, 0, False
        self._end_of_sending: Event | None = None
        self._arrival: Event | None = None

    def _span(self, n_bytes: int) -> int:
        """Cycles of the core that `n_bytes` take on the line."""
        code = self._registers[BAUDRATE]
        baud = ACTUAL_BAUD.get(code) or max(code * _PERIPHERAL_HZ >> 32, 1)
        ticks = round(_PERIPHERAL_HZ / baud)
        return n_bytes * _BITS_PER_BYTE * ticks * (self._clock_hz // _PERIPHERAL_HZ)

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
        self._watch_arrivals()

    def _task(self, offset: int) -> None:
        match offset:
            case 0x000:
                self._start_receiver()
            case 0x004:
                self._stop_receiver()
            case 0x008:
                self._start_transmitter()
            case 0x00C:
                self._stop_transmitter()
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
        self._watch_arrivals()

    def _frame_ends(self) -> None:
        self.synchronize()
        ended = self._frame_at + self._span(len(self._frame))
        self._frame = b""
        self._delivered = 0
        if self.flow is not None:
            self.flow.end_transfer(ended)

    def synchronize(self) -> None:
        """Bring into RAM what has arrived by now, and note what has been sent."""
        if self._sending is not None:
            sent = min((self._bus.now - self._sending_since) // self._span(1), len(self._sending))
            if sent > self._sent:
                self._sent = sent
                self._raise(EVENTS_TXDRDY)
        if self._frame:
            self._take_arrived()

    def _take_arrived(self) -> None:
        elapsed = self._bus.now - self._frame_at
        arrived = min(elapsed // self._span(1), len(self._frame)) if elapsed > 0 else 0
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

    def _watch_arrivals(self) -> None:
        """While one of the receiver's events interrupts, look when the next one comes."""
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None
        left = len(self._frame) - self._delivered
        if not left or not self._inten & _RECEIVER_EVENTS:
            return
        each = self._inten & _bit(EVENTS_RXDRDY) or not self._receiving
        n = 1 if each else min(left, self._rx_room - self._rx_count)
        self._arrival = self._schedule.add(
            self._frame_at + self._span(self._delivered + max(n, 1)), self._arrives
        )

    def _arrives(self) -> None:
        self._arrival = None
        self.synchronize()
        self._watch_arrivals()

    # -- transmitter -----------------------------------------------------------------------------------------

    def _start_transmitter(self) -> None:
        if self._sending is not None:
            return
        n = self._registers.get(TXD_MAXCNT, 0) & 0xFFFF
        self._sending = self._bus.dma_read(self._registers.get(TXD_PTR, 0), n) if n else b""
        self._sending_since, self._sent = self._bus.now, 0
        self._raise(EVENTS_TXSTARTED)
        if self.flow is not None:
            self.flow.begin_transfer()
        self._end_transmission_after(n)

    def _end_transmission_after(self, n_bytes: int) -> None:
        end = self._sending_since + self._span(n_bytes)
        if self._end_of_sending is not None:
            self._end_of_sending.cancel()
        self._end_of_sending = self._schedule.add(end, lambda: self._transmission_ends(n_bytes, end))

    def _stop_transmitter(self) -> None:
        """The byte on the line is the last; TXSTOPPED comes behind it (PS 6.34.3)."""
        if self._sending is None:
            self._raise(EVENTS_TXSTOPPED)
            return
        self._stopping = True
        self._end_transmission_after(min(self._sent + 1, len(self._sending)))

    def _transmission_ends(self, n_bytes: int, at: int) -> None:
        data = (self._sending or b"")[:n_bytes]
        self._sending = self._end_of_sending = None
        self._registers[TXD_AMOUNT] = len(data)
        self._transmitted(data)
        if self._sent < len(data):
            self._raise(EVENTS_TXDRDY)
        self._raise(EVENTS_ENDTX)
        if self._stopping:
            self._stopping = False
            self._raise(EVENTS_TXSTOPPED)
        if self.flow is not None:
            self.flow.end_transfer(at)
