"""Nordic's Power Profiler Kit II as a source meter: it feeds the board and measures its current, 100 kS/s.

Commands are a byte with its arguments (Nordic's pc-nrfconnect-ppk; ppk2-api 0.9.2): metadata 0x19; regulator 0x0D with
the supply in mV, high byte first; the board's supply 0x0C 1 or 0; mode 0x11 2, source meter; start 0x06; stop 0x07. The
first alone is answered, with text that ends with END. The port carries samples and that text alike, so the text behind
a stop marks the end of the samples.
"""

import os
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import serial

from fqtbench.board import Supply
from fqtbench.errors import MonitorError
from fqtbench.power.instrument import Chunk, Instrument
from fqtbench.power.ppk2_port import find_port, open_port
from fqtbench.power.ppk2_samples import SampleDecoder
from fqtbench.power.ppk2_units import Metadata, current_table_a, parse_metadata
from fqtbench.printable import printable

RATE_HZ: Final = 100_000.0
_METADATA, _START, _STOP = b"\x19", b"\x06", b"\x07"
_SOURCE_METER: Final = b"\x11\x02"
_MILLIVOLTS: Final = (800, 5000)
_TEXT: Final = b"Calibrated:"  # the metadata's beginning
_TEXT_END: Final = b"END"
_ANSWER_S: Final = 10.0
_QUIET_S: Final = 3.0
"""Behind a stop: a device that says nothing for so long, not even its metadata, has no more samples."""
_STOP_S: Final = 25.0
_FULL_BYTES: Final = 3 << 10  # of the 4 KB that Linux keeps of a terminal: there is more at once
_PAUSE_S: Final = 0.005
_PIECE_BYTES: Final = 1 << 16
_PIECE_S: Final = 0.04
"""`read` gathers a piece before it decodes it: a call costs as much as thousands of samples."""
_ADRIFT_BYTES: Final = 400_000
"""A second's worth of bytes that are no samples: it is no PPK2, or its stream is beyond repair."""


