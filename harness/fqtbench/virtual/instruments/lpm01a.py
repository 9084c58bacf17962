"""An emulated Power Shield X-NUCLEO-LPM01A on a pseudo-terminal (UM2269 Rev 6, chapter 4).

It knows the commands and settings of a host that measures in the format ``bin_hexa``, and refuses all others.
"""

import re
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.virtual.instruments.instrument import Faults
from fqtbench.virtual.uart_line import PtyLine

_SAMPLES_PER_STAMP: Final = 1000
_RATES: Final = (100_000, 50_000, 20_000, 10_000, 5_000, 2_000, 1_000)  # of UM2269, table 13, the upper ones
_FIXED: Final = {
    "htc",
    "hrc",
    "calib",
    "acqmode dyn",
    "funcmode optim",
    "funcmode high",
    "output current",
    "format bin_hexa",
    "acqtime inf",
    "trigsrc sw",
    "pwrend on",
}
_ANSWERS: Final = {"powershield": "540619864-1110659081-4784204", "version": ": 1.0.6"}
_MAX_LINE_BYTES: Final = 256
_MAX_SENT_BYTES: Final = 1 << 19  # below what the line keeps


def encode_words(current_a: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return samples, (n,), with the largest exponent of 16 that leaves 12 bits of mantissa: 0.2 % at worst."""
    current_a = np.clip(current_a, 0.0, 4095.0)
    with np.errstate(divide="ignore"):
        exponent = np.floor(np.log2(4095.49 / current_a) / 4)
    exponent = np.clip(exponent, 0, 14).astype(np.int64)
    mantissa = np.minimum(np.rint(np.ldexp(current_a, 4 * exponent)), 4095).astype(np.int64)
    words: NDArray[np.uint16] = (exponent << 12 | mantissa).astype(np.uint16)
    return words


class EmulatedLpm01a:
    """It is an `EmulatedInstrument`. It has no logic inputs: pins that it is fed are not looked at."""

    def __init__(self, faults: Faults | None = None, link: Path | None = None) -> None:
        self._faults = faults or Faults()
        self._random = np.random.default_rng(self._faults.seed)
        self._line = PtyLine(link)
        self.url = f"lpm01a:{self._line.url}"
        self.powered = False
        self._rate_hz = 100
        self._acquiring = False
        self._samples = 0
        self._typed = bytearray()
        self._unsent = bytearray()

    @property
    def rate_hz(self) -> float | None:
        """Samples a second of virtual time; None while it does not measure."""
        return float(self._rate_hz) if self._acquiring else None

    @property
    def backlog_bytes(self) -> int:
        """What waits to be sent; what the pseudo-terminal itself holds is not known."""
        return len(self._unsent) + self._line.backlog_bytes

    def readers(self) -> list[int]:
        """Return the pseudo-terminal."""
        return self._line.readers()

    def writers(self) -> list[int]:
        """Return the pseudo-terminal while bytes wait."""
        return self._line.writers()

    def service(self) -> bool:
        """Obey commands, send what waits."""
        self._typed += self._line.poll()
        *lines, rest = bytes(self._typed).split(b"\n")
        self._typed = bytearray(rest[-_MAX_LINE_BYTES:])
        for line in lines:
            self._obey(" ".join(line.decode("ascii", "replace").split()))
        self._send()
        return False

    def feed(self, current_a: NDArray[np.float64], digital: NDArray[np.uint8]) -> None:
        """Take the board's mean current in A over each sample period, (n,)."""
        del digital
        if not self._acquiring:
            return
        noise_a = self._random.normal(0.0, self._faults.noise_a, len(current_a))
        words = encode_words(current_a * self.powered + noise_a)
        at = 0
        while at < len(words):
            room = _SAMPLES_PER_STAMP - self._samples % _SAMPLES_PER_STAMP
            part = words[at : at + room]
            self._unsent += self._damaged(part)
            self._samples += len(part)
            at += len(part)
            if self._samples % _SAMPLES_PER_STAMP == 0:
                self._stamp()
        self._send()

    def close(self) -> None:
        """Remove the pseudo-terminal."""
        self._line.close()

    def _damaged(self, words: NDArray[np.uint16]) -> bytes:
        faults, data = self._faults, words.astype(">u2").tobytes()
        if not (faults.lose or faults.double or faults.tear):
            return data
        chance = self._random.random(len(words))
        kinds = np.searchsorted(np.cumsum([faults.lose, faults.double, faults.tear]), chance, side="right")
        sent = bytearray()
        for number, kind in enumerate(kinds):
            word = data[2 * number : 2 * number + 2]
            sent += (b"", word * 2, word[:1], word)[kind]
        return bytes(sent)

    def _stamp(self) -> None:
        stamp_ms = self._samples * 1000 // self._rate_hz
        load_percent = min(99, self.backlog_bytes * 100 // _MAX_SENT_BYTES)
        self._unsent += b"\xf0\xf3" + stamp_ms.to_bytes(4) + bytes([load_percent]) + b"\xff\xff"

    def _send(self) -> None:
        if self._unsent and self._line.backlog_bytes < _MAX_SENT_BYTES:
            self._line.send(bytes(self._unsent))
            self._unsent.clear()

    def _reply(self, text: str) -> None:
        self._unsent += f"PowerShield > {text}\r\n\r\n".encode("ascii")

    def _obey(self, command: str) -> None:
        if not command:
            return
        if self._acquiring and command != "stop":
            return  # the shell takes no settings during an acquisition
        if command in _FIXED:
            self._reply(f"ack {command}")
        elif command in _ANSWERS:
            self._reply(f"ack {command} {_ANSWERS[command]}")
        elif command == "status":
            self._reply("ack status " + ("error: calibration" if self._faults.miscalibrated else "ok"))
        elif command in ("pwr on", "pwr off"):
            self.powered = command == "pwr on"
            self._reply(f"ack {command}")
        elif command == "start":
            self._start()
        elif command == "stop":
            self._stop()
        elif not self._set(command):
            self._reply(f"err {command}")

    def _set(self, command: str) -> bool:
        volts = re.fullmatch(r"volt (\d{4})m", command)
        rate = re.fullmatch(r"freq (\d{1,3})k", command)
        if rate and int(rate[1]) * 1000 in _RATES:
            self._rate_hz = int(rate[1]) * 1000
        elif not (volts and 1800 <= int(volts[1]) <= 3300):
            return False
        self._reply(f"ack {command}")
        return True

    def _start(self) -> None:
        self._reply("ack start")
        self._acquiring = True
        self._samples = 0
        self._stamp()

    def _stop(self) -> None:
        if self._acquiring:
            self._unsent += b"\xf0\xf4\xff\xff\r\nsummary beg\r\n0000-00\r\n0000-00\r\nsummary end\r\n"
        self._acquiring = False
        self._reply("ack stop")
