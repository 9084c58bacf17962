"""Promise: USART and DMA of the STM32F429 move each byte at its time on the line, and tell of it as the manual says."""

from dataclasses import dataclass, field

import pytest

from fqtbench.virtual.chips.stm32f429 import dma, usart
from fqtbench.virtual.chips.stm32f429.blocks import Exti
from fqtbench.virtual.chips.stm32f429.dma import Dma, Request
from fqtbench.virtual.chips.stm32f429.usart import Usart
from fqtbench.virtual.schedule import Schedule

DIVISOR = 4  # core cycles of one of APB1
BYTE_CYCLES = 10 * 45 * DIVISOR  # ten bits of 45 bus clocks
RX, TX = Request(1, 4), Request(3, 4)
RING, HALF = 0x100, 8
CHANNEL_4 = 4 << 25
LISR, LIFCR = 0x00, 0x08
S1, S3 = 0x28, 0x58  # SxCR; NDTR, PAR, M0AR, M1AR follow
NDTR, M0AR, M1AR = 0x04, 0x0C, 0x10
TCIF1, HTIF1, TEIF1, TCIF3 = 1 << 11, 1 << 10, 1 << 9, 1 << 27
LINE = 9


@dataclass
class Bus:
    """RAM and a clock."""

    schedule: Schedule
    now: int = 0
    ram: bytearray = field(default_factory=lambda: bytearray(b"\xff" * 1024))

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


class RxPin:
    """The RX pin on EXTI line 9."""

    connected = True

    def __init__(self, exti: Exti) -> None:
        self._exti = exti

    @property
    def watched(self) -> bool:
        return self._exti.watches(LINE)

    def fall(self) -> None:
        self._exti.fall(LINE)


class Port:
    """A USART at 1 Mbaud with its two streams and its RX pin."""

    def __init__(self, receiver: int = usart.CR3_DMAR) -> None:
        schedule = Schedule()
        self.bus = Bus(schedule)
        self.sent: list[tuple[int, bytes]] = []
        self.interrupts: list[tuple[int, int]] = []
        self.dma = Dma(self.bus)
        self.exti = Exti(lambda lines: self.interrupts.append((self.bus.now, lines)))
        self.uart = Usart(
            (lambda: self.bus.now, lambda: DIVISOR),
            schedule,
            self.dma,
            (RX, TX),
            lambda data: self.sent.append((self.bus.now, data)),
        )
        self.uart.pins = RxPin(self.exti)
        self.dma.before = self.exti.before = self.uart.synchronize
        self.dma.started, self.exti.after_write = self.uart.dma_started, self.uart.watch_arrivals
        self.uart.write(usart.BRR, 45)
        self.uart.write(usart.CR3, usart.CR3_DMAT | receiver)
        self.uart.write(usart.CR1, usart.CR1_UE | usart.CR1_TE | usart.CR1_RE)

    def ring(self, mode: int = dma.DBM) -> None:
        """Receive into two halves."""
        for offset, value in ((NDTR, HALF), (M0AR, RING), (M1AR, RING + HALF)):
            self.dma.write(S1 + offset, value)
        self.dma.write(S1, CHANNEL_4 | dma.MINC | mode | dma.EN)

    def send(self, data: bytes) -> None:
        self.bus.ram[: len(data)] = data
        self.dma.write(S3 + NDTR, len(data))
        self.dma.write(S3 + M0AR, 0)
        self.dma.write(S3, CHANNEL_4 | dma.DIR_TO_PERIPHERAL | dma.MINC | dma.EN)


@pytest.fixture
def port() -> Port:
    return Port()


def test_bytes_reach_ram_when_their_last_bit_has_passed(port: Port) -> None:
    port.ring()
    port.uart.receive(b"abc", at=1000)
    for n_bytes in range(4):
        end = 1000 + n_bytes * BYTE_CYCLES
        for now, arrived in ((end - 1, max(n_bytes - 1, 0)), (end, n_bytes)):
            port.bus.until(now)
            assert port.dma.read(S1 + NDTR) == HALF - arrived
            assert port.bus.ram[RING : RING + 3] == b"abc"[:arrived].ljust(3, b"\xff")


def test_halves_are_filled_in_turn_and_each_is_told(port: Port) -> None:
    port.ring()
    data = bytes(range(3 * HALF))
    port.uart.receive(data, at=0)
    for half, target in ((0, dma.CT), (1, 0), (2, dma.CT)):
        port.bus.until((half + 1) * HALF * BYTE_CYCLES - 1)
        assert not port.dma.read(LISR) & TCIF1
        port.bus.until((half + 1) * HALF * BYTE_CYCLES)
        assert port.dma.read(LISR) & TCIF1
        assert port.dma.read(S1) & dma.CT == target
        port.dma.write(LIFCR, TCIF1)
    assert port.bus.ram[RING : RING + 2 * HALF] == data[2 * HALF :] + data[HALF : 2 * HALF]


