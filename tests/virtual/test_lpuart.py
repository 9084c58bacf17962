"""Promise: LPUART and eDMA move each byte at its time on the line, and their registers say nothing else."""

import struct
from dataclasses import dataclass, field

import pytest

from fqtbench.virtual.chips.mimxrt1062 import lpuart
from fqtbench.virtual.chips.mimxrt1062.edma import CINT, DESCRIPTORS, ERQ, INT, MUX_ENABLE, SERQ, Edma, Mux
from fqtbench.virtual.chips.mimxrt1062.lpuart import Lpuart
from fqtbench.virtual.schedule import Schedule

BYTE_CYCLES = 240  # 24 clocks a bit, 10 bits
TX, RX = 2, 3
RECEIVE, TRANSMIT = 0, 1
RING, NEXT, HALF = 0x100, 0x400, 8
DATA_ADDRESS = 0x4018401C
INT_MAJOR, ONCE, GATHER, DONE = 0x02, 0x08, 0x10, 0x80
ON = lpuart.CTRL_RE | lpuart.CTRL_TE
BAUD = 23 << 24 | 1 | lpuart.BAUD_RDMAE | lpuart.BAUD_TDMAE


@dataclass
class Bus:
    """RAM, a clock and an interrupt line."""

    schedule: Schedule
    now: int = 0
    level: bool = False
    ram: bytearray = field(default_factory=lambda: bytearray(b"\xff" * 2048))

    def dma_write(self, address: int, data: bytes) -> None:
        self.ram[address : address + len(data)] = data

    def dma_read(self, address: int, size: int) -> bytes:
        return bytes(self.ram[address : address + size])

    def until(self, cycle: int) -> None:
        """Let time pass as in sleep: events happen at their instants."""
        while self.schedule.next_at <= cycle:
            self.now = max(self.now, self.schedule.next_at)
            self.schedule.fire(self.now)
        self.now = cycle


class Port:
    """An LPUART at 24 clocks a bit, a cycle each, with its two channels."""

    def __init__(self) -> None:
        schedule = Schedule()
        self.bus = Bus(schedule)
        self.sent: list[tuple[int, bytes]] = []
        mux = Mux()
        self.dma = Edma(self.bus, mux)
        self.uart = Lpuart(
            lambda: self.bus.now,
            schedule,
            self.dma,
            (RX, TX),
            lambda data: self.sent.append((self.bus.now, data)),
        )
        self.dma.before, self.dma.started = self.uart.synchronize, self.uart.dma_started
        self.uart.interrupt = lambda level: setattr(self.bus, "level", level)
        mux.write(4 * RECEIVE, MUX_ENABLE | RX)
        mux.write(4 * TRANSMIT, MUX_ENABLE | TX)
        self.uart.write(lpuart.BAUD, BAUD)
        self.uart.write(lpuart.FIFO, lpuart.FIFO_RXFE | lpuart.FIFO_TXFE)
        self.uart.write(lpuart.CTRL, ON)

    def describe(self, channel: int, raw: bytes) -> None:
        for at in range(0, 32, 2):
            part = int.from_bytes(raw[at : at + 2], "little")
            self.dma.write_part(DESCRIPTORS + 32 * channel + at, 2, part)

    def ring(self) -> None:
        """Receive into two halves; the descriptor at NEXT leads to itself."""
        self.bus.ram[NEXT : NEXT + 32] = receiving(RING + HALF)
        self.describe(RECEIVE, receiving(RING))
        self.dma.write_part(SERQ, 1, RECEIVE)


def receiving(address: int) -> bytes:
    return struct.pack(
        "<IhHIiIhHIHH", DATA_ADDRESS, 0, 0, 1, 0, address, 1, HALF, NEXT, INT_MAJOR | GATHER, HALF
    )


def sending(address: int, size: int) -> bytes:
    return struct.pack("<IhHIiIhHIHH", address, 1, 0, 1, 0, DATA_ADDRESS, 0, size, 0, ONCE, size)


