"""ST's Power Shield X-NUCLEO-LPM01A over its serial line (UM2269 Rev 6, chapter 4).

It supplies the board and measures it, and has no logic input that it would record: D7 can only start an
acquisition. So its samples never say where a window begins, `digital` stays 0 (docs/power.md, "LPM01A").
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import serial

from fqtbench.board import Supply
from fqtbench.errors import MonitorError
from fqtbench.power.instrument import Chunk, Instrument
from fqtbench.power.lpm01a_stream import Lpm01aStream

BAUD: Final = 3_686_400  # UM2269, table 2: what unlimited acquisition at 100 kHz needs
RATE_HZ: Final = 100_000
_VOLTS: Final = (1.8, 3.3)  # UM2269, table 12
_POLL_S: Final = 0.05  # of the port itself; to change it sets the whole port up again
_REPLY_S: Final = 3.0
_CALIBRATION_S: Final = 30.0
_END_S: Final = 5.0  # a stopped acquisition ends when the instrument's buffer is empty
_MAX_LINE_BYTES: Final = 4096
_READ_BYTES: Final = 1 << 16
_SETTINGS: Final = (
    "acqmode dyn",
    "funcmode optim",
    "output current",
    "format bin_hexa",
    f"freq {RATE_HZ // 1000}k",
    "acqtime inf",
    "trigsrc sw",
    "pwrend on",
)


class Lpm01a:
    """One Power Shield at a serial port. It is an `Instrument`."""

    digital_inputs: Final = 0
    """How many bits of `digital` mean anything."""

    def __init__(self, path: str, volts: float) -> None:
        self.name = f"LPM01A {path}"
        self.model_id = self.name
        self.rate_hz: Final = float(RATE_HZ)
        self.volts = volts
        if not _VOLTS[0] <= volts <= _VOLTS[1]:
            low, high = _VOLTS
            raise MonitorError(
                f"{self.name} supplies {low} to {high} V, the board wants {volts:g} V; use another monitor"
            )
        self._stream: Lpm01aStream | None = None
        self._stopped_s: float | None = None
        try:
            self._port = serial.Serial(path, BAUD, timeout=_POLL_S, write_timeout=_REPLY_S, exclusive=True)
        except (serial.SerialException, ValueError, OSError) as error:
            raise MonitorError(
                f"{self.name} can't be opened: {error}; is it plugged in, is this its port, and not in use?"
            ) from error
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        self._write("stop")  # what an acquisition that nobody ended still sends is read over
        self._drain()
        self._command("htc")
        self.model_id = f"LPM01A {self._ask('powershield')}, firmware {self._ask('version')}"
        self._command(f"volt {round(self.volts * 1000)}m")
        self._command("calib", _CALIBRATION_S)  # UM2269, table 29: again whenever it is 5 °C warmer or colder
        for setting in _SETTINGS:
            self._command(setting)

    def calibration_fault(self) -> str | None:
        """Return what its self-test says; it calibrates itself each time it is opened."""
        status = self._ask("status")
        if status.startswith("ok"):
            return None
        return f"{self.name} reports {status!r}; unplug the board from it, send it `autotest`, and see UM2269"

    def supply(self, on: bool) -> None:
        """Switch the board's supply."""
        self._command("pwr on" if on else "pwr off")

    def start(self) -> None:
        """Begin to sample, at number 0."""
        self._drain()
        self._stream = Lpm01aStream(RATE_HZ, self.name)
        self._stopped_s = None
        self._write("start")

    def read(self, timeout_s: float) -> Sequence[Chunk]:
        """Return whole blocks of 1000 samples; behind `stop`, empty only when the instrument has said that it ended."""
        deadline_s = time.monotonic() + timeout_s
        while (stream := self._stream) is not None:
            chunks = stream.feed(self._receive())
            if stream.ended:
                self._stream = None
                if self._stopped_s is None:
                    raise self._ended_by_itself(stream)
            if chunks:
                return chunks
            if self._stream is not None and self._patience_s(deadline_s) <= 0:
                return self._nothing()
        return []

    def _patience_s(self, deadline_s: float) -> float:
        until_s = deadline_s if self._stopped_s is None else self._stopped_s + _END_S
        return until_s - time.monotonic()

    def _nothing(self) -> Sequence[Chunk]:
        if self._stopped_s is None:
            return []
        raise MonitorError(f"{self.name} did not end its acquisition in {_END_S:g} s; unplug and plug it")

    def _ended_by_itself(self, stream: Lpm01aStream) -> MonitorError:
        said = f" ({'; '.join(stream.complaints)})" if stream.complaints else ""
        return MonitorError(
            f"{self.name} ended its acquisition by itself{said}: the board takes more than it can give, or its buffer "
            "ran over; unplug what else the board feeds, connect the monitor without a hub, and try again"
        )

    def stop(self) -> None:
        """End sampling; what came since the last time stamp, less than 1000 samples, is left out."""
        if self._stream is not None and self._stopped_s is None:
            self._stopped_s = time.monotonic()
            self._write("stop")

    def close(self) -> None:
        """Close the port. The instrument stays under the host's control, since giving it back may switch the supply."""
        if self._stream is not None and self._port.is_open:
            with suppress(MonitorError):
                self.stop()
        self._stream = None
        self._port.close()

    def _ask(self, verb: str) -> str:
        """Return what it acknowledges a question with."""
        return self._command(verb).rpartition(verb)[2].strip(" :")

    def _command(self, text: str, patience_s: float = _REPLY_S) -> str:
        """Send a command, return the line that acknowledges it; lines before it, and its prompt, are read over."""
        if self._stream is not None:
            raise MonitorError(f"{self.name} takes no `{text}` while it records; stop it first")
        self._write(text)
        deadline_s = time.monotonic() + patience_s
        verb = text.split(maxsplit=1)[0]
        said = b""
        while time.monotonic() < deadline_s:
            *lines, said = (said + self._receive()).split(b"\n")
            said = said[-_MAX_LINE_BYTES:]
            for line in (each.decode("ascii", "replace").strip() for each in lines):
                if f"ack {verb}" in line:
                    return line
                if "err" in line:
                    raise MonitorError(
                        f"{self.name} refused `{text}`: {line!r}; see UM2269 for what it takes"
                    )
        raise MonitorError(
            f"{self.name} did not answer `{text}` within {patience_s:g} s; is this its port? unplug and plug it"
        )

    def _receive(self) -> bytes:
        """Return all that has arrived, or what comes first within `_POLL_S`."""
        try:
            first: bytes = self._port.read(1)
            waiting = min(self._port.in_waiting, _READ_BYTES) if first else 0
            return first + self._port.read(waiting) if waiting else first
        except (serial.SerialException, OSError, TypeError) as error:  # TypeError: closed meanwhile
            raise self._gone(error) from error

    def _write(self, text: str) -> None:
        try:
            self._port.write(text.encode("ascii") + b"\n")
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from error

    def _drain(self) -> None:
        """Read over what is on its way until nothing comes for a moment."""
        deadline_s = time.monotonic() + _END_S
        while self._receive():
            if time.monotonic() > deadline_s:
                raise MonitorError(f"{self.name} sends without end; unplug and plug it")

    def _gone(self, error: Exception) -> MonitorError:
        return MonitorError(f"{self.name} is gone: {error}; check its cable")


def open_instrument(address: str, supply: Supply) -> Instrument:
    """Open the Power Shield at the serial port `address`, for a board with `supply`; raises MonitorError."""
    if not address:
        raise MonitorError('a LPM01A wants its serial port: power = "lpm01a:/dev/serial/by-id/..."')
    return Lpm01a(address, supply.volts)
