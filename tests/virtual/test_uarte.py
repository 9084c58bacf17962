"""Promise: the UARTE moves each byte at its time on the line, and its registers never say anything else."""

from dataclasses import dataclass, field

import pytest

from fqtbench.virtual.chips.nrf52840 import uarte
from fqtbench.virtual.chips.nrf52840.uarte import Uarte
from fqtbench.virtual.flow import Flow
from fqtbench.virtual.schedule import Schedule

_CLOCK_HZ = 64_000_000
_BYTE_CYCLES = 640  # 10 bits at 1 Mbaud
_BAUD_1M = 0x10000000
_RING = 0x100


@dataclass
class _Bus:
    """RAM, a clock and an interrupt line."""

    schedule: Schedule
    now: int = 0
    level: bool = False
    ram: bytearray = field(default_factory=lambda: bytearray(b"\xff" * 1024))

    def dma_write(self, address: int, data: bytes) -> None:
        self.ram[address : address + len(data)] = data

    def dma_read(self, address: int, size: int) -> bytes:
        return bytes(self.ram[address : address + size])

    def set_pending(self, interrupt: int, level: bool) -> None:
        self.level = level

    def until(self, cycle: int) -> None:
        """Let time pass as in sleep: events happen at their instants."""
        while self.schedule.next_at <= cycle:
            self.now = max(self.now, self.schedule.next_at)
            self.schedule.fire(self.now)
        self.now = cycle


class _Port:
    """A UARTE at 1 Mbaud with nothing around it."""

    def __init__(self, baudrate: int = _BAUD_1M) -> None:
        schedule = Schedule()
        self.bus = _Bus(schedule)
        self.sent: list[tuple[int, bytes]] = []
        self.uarte = Uarte(
            self.bus, schedule, _CLOCK_HZ, 2, lambda data: self.sent.append((self.bus.now, data))
        )
        self.uarte.flow = Flow(schedule, 100, self.uarte.receive)
        self.write(uarte.ENABLE, uarte.ENABLED)
        self.write(uarte.BAUDRATE, baudrate)

    def write(self, offset: int, value: int) -> None:
        self.uarte.write(offset, value)

    def read(self, offset: int) -> int:
        return self.uarte.read(offset)

    def transmit(self, data: bytes) -> None:
        self.bus.ram[: len(data)] = data
        self.write(uarte.TXD_PTR, 0)
        self.write(uarte.TXD_MAXCNT, len(data))
        self.write(uarte.TASKS_STARTTX, 1)

    def receive_into(self, address: int, size: int) -> None:
        self.write(uarte.RXD_PTR, address)
        self.write(uarte.RXD_MAXCNT, size)
        self.write(uarte.TASKS_STARTRX, 1)


def _bit(event: int) -> int:
    return 1 << (event - 0x100) // 4


def test_bytes_are_sent_at_line_rate_and_handed_over_with_the_last_bit() -> None:
    port = _Port()
    port.transmit(b"hello")
    port.bus.until(5 * _BYTE_CYCLES - 1)
    assert (port.sent, port.read(uarte.EVENTS_ENDTX), port.read(uarte.EVENTS_TXDRDY)) == ([], 0, 1)
    port.bus.until(5 * _BYTE_CYCLES)
    assert port.sent == [(5 * _BYTE_CYCLES, b"hello")]
    assert (port.read(uarte.EVENTS_ENDTX), port.read(uarte.TXD_AMOUNT)) == (1, 5)


def test_stopping_the_transmitter_lets_the_byte_on_the_line_finish() -> None:
    port = _Port()
    port.transmit(b"hello")
    port.bus.until(2 * _BYTE_CYCLES + 10)
    port.write(uarte.TASKS_STOPTX, 1)
    assert port.read(uarte.EVENTS_TXSTOPPED) == 0
    port.bus.until(9 * _BYTE_CYCLES)
    assert port.sent == [(3 * _BYTE_CYCLES, b"hel")]
    assert (port.read(uarte.EVENTS_TXSTOPPED), port.read(uarte.TXD_AMOUNT)) == (1, 3)


@pytest.mark.parametrize(
    ("code", "byte_cycles"),
    [(0x10000000, 640), (0x01D60000, 5560), (0x00275000, 66680), (0x04000000, 2560), (0x0F000000, 680)],
)
def test_a_bit_lasts_a_whole_number_of_the_uarts_clock(code: int, byte_cycles: int) -> None:
    port = _Port(code)
    port.transmit(b"x")
    port.bus.until(10 * byte_cycles)
    assert port.sent == [(byte_cycles, b"x")]


def test_bytes_arrive_in_ram_one_after_the_other() -> None:
    port = _Port()
    port.receive_into(_RING, 16)
    port.uarte.receive(b"abc\0", 1000)
    for n in range(5):
        port.bus.until(1000 + n * _BYTE_CYCLES)
        assert port.read(uarte.EVENTS_RXDRDY) == (n > 0)
        assert port.bus.ram[_RING : _RING + 5] == b"abc\0"[:n].ljust(5, b"\xff")


def test_the_next_buffer_is_taken_up_at_the_start_of_reception() -> None:
    port = _Port()
    port.write(uarte.SHORTS, uarte.SHORT_ENDRX_STARTRX)
    port.receive_into(_RING, 4)
    port.write(uarte.RXD_PTR, _RING + 0x40)
    port.uarte.receive(b"abcdefghij\0", 0)
    port.bus.until(5 * _BYTE_CYCLES)
    assert port.read(uarte.EVENTS_ENDRX) == 1
    assert port.read(uarte.RXD_AMOUNT) == 4
    port.write(uarte.RXD_PTR, _RING + 0x80)
    port.bus.until(20 * _BYTE_CYCLES)
    port.read(uarte.EVENTS_RXDRDY)
    places = [bytes(port.bus.ram[_RING + n : _RING + n + 5]) for n in (0, 0x40, 0x80)]
    assert places == [b"abcd\xff", b"efgh\xff", b"ij\0\xff\xff"]


@pytest.mark.parametrize(("event", "at"), [(uarte.EVENTS_RXDRDY, 1), (uarte.EVENTS_ENDRX, 4)])
def test_an_enabled_event_interrupts_at_its_byte(event: int, at: int) -> None:
    port = _Port()
    port.receive_into(_RING, 4)
    port.write(uarte.EVENTS_RXSTARTED, 0)
    port.write(uarte.INTENSET, _bit(event))
    port.uarte.receive(b"abcdefgh\0", 0)
    port.bus.until(at * _BYTE_CYCLES - 1)
    assert not port.bus.level
    port.bus.until(at * _BYTE_CYCLES)
    assert port.bus.level
    port.write(event, 0)
    assert not port.bus.level


def test_bytes_without_a_buffer_are_an_overrun() -> None:
    port = _Port()
    port.uarte.receive(b"abc\0", 0)
    port.bus.until(10 * _BYTE_CYCLES)
    assert port.read(uarte.EVENTS_ERROR) == 1
    assert port.read(uarte.ERRORSRC) & 1
    assert port.bus.ram == b"\xff" * 1024
