"""A USART of the STM32F429 (RM0090 rev 19, "RM": 30; offsets from STM32F429x.svd): eight bits, no parity, with DMA.

Received bytes reach the data register or the DMA lazily: at each register access, at WFI, at the end of a frame, and
where a start bit makes a difference that code could see. The USART's own interrupts are not modelled.
"""

from collections.abc import Callable
from typing import Final

from fqtbench.virtual.chips.stm32f429.dma import Dma, Request
from fqtbench.virtual.schedule import Schedule
from fqtbench.virtual.serial_port import BITS_PER_BYTE, Pins, SerialPort

SR: Final = 0x00
DR: Final = 0x04
BRR: Final = 0x08
CR1: Final = 0x0C
CR3: Final = 0x14

SR_ORE: Final = 1 << 3
SR_RXNE: Final = 1 << 5
SR_TC: Final = 1 << 6
SR_TXE: Final = 1 << 7
CR1_RE: Final = 1 << 2
CR1_TE: Final = 1 << 3
CR1_UE: Final = 1 << 13
CR3_DMAR: Final = 1 << 6
CR3_DMAT: Final = 1 << 7
_DEPTH: Final = 2  # bytes that have left RAM and are not sent: one in DR, one in the shift register


class Usart(SerialPort):
    """One USART on `dma`'s requests; `transmitted` takes the bytes whose last bit has been sent."""

    def __init__(
        self,
        clock: tuple[Callable[[], int], Callable[[], int]],
        schedule: Schedule,
        dma: Dma,
        requests: tuple[Request, Request],
        transmitted: Callable[[bytes], None],
    ) -> None:
        """`clock`: the cycle now, and how many of them one of the bus takes; `requests`: reception, transmission."""
        now, self._divisor = clock
        super().__init__(now, schedule, transmitted)
        self._dma = dma
        self._rx_request, self._tx_request = requests
        self.pins: Pins | None = None
        self.reset()

    def reset(self) -> None:
        """Go to the reset state; frames on the line are lost."""
        self._reset_line()
        self._registers: dict[int, int] = {}
        self._data = 0
        self._status = 0  # RXNE, ORE
        self._status_read = False

    def byte_cycles(self) -> int:
        """Return how long a byte takes on the line, in cycles of the core."""
        return max(BITS_PER_BYTE * self._registers.get(BRR, 0) * self._divisor(), 1)

    def _enabled(self, bits: int) -> bool:
        return self._registers.get(CR1, 0) & (CR1_UE | bits) == CR1_UE | bits

    # -- registers -----------------------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        """Return a register; SR, then DR clears an overrun."""
        self.synchronize()
        if offset == SR:
            self._status_read = True
            left = self._sending_until - self._now()
            status = self._status | (SR_TC if left <= 0 else 0)
            return status | (SR_TXE if left <= self.byte_cycles() else 0)
        if offset == DR:
            self._status &= ~(SR_RXNE | (SR_ORE if self._status_read else 0))
            self._status_read = False
            return self._data
        return self._registers.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register; DR sends a byte."""
        self.synchronize()
        if offset == DR:
            if self._enabled(CR1_TE):
                self._send(bytes([value & 0xFF]))
            return
        self._registers[offset] = value
        if offset in (CR1, CR3):
            self.dma_started(self._tx_request)
            self.dma_started(self._rx_request)
        self.watch_arrivals()

    # -- receiver ------------------------------------------------------------------------------------------

    def _begin_byte(self) -> None:
        if self.pins is not None:
            self.pins.fall()

    def _take(self, data: bytes) -> None:
        if not self._enabled(CR1_RE) or self.pins is None or not self.pins.connected:
            return
        self._feed_dma()
        if not self._status & SR_RXNE and self._registers.get(CR3, 0) & CR3_DMAR:
            data = data[self._dma.give(self._rx_request, data) :]
        for byte in data:
            if self._status & SR_RXNE:
                self._status |= SR_ORE  # what is in DR stays (RM 30.3.3)
            else:
                self._data, self._status = byte, self._status | SR_RXNE

    def _feed_dma(self) -> None:
        """Let the DMA take the byte that waits in the data register."""
        waiting = self._status & SR_RXNE and self._registers.get(CR3, 0) & CR3_DMAR
        if waiting and self._dma.give(self._rx_request, bytes([self._data])):
            self._status &= ~SR_RXNE

    def _next_notice(self, left: int) -> int | None:
        """Return the next start bit while it wakes the core; the DMA goes round without the CPU."""
        return self._next_start_bit() if self.pins is not None and self.pins.watched else None

    # -- transmitter -----------------------------------------------------------------------------------------

    def dma_started(self, request: Request) -> None:
        """A stream that the USART paces has been enabled, or the USART itself."""
        if request == self._rx_request:
            self._feed_dma()
        elif request == self._tx_request and self._enabled(CR1_TE) and self._registers.get(CR3, 0) & CR3_DMAT:
            data = self._dma.fetch(self._tx_request)
            if data:
                end = self._send(data)
                last_leaves = end - _DEPTH * self.byte_cycles()
                self._at(max(last_leaves, self._now()), lambda: self._dma.taken(self._tx_request))