def test_the_buffer_that_is_not_in_use_can_be_moved(port: Port) -> None:
    port.ring()
    port.dma.write(S1 + M1AR, 0x210)
    port.dma.write(S1 + NDTR, 99)
    assert [port.dma.read(S1 + at) for at in (M0AR, M1AR, NDTR)] == [RING, 0x210, HALF]
    assert port.dma.read(S1) & dma.EN


def test_an_attempt_to_move_the_buffer_in_use_ends_the_transfer(port: Port) -> None:
    port.ring()
    port.dma.write(S1 + M0AR, 0x200)
    assert port.dma.read(S1 + M0AR) == RING
    assert not port.dma.read(S1) & dma.EN
    assert port.dma.read(LISR) & TEIF1


def test_a_stream_that_is_stopped_says_that_it_is_complete_and_starts_only_without_flags(port: Port) -> None:
    port.ring()
    port.dma.write(S1, 0)
    assert port.dma.read(S1) & dma.EN == 0
    assert port.dma.read(LISR) & TCIF1
    port.ring()
    assert port.dma.read(S1) & dma.EN == 0
    port.dma.write(LIFCR, TCIF1)
    port.ring()
    assert port.dma.read(S1) & dma.EN


@pytest.mark.parametrize(("mode", "running"), [(0, False), (dma.CIRC, True)], ids=["single", "circular"])
def test_a_stream_ends_or_begins_again(port: Port, mode: int, running: bool) -> None:
    port.ring(mode)
    port.uart.receive(bytes(range(HALF + 2)), at=0)
    port.bus.until(HALF // 2 * BYTE_CYCLES)
    assert port.dma.read(LISR) & (HTIF1 | TCIF1) == HTIF1
    port.bus.until((HALF + 2) * BYTE_CYCLES)
    assert port.dma.read(LISR) & TCIF1
    assert bool(port.dma.read(S1) & dma.EN) == running
    assert bool(port.uart.read(usart.SR) & usart.SR_ORE) != running
    assert port.bus.ram[RING] == (HALF if running else 0)


def test_without_dma_a_byte_waits_and_the_next_is_an_overrun() -> None:
    port = Port(receiver=0)
    port.uart.receive(b"xy", at=0)
    port.bus.until(BYTE_CYCLES)
    assert port.uart.read(usart.SR) & (usart.SR_RXNE | usart.SR_ORE) == usart.SR_RXNE
    port.bus.until(2 * BYTE_CYCLES)
    assert port.uart.read(usart.SR) & (usart.SR_RXNE | usart.SR_ORE) == usart.SR_RXNE | usart.SR_ORE
    assert port.uart.read(usart.DR) == ord("x")
    assert not port.uart.read(usart.SR) & (usart.SR_RXNE | usart.SR_ORE)


def test_dma_that_begins_late_takes_the_byte_that_waits(port: Port) -> None:
    port.uart.receive(b"z", at=0)
    port.bus.until(BYTE_CYCLES)
    port.ring()
    assert port.bus.ram[RING] == ord("z")
    assert not port.uart.read(usart.SR) & usart.SR_RXNE


def test_sent_bytes_take_their_time_and_leave_ram_two_bytes_earlier(port: Port) -> None:
    port.send(b"hello")
    port.bus.until(3 * BYTE_CYCLES - 1)
    assert port.dma.read(S3) & dma.EN
    port.bus.until(3 * BYTE_CYCLES)
    assert not port.dma.read(S3) & dma.EN
    assert port.dma.read(LISR) & TCIF3
    assert not port.uart.read(usart.SR) & usart.SR_TC
    port.bus.until(5 * BYTE_CYCLES)
    assert port.sent == [(5 * BYTE_CYCLES, b"hello")]
    assert port.uart.read(usart.SR) & usart.SR_TC


def test_a_start_bit_is_kept_until_it_is_cleared_and_the_next_is_seen(port: Port) -> None:
    port.exti.write(0x0C, 1 << LINE)
    port.exti.write(0x00, 1 << LINE)
    port.interrupts.clear()
    port.uart.receive(b"abcd", at=100)
    port.bus.until(100 + 2 * BYTE_CYCLES + 50)
    assert port.interrupts == [(100, 1 << LINE)]
    assert port.exti.read(0x14) == 1 << LINE
    port.exti.write(0x14, 1 << LINE)
    assert port.exti.read(0x14) == 0
    port.bus.until(10 * BYTE_CYCLES)
    assert port.interrupts[1:] == [(100 + 2 * BYTE_CYCLES + 50, 0), (100 + 3 * BYTE_CYCLES, 1 << LINE)]


def test_a_line_that_is_masked_tells_nothing(port: Port) -> None:
    port.exti.write(0x0C, 1 << LINE)
    port.interrupts.clear()
    port.uart.receive(b"abcd", at=0)
    port.bus.until(10 * BYTE_CYCLES)
    assert port.exti.read(0x14) == 0
    assert port.interrupts == []


def test_nothing_is_received_while_the_pin_leads_elsewhere(port: Port) -> None:
    assert isinstance(port.uart.pins, RxPin)
    port.uart.pins.connected = False
    port.ring()
    port.uart.receive(b"abcd", at=0)
    port.bus.until(10 * BYTE_CYCLES)
    assert port.dma.read(S1 + NDTR) == HALF
