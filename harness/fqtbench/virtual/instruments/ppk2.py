"""An emulated Nordic Power Profiler Kit II, as a source meter, on a pseudo-terminal.

Commands and answers as in Nordic's pc-nrfconnect-ppk and in ppk2-api 0.9.2, which can drive it.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.virtual.instruments.instrument import Faults
from fqtbench.virtual.instruments.ppk2_codes import CONSTANTS, NEUTRAL, Converter
from fqtbench.virtual.uart_line import PtyLine

RATE_HZ: Final = 100_000.0
_START, _STOP, _SUPPLY, _REGULATOR, _MODE, _METADATA, _RESET = 0x06, 0x07, 0x0C, 0x0D, 0x11, 0x19, 0x20
_ARGUMENTS: Final = {0x08: 1, _SUPPLY: 1, _REGULATOR: 2, 0x0E: 1, 0x0F: 1, _MODE: 1, 0x12: 12, 0x25: 5}
"""Bytes behind a command; others have none. Those without a name are taken and do nothing."""
_SOURCE_METER: Final = 2
_MILLIVOLTS: Final = (800, 5000)
_PIECE_BYTES: Final = 1 << 14


class EmulatedPpk2:
    """One PPK2. It comes up with the supply off, as a real one does.

    A `miscalibrated` one tells the defaults instead of the constants that it measures with.
    """

    def __init__(self, supply_volts: float, faults: Faults | None = None, link: Path | None = None) -> None:
        self._faults = faults or Faults()
        self._converter = Converter(self._faults)
        self._line = PtyLine(link)
        self.url = f"ppk2:{self._line.url}"
        self._millivolts = round(supply_volts * 1000)
        self._mode = _SOURCE_METER
        self._on = False
        self._measuring = False
        self._commands = bytearray()
        self._waiting = bytearray()  # to be sent, beyond what the line has

    @property
    def rate_hz(self) -> float | None:
        """100 kS/s while it measures."""
        return RATE_HZ if self._measuring else None

    @property
    def powered(self) -> bool:
        """Whether it feeds the board."""
        return self._on

    @property
    def backlog_bytes(self) -> int:
        """What waits to be sent; of what the line has taken over, a piece at most is counted."""
        return len(self._waiting) + (_PIECE_BYTES if self._line.writers() else 0)

    def readers(self) -> list[int]:
        """Return the file descriptors to wait on."""
        return self._line.readers()

    def writers(self) -> list[int]:
        """Return those to wait on until they take what waits to be sent."""
        return self._line.writers()

    def service(self) -> bool:
        """Obey commands in their order, send what waits."""
        self._commands += self._line.poll()
        while self._commands:
            n_bytes = 1 + _ARGUMENTS.get(self._commands[0], 0)
            if len(self._commands) < n_bytes:
                break
            self._obey(self._commands[0], bytes(self._commands[1:n_bytes]))
            del self._commands[:n_bytes]
        self._send()
        return False

    def feed(self, current_a: NDArray[np.float64], digital: NDArray[np.uint8]) -> None:
        """Measure: (n,) mean currents in A, which are 0 without supply, and (n,) digital inputs."""
        if not self._measuring:
            return
        if not self._on:
            current_a = np.zeros(len(current_a))
        words = self._converter.words(current_a, digital, self._millivolts / 1000)
        self._waiting += self._converter.bytes_of(words)
        self._send()

    def close(self) -> None:
        """Close the port and remove its link."""
        self._line.close()

    def _obey(self, command: int, arguments: bytes) -> None:
        if command in (_START, _STOP, _RESET):
            self._measuring = command == _START
        elif command == _SUPPLY:
            self._on = arguments[0] != 0
        elif command == _REGULATOR:
            low, high = _MILLIVOLTS
            self._millivolts = min(max(int.from_bytes(arguments, "big"), low), high)
        elif command == _MODE:
            self._mode = arguments[0]
        elif command == _METADATA:
            self._waiting += self._metadata()

    def _metadata(self) -> bytes:
        constants = NEUTRAL if self._faults.miscalibrated else CONSTANTS
        lines = [f"Calibrated: {int(not self._faults.miscalibrated)}"]
        lines += [f"{name}{k}: {value:.9f}" for name, row in constants.items() for k, value in enumerate(row)]
        lines += [f"VDD: {self._millivolts}", "HW: 9173", f"mode: {self._mode}", "IA: 56", "END"]
        return "".join(f"{line}\n" for line in lines).encode("ascii")

    def _send(self) -> None:
        while self._waiting and not self._line.writers():
            self._line.send(bytes(self._waiting[:_PIECE_BYTES]))
            del self._waiting[:_PIECE_BYTES]