class Ppk2:
    """One PPK2, held exclusively until `close`. The supply stays as it was until `supply`; see `Instrument`.

    Raises (the constructor): MonitorError if there is no such port, if it is in use, if no PPK2 answers there, or if
    the board's voltage is beyond what a PPK2 can give.
    """

    def __init__(self, address: str, supply: Supply) -> None:
        self._name = f"PPK2 {address}"
        self._millivolts = round(supply.volts * 1000)
        if not _MILLIVOLTS[0] <= self._millivolts <= _MILLIVOLTS[1]:
            raise MonitorError(
                f"{self._name}: it gives 0.8 to 5 V, the board's model asks for {supply.volts} V; "
                "measure this board with another instrument"
            )
        device, self._serial_number = find_port(address)
        self._port = open_port(device, self._name)
        try:
            self._metadata = self._set_up()
        except BaseException:
            self._port.close()
            raise
        self._table = current_table_a(self._metadata.constants, self.volts)
        self._decoder: SampleDecoder | None = None  # while there are samples to come
        self._stopped_at_s: float | None = None
        self._tail = b""  # received behind a stop, not yet decoded

    @property
    def name(self) -> str:
        """Its kind and the address that it was opened by."""
        return self._name

    @property
    def model_id(self) -> str:
        """Its serial number, hardware version and the hash of its calibration."""
        number = self._serial_number or "of unknown serial number"
        hardware = self._metadata.others.get("HW", "unknown")
        return f"PPK2 {number}, hardware {hardware}, calibration {self._metadata.digest}"

    @property
    def rate_hz(self) -> float:
        """100 kS/s, by its own clock."""
        return RATE_HZ

    @property
    def volts(self) -> float:
        """The supply that it was set to, in V."""
        return self._millivolts / 1000

    @property
    def digital_inputs(self) -> int:
        """D0 to D7 of its logic port."""
        return 8

    def calibration_fault(self) -> str | None:
        """Return what is wrong with the constants that it carries, and what to do."""
        return self._metadata.fault()

    def supply(self, on: bool) -> None:
        """Switch the board's supply."""
        self._write(bytes([0x0C, on]))

    def start(self) -> None:
        """Begin to sample, at number 0. What is left of an earlier run is thrown away."""
        self.stop()
        while self._decoder is not None:
            self.read(_PIECE_S)
        with self._line():
            self._port.reset_input_buffer()
        self._decoder, self._stopped_at_s, self._tail = SampleDecoder(self._table), None, b""
        self._write(_START)

    def read(self, timeout_s: float) -> Sequence[Chunk]:
        """Return what has arrived; behind a stop, wait for samples or their end, so that nothing means the end."""
        while self._decoder is not None:
            ending = self._stopped_at_s is not None
            data = self._gather(_QUIET_S if ending else timeout_s)
            if self._stopped_at_s is None:
                return self._samples(data)
            if (data or ending) and (chunks := self._tail_samples(data, self._stopped_at_s)):
                return chunks
        return []

    def stop(self) -> None:
        """End sampling."""
        if self._decoder is not None and self._stopped_at_s is None:
            self._stopped_at_s = time.monotonic()
            self._write(_STOP + _METADATA)

    def close(self) -> None:
        """Let go of the port; a PPK2 that samples is stopped."""
        if self._port.is_open and self._decoder is not None and self._stopped_at_s is None:
            with suppress(MonitorError):  # it is gone
                self._write(_STOP)
        self._port.close()

    def _set_up(self) -> Metadata:
        """Stop what an earlier program may have left running, read the metadata, set the voltage."""
        with self._line():
            self._port.reset_input_buffer()
        self._write(_STOP + _METADATA)
        text = self._answer()
        try:
            metadata = parse_metadata(text)
        except MonitorError as error:
            raise MonitorError(f"{self._name}: {error}") from error
        # A source meter is not switched to be one again: that might interrupt the board's supply.
        mode = b"" if metadata.others.get("mode") == "2" else _SOURCE_METER
        self._write(mode + b"\x0d" + self._millivolts.to_bytes(2, "big"))
        return metadata

    def _answer(self) -> bytes:
        """Return the metadata's text, behind samples that may still be on their way."""
        late_at_s = time.monotonic() + _ANSWER_S
        received = b""
        while time.monotonic() < late_at_s:
            received += self._gather(_PIECE_S)
            begin = received.find(_TEXT)
            if begin < 0:
                received = received[-len(_TEXT) + 1 :]
            elif _TEXT_END in received[begin:]:
                return received[begin:]
            elif len(received) > _PIECE_BYTES:
                return received  # too long for the parser, which says so
        raise MonitorError(
            f"{self._name}: it gave no metadata within {_ANSWER_S:g} s; is this the port of a PPK2 (of its two, the "
            "one of USB interface 1)? Unplug it and plug it in again"
        )

    def _tail_samples(self, received: bytes, stopped_at_s: float) -> list[Chunk]:
        """Return the samples of what came behind a stop, up to the metadata's text; that, or silence, is their end."""
        if received and time.monotonic() > stopped_at_s + _STOP_S:
            raise MonitorError(
                f"{self._name}: it still sends samples {_STOP_S:g} s after it was told to stop; "
                "unplug it and plug it in again"
            )
        self._tail += received
        begin = self._tail.find(_TEXT)
        if begin < 0:  # its first letters may be at the end
            begin = max(len(self._tail) - len(_TEXT) + 1, 0) if received else len(self._tail)
        samples, self._tail = self._tail[:begin], self._tail[begin:]
        chunks = self._samples(samples)
        if not received or (self._tail.startswith(_TEXT) and _TEXT_END in self._tail):
            assert self._decoder is not None
            last = self._decoder.finish()
            chunks += [last] if len(last) else []
            self._decoder, self._tail = None, b""
        return chunks

    def _samples(self, data: bytes) -> list[Chunk]:
        assert self._decoder is not None
        chunk = self._decoder.push(data)
        if self._decoder.adrift_bytes > _ADRIFT_BYTES:
            raise MonitorError(
                f"{self._name}: it sends bytes that are no samples; is it a PPK2? Unplug it and plug it in again"
            )
        return [chunk] if len(chunk) else []

    def _gather(self, timeout_s: float) -> bytes:
        """Return what arrives: a piece, if it comes in one go, waiting up to `timeout_s` for its first byte."""
        with self._line():
            data = more = self._receive(timeout_s)
            full_at_s = time.monotonic() + _PIECE_S
            while more and len(data) < _PIECE_BYTES and time.monotonic() < full_at_s:
                if len(more) < _FULL_BYTES:
                    time.sleep(_PAUSE_S)
                more = self._receive(0)
                data += more
            return data

    def _receive(self, timeout_s: float) -> bytes:
        """Return what is there, waiting up to `timeout_s` for the first byte.

        Two system calls where there are descriptors: pyserial's dozen would cost more than decoding.
        """
        if os.name != "posix":
            self._port.timeout = timeout_s
            return bytes(self._port.read(1) + self._port.read(self._port.in_waiting))
        descriptor = self._port.fileno()
        if not select.select((descriptor,), (), (), timeout_s)[0]:
            return b""
        data = os.read(descriptor, _PIECE_BYTES)
        if not data:
            raise OSError("it is ready, but has no bytes")
        return data

    def _write(self, data: bytes) -> None:
        with self._line():
            self._port.write(data)

    @contextmanager
    def _line(self) -> Iterator[None]:
        try:
            yield
        except serial.SerialTimeoutException as error:
            raise MonitorError(
                f"{self._name}: it takes no commands; unplug it and plug it in again"
            ) from error
        except (
            serial.SerialException,
            OSError,
            TypeError,
            ValueError,
        ) as error:  # the last two: it was closed meanwhile
            raise MonitorError(
                f"{self._name}: its line failed ({printable(str(error))}); was it unplugged? "
                "Plug it in again and repeat the command"
            ) from error


def open_instrument(address: str, supply: Supply) -> Instrument:
    """Open the PPK2 at `address`: a path, a serial number or vid:pid:serial (`ppk2_port.find_port`)."""
    return Ppk2(address, supply)
