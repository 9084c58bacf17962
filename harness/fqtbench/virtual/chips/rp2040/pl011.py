"""PL011, ARM's UART, as the RP2040 has it (RP2040 Datasheet, 4.2; offsets from Raspberry Pi's RP2040.svd).

Received bytes reach the FIFO or the DMA lazily: at each register access, at WFI, at the end of a frame, and where the
next byte makes a difference that code could see: the last of a DMA transfer, or any while the RX pin's edge
interrupts. The UART's own interrupts are not modelled.
"""

from collections.abc import Callable
from typing import Final

from fqtbench.virtual.chips.rp2040.dma import Dma
from fqtbench.virtual.schedule import Schedule
from fqtbench.virtual.serial_port import BITS_PER_BYTE, Pins, SerialPort

DR: Final = 0x00
FR: Final = 0x18
IBRD: Final = 0x24
FBRD: Final = 0x28
LCR_H: Final = 0x2C
CR: Final = 0x30
DMACR: Final = 0x48

FR_BUSY: Final = 1 << 3
FR_RXFE: Final = 1 << 4
FR_TXFF: Final = 1 << 5
FR_TXFE: Final = 1 << 7
CR_UARTEN: Final = 1 << 0
CR_TXE: Final = 1 << 8
CR_RXE: Final = 1 << 9
DMACR_RX: Final = 1 << 0
DMACR_TX: Final = 1 << 1
FIFO_BYTES: Final = 32


class Pl011(SerialPort):
    """One UART on `dma`'s requests `rx` and `tx`; `transmitted` takes the bytes whose last bit has been sent."""

    def __init__(
        self,
        now: Callable[[], int],
        schedule: Schedule,
        dma: Dma,
        requests: tuple[int, int],
        transmitted: Callable[[bytes], None],
    ) -> None:
        """`now` counts cycles of clk_peri, here clk_sys; `requests`: the DMA's for reception and transmission."""
        super().__init__(now, schedule, transmitted)
        self._dma = dma
        self._rx_request, self._tx_request = requests
        self.pins: Pins | None = None
        self.reset()

    def reset(self) -> None:
        """Go to the reset state; frames on the line are lost."""
        self._reset_line()
        self._registers = {CR: CR_TXE | CR_RXE}
        self._fifo = bytearray()
        self.overruns = 0  # bytes that found the FIFO full

    def byte_cycles(self) -> int:
        """Return how long a byte takes on the line."""
        divisor_64ths = 64 * self._registers.get(IBRD, 0) + self._registers.get(FBRD, 0)
        return max(BITS_PER_BYTE * 16 * divisor_64ths // 64, 1)

    # -- registers -----------------------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        """Return a register; DR takes from the FIFO."""
        self.synchronize()
        if offset == DR:
            return self._fifo.pop(0) if self._fifo else 0
        if offset == FR:
            sending = self._sending_until > self._now()
            return (0 if self._fifo else FR_RXFE) | (FR_BUSY if sending else FR_TXFE)
        return self._registers.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register; DR sends a byte."""
        self.synchronize()
        if offset == DR:
            self._send(bytes([value & 0xFF]))
            return
        self._registers[offset] = value
        if offset in (CR, DMACR):
            self.dma_started(self._tx_request)
        self.watch_arrivals()

    # -- receiver ------------------------------------------------------------------------------------------

    def _begin_byte(self) -> None:
        if self.pins is not None:
            self.pins.fall()

    def _take(self, data: bytes) -> None:
        listening = CR_UARTEN | CR_RXE
        if self._registers[CR] & listening != listening or self.pins is None or not self.pins.connected:
            return
        self._fifo += data
        self._feed_dma()
        self.overruns += max(len(self._fifo) - FIFO_BYTES, 0)
        del self._fifo[FIFO_BYTES:]

    def _feed_dma(self) -> None:
        while self._fifo and self._registers.get(DMACR, 0) & DMACR_RX:
            n = min(self._dma.room(self._rx_request), len(self._fifo))
            if not n:
                return
            data = bytes(self._fifo[:n])
            del self._fifo[:n]
            self._dma.give(self._rx_request, data)

    def _next_notice(self, left: int) -> int | None:
        """Return the next start bit while it wakes the core, else the end of a DMA transfer."""
        start = self._next_start_bit()
        if self.pins is not None and self.pins.watched and start is not None:
            return start
        return self._arrival_of(min(self._dma.room(self._rx_request), left))

    # -- transmitter -----------------------------------------------------------------------------------------

    def dma_started(self, request: int) -> None:
        """A channel that the UART paces has been started, or the UART enabled."""
        enabled = CR_UARTEN | CR_TXE
        if request == self._rx_request:
            self._feed_dma()
            self.watch_arrivals()
        elif self._registers[CR] & enabled == enabled and self._registers.get(DMACR, 0) & DMACR_TX:
            data = self._dma.fetch(self._tx_request)
            if data:
                end = self._send(data)
                full = end - FIFO_BYTES * self.byte_cycles()  # until then bytes wait in RAM
                self._at(max(full, self._now()), lambda: self._dma.taken(self._tx_request))