def test_a_byte_takes_its_time_on_the_line() -> None:
    port = Port()
    assert port.uart.byte_cycles() == BYTE_CYCLES
    port.uart.write(lpuart.BAUD, 0 << 24 | 3)  # oversampling 0 means 16
    assert port.uart.byte_cycles() == 10 * 16 * 3


def test_received_bytes_reach_the_ring_when_their_last_bit_has_passed() -> None:
    port = Port()
    port.ring()
    port.uart.receive(b"abc", 1000)
    port.bus.until(1000 + 2 * BYTE_CYCLES - 1)
    assert port.dma.read(DESCRIPTORS + 16) == RING + 1
    port.bus.until(1000 + 2 * BYTE_CYCLES)
    assert port.dma.read(DESCRIPTORS + 16) == RING + 2
    assert port.bus.ram[RING : RING + 4] == b"ab\xff\xff"


def test_the_next_descriptor_takes_over_at_the_end_of_a_half() -> None:
    """INT rises with the half's last byte; NEXT as it is in RAM then says where the following bytes go."""
    port = Port()
    port.ring()
    port.uart.receive(bytes(range(1, 2 * HALF + 3)), 0)
    port.bus.until(HALF * BYTE_CYCLES - 1)
    assert port.dma.read(INT) == 0
    port.bus.until(HALF * BYTE_CYCLES)
    assert port.dma.read(INT) == 1 << RECEIVE
    port.dma.write_part(CINT, 1, RECEIVE)
    assert port.dma.read(INT) == 0
    struct.pack_into("<I", port.bus.ram, NEXT + 16, RING)  # the CPU: first half again
    port.bus.until(2 * HALF * BYTE_CYCLES)
    assert port.dma.read(INT) == 1 << RECEIVE
    assert port.bus.ram[RING + HALF : RING + 2 * HALF] == bytes(range(HALF + 1, 2 * HALF + 1))
    port.bus.until((2 * HALF + 2) * BYTE_CYCLES)
    port.uart.synchronize()
    assert port.bus.ram[RING : RING + 3] == bytes([2 * HALF + 1, 2 * HALF + 2, 3])


def test_a_half_that_comes_too_late_is_filled_again() -> None:
    """Nobody changes NEXT: the second half is filled for ever."""
    port = Port()
    port.ring()
    port.uart.receive(bytes(range(1, 3 * HALF + 1)), 0)
    port.bus.until(3 * HALF * BYTE_CYCLES)
    assert port.bus.ram[RING : RING + HALF] == bytes(range(1, HALF + 1))
    assert port.bus.ram[RING + HALF : RING + 2 * HALF] == bytes(range(2 * HALF + 1, 3 * HALF + 1))


def test_a_start_bit_interrupts_if_it_is_asked_to() -> None:
    port = Port()
    port.ring()
    port.uart.receive(b"ab", 500)
    port.uart.write(lpuart.BAUD, BAUD | lpuart.BAUD_RXEDGIE)
    port.bus.until(499)
    assert not port.bus.level
    port.bus.until(500)
    assert port.bus.level
    assert port.uart.read(lpuart.STAT) & lpuart.STAT_RXEDGIF
    port.uart.write(lpuart.STAT, lpuart.STAT_RXEDGIF)
    assert not port.bus.level
    port.bus.until(500 + BYTE_CYCLES)  # the next one
    assert port.bus.level
    port.uart.write(lpuart.BAUD, BAUD)
    assert not port.bus.level
    assert port.uart.read(lpuart.STAT) & lpuart.STAT_RXEDGIF  # kept for whoever looks


