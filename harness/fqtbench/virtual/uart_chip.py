"""A chip whose UART is on a line to the host: the rule of its flow, and who holds virtual time."""

from typing import Final

from fqtbench.virtual.chip import Chip, Core
from fqtbench.virtual.flow import Flow
from fqtbench.virtual.memory import CodeMemory
from fqtbench.virtual.uart_line import FrameBuffer, Line

_FLOW_GAP_US: Final = 200  # docs/wire.md, "RTS"


class UartChip(Chip):
    """A chip on a board. `unique_id` is the number that it has of its own, 0 if it has none.

    A subclass gives `flow.start` its receiver, and tells `flow` of RTS and of what it sends.
    """

    unique_id: int = 0

    def __init__(self, core: Core, memory: CodeMemory, line: Line, clock_hz: int) -> None:
        """`clock_hz`: of the core, in which virtual time counts."""
        super().__init__(core, memory)
        self.line = line
        self.flow = Flow(self.schedule, clock_hz * _FLOW_GAP_US // 1_000_000, lambda frame, at: None)
        self._diverted = False

    @property
    def held(self) -> bool:
        """Frozen at the instant where the next host frame begins, without it."""
        return self.flow.frozen and not self._diverted

    def diverted(self) -> None:
        """A debugger runs code of its own, as a flash algorithm: it must not wait for a host frame."""
        self._diverted = True

    def poll_line(self) -> None:
        """Take host bytes; a frame that the chip is frozen for begins. Without a supply they are lost."""
        data = self.line.poll()
        if data and self.powered:
            self.flow.frames.add(data)
            self.flow.try_start()

    def lose_power(self) -> None:
        """What the host has sent is lost too."""
        super().lose_power()
        self.flow.frames = FrameBuffer()

    def reset_core(self, halt: bool) -> None:
        """The program that waited for a host frame is no more."""
        self.flow.abandon()
        self._diverted = False
        super().reset_core(halt)

    def reset_peripherals(self) -> None:
        """UART lines go idle."""
        self.flow.reset()
        self._diverted = False
