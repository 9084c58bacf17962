"""LPUART, the i.MX RT1062's UART (i.MX RT1060 Processor Reference Manual, chapter LPUART; offsets from NXP's SVD file).

Received bytes reach the FIFO or the DMA lazily: at each register access, at WFI, at the end of a frame, and where the
next byte makes a difference that code could see: the last of a DMA transfer, or any while the edge of a start bit
interrupts. Of the UART's interrupts only that one is modelled.
"""

from collections.abc import Callable
from typing import Final

from fqtbench.virtual.chips.mimxrt1062.edma import Edma
from fqtbench.virtual.schedule import Schedule
from fqtbench.virtual.serial_port import BITS_PER_BYTE, SerialPort

BAUD: Final = 0x10
STAT: Final = 0x14
CTRL: Final = 0x18
DATA: Final = 0x1C
FIFO: Final = 0x28

BAUD_RXEDGIE: Final = 1 << 14
BAUD_RDMAE: Final = 1 << 21
BAUD_TDMAE: Final = 1 << 23
STAT_OR: Final = 1 << 19
STAT_RDRF: Final = 1 << 21
STAT_TC: Final = 1 << 22
STAT_TDRE: Final = 1 << 23
STAT_RXEDGIF: Final = 1 << 30
CTRL_RE: Final = 1 << 18
CTRL_TE: Final = 1 << 19
DATA_RXEMPT: Final = 1 << 12
FIFO_RXFE: Final = 1 << 3
FIFO_TXFE: Final = 1 << 7
FIFO_RXFLUSH: Final = 1 << 14
FIFO_WORDS: Final = 4
_FIFO_SIZES: Final = 0x11  # RXFIFOSIZE, TXFIFOSIZE: 4 words each
_FIFO_EMPTY: Final = 3 << 22
_PRESETS: Final = {BAUD: 0x0F000004, CTRL: 0, FIFO: 0}


class Lpuart(SerialPort):
    """One UART on `dma`'s requests `rx` and `tx`; `transmitted` takes the bytes whose last bit has been sent."""

    def __init__(
        self,
        now: Callable[[], int],
        schedule: Schedule,
        dma: Edma,
        requests: tuple[int, int],
        transmitted: Callable[[bytes], None],
    ) -> None:
        """`now` counts core cycles; `requests`: the DMA's for reception and transmission."""
        super().__init__(now, schedule, transmitted)
        self._dma = dma
        self._rx_request, self._tx_request = requests
        self.cycles_per_clock: Callable[[], float] = lambda: 1.0  # core cycles in one of the UART's clock
        self.connected: Callable[[], bool] = lambda: True  # whether the RX pin leads here
        self.interrupt: Callable[[bool], None] = lambda level: None
        self.reset()

    def reset(self) -> None:
        """Go to the reset state; frames on the line are lost."""
        self._reset_line()
        self._registers = dict(_PRESETS)
        self._flags = 0
        self._fifo = bytearray()
        self.interrupt(False)

    def byte_cycles(self) -> int:
        """Return how long a byte takes on the line."""
        oversampling = (self._registers[BAUD] >> 24 & 0x1F) + 1
        divisor = self._registers[BAUD] & 0x1FFF
        clocks = BITS_PER_BYTE * (oversampling if oversampling > 1 else 16) * divisor
        return max(round(clocks * self.cycles_per_clock()), 1)

    # -- registers -----------------------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        """Return a register; DATA takes from the FIFO."""
        self.synchronize()
        match offset:
            case 0x14:
                return self._status()
            case 0x1C:
                return self._fifo.pop(0) if self._fifo else DATA_RXEMPT
            case 0x28:
                return self._registers[FIFO] | _FIFO_SIZES | (0 if self._fifo else _FIFO_EMPTY)
        return self._registers.get(offset, 0)

    def _status(self) -> int:
        left = self._sending_until - self._now()
        depth = FIFO_WORDS if self._registers[FIFO] & FIFO_TXFE else 1
        value = self._flags | (STAT_RDRF if self._fifo else 0) | (STAT_TC if left <= 0 else 0)
        return value | (STAT_TDRE if left <= depth * self.byte_cycles() else 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register; DATA sends a byte."""
        self.synchronize()
        sent_by_dma = self._sends_by_dma
        match offset:
            case 0x14:
                self._flags &= ~value  # written ones clear
            case 0x1C:
                self._send(bytes([value & 0xFF]))
                return
            case 0x28:
                if value & FIFO_RXFLUSH:
                    self._fifo.clear()
                self._registers[FIFO] = value & (FIFO_RXFE | FIFO_TXFE)
            case _:
                self._registers[offset] = value
        if self._sends_by_dma and not sent_by_dma:
            self.dma_started(self._tx_request)
        self._signal()
        self.watch_arrivals()

    def _signal(self) -> None:
        self.interrupt(bool(self._flags & STAT_RXEDGIF and self._registers[BAUD] & BAUD_RXEDGIE))

    # -- receiver ------------------------------------------------------------------------------------------

    @property
    def _listening(self) -> bool:
        return bool(self._registers[CTRL] & CTRL_RE) and self.connected()

    def _begin_byte(self) -> None:
        if self._listening:
            self._flags |= STAT_RXEDGIF
            self._signal()

    def _take(self, data: bytes) -> None:
        if not self._listening or self._flags & STAT_OR:
            return  # while OR stands nothing more is received
        self._fifo += data
        self._feed_dma()
        depth = FIFO_WORDS if self._registers[FIFO] & FIFO_RXFE else 1
        if len(self._fifo) > depth:
            self._flags |= STAT_OR
            del self._fifo[depth:]

    def _feed_dma(self) -> None:
        while self._fifo and self._registers[BAUD] & BAUD_RDMAE:
            n = min(self._dma.room(self._rx_request), len(self._fifo))
            if not n:
                return
            data = bytes(self._fifo[:n])
            del self._fifo[:n]
            self._dma.give(self._rx_request, data)

    def _next_notice(self, left: int) -> int | None:
        """Return the next start bit while it wakes the core, else the end of a DMA transfer."""
        start = self._next_start_bit()
        if self._registers[BAUD] & BAUD_RXEDGIE and start is not None:
            return start
        return self._arrival_of(min(self._dma.room(self._rx_request), left))

    # -- transmitter -----------------------------------------------------------------------------------------

    @property
    def _sends_by_dma(self) -> bool:
        return bool(self._registers[CTRL] & CTRL_TE and self._registers[BAUD] & BAUD_TDMAE)

    def dma_started(self, request: int) -> None:
        """A channel that the UART paces has been enabled, or the UART itself."""
        if request == self._rx_request:
            self._feed_dma()
            self.watch_arrivals()
        elif self._sends_by_dma:
            data = self._dma.fetch(self._tx_request)
            if data:
                end = self._send(data)
                full = end - FIFO_WORDS * self.byte_cycles()  # until then bytes wait in RAM
                self._at(max(full, self._now()), lambda: self._dma.taken(self._tx_request))