def test_the_fifo_holds_four_bytes_and_an_overrun_stops_reception() -> None:
    port = Port()
    port.uart.receive(b"abcdef", 0)
    port.bus.until(6 * BYTE_CYCLES)
    assert port.uart.read(lpuart.STAT) & lpuart.STAT_OR
    assert bytes(port.uart.read(lpuart.DATA) for _ in range(4)) == b"abcd"
    assert port.uart.read(lpuart.DATA) & lpuart.DATA_RXEMPT
    port.uart.receive(b"g", port.bus.now)
    port.bus.until(port.bus.now + BYTE_CYCLES)
    assert port.uart.read(lpuart.DATA) & lpuart.DATA_RXEMPT
    port.uart.write(lpuart.STAT, lpuart.STAT_OR)
    port.uart.receive(b"h", port.bus.now)
    port.bus.until(port.bus.now + BYTE_CYCLES)
    assert port.uart.read(lpuart.DATA) == ord("h")


def test_what_came_before_the_channel_was_enabled_waits_in_the_fifo() -> None:
    port = Port()
    port.uart.receive(b"ab", 0)
    port.bus.until(3 * BYTE_CYCLES)
    port.ring()
    assert port.bus.ram[RING : RING + 3] == b"ab\xff"


@pytest.mark.parametrize("cause", ["receiver off", "other pin"])
def test_what_does_not_reach_the_receiver_is_lost(cause: str) -> None:
    port = Port()
    port.ring()
    if cause == "receiver off":
        port.uart.write(lpuart.CTRL, lpuart.CTRL_TE)
    else:
        port.uart.connected = lambda: False
    port.uart.receive(b"abc", 0)
    port.bus.until(4 * BYTE_CYCLES)
    assert port.bus.ram[RING : RING + 3] == b"\xff" * 3
    assert not port.uart.read(lpuart.STAT) & lpuart.STAT_RXEDGIF


def test_a_transmission_takes_its_time_and_ends_its_request() -> None:
    """The channel has done its part when the FIFO holds the last byte, four byte times before the line is quiet."""
    port = Port()
    port.bus.ram[0:10] = b"0123456789"
    port.describe(TRANSMIT, sending(0, 10))
    port.dma.write_part(SERQ, 1, TRANSMIT)
    port.bus.until(6 * BYTE_CYCLES - 1)
    assert port.dma.read(ERQ) == 1 << TRANSMIT
    port.bus.until(6 * BYTE_CYCLES)
    assert port.dma.read(ERQ) == 0
    assert port.dma.read(DESCRIPTORS + 32 * TRANSMIT + 28) & DONE
    assert not port.uart.read(lpuart.STAT) & lpuart.STAT_TC
    port.bus.until(10 * BYTE_CYCLES)
    assert port.sent == [(10 * BYTE_CYCLES, b"0123456789")]
    assert port.uart.read(lpuart.STAT) & lpuart.STAT_TC


def test_a_setting_changed_while_it_sends_repeats_nothing() -> None:
    port = Port()
    port.describe(TRANSMIT, sending(0, 6))
    port.dma.write_part(SERQ, 1, TRANSMIT)
    port.bus.until(BYTE_CYCLES)
    port.uart.write(lpuart.BAUD, BAUD | lpuart.BAUD_RXEDGIE)
    port.bus.until(20 * BYTE_CYCLES)
    assert [len(data) for _, data in port.sent] == [6]


def test_a_channel_that_no_source_feeds_moves_nothing() -> None:
    port = Port()
    port.ring()
    port.dma.write_part(0x1A, 1, 0x40 | RECEIVE)  # CERQ, all channels
    port.uart.receive(b"a", 0)
    port.bus.until(BYTE_CYCLES)
    assert port.dma.room(RX) == 0
    assert port.bus.ram[RING] == 0xFF


def test_a_byte_register_is_written_alone() -> None:
    """SERQ lies in one word with three other commands: a write of its byte is no write of theirs."""
    port = Port()
    port.dma.write_part(SERQ, 1, 5)
    assert port.dma.read(ERQ) == 1 << 5
    port.dma.write_part(SERQ, 1, 0x80 | 6)  # no operation
    assert port.dma.read(ERQ) == 1 << 5
