"""An emulated Otii app with one Arc or Ace, served by TCP on loopback.

The protocol is JSON, an object a line (docs.qoitech.com, "Otii TCP server"; otii-tcp-client 1.0): a request has `cmd`,
`trans_id` and `data`, its answer the same `cmd` and `trans_id`. What the vendor's client, unmodified, needs to measure
one device is there; everything else is answered with the app's error.
"""

import json
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fqtbench.virtual.instruments.instrument import Faults
from fqtbench.virtual.uart_line import TcpLine

_RATES_HZ: Final = {"Arc": 4000, "Ace": 50_000}
_VOLTAGE_HZ: Final = 1000
_MAX_SAMPLES: Final = 1 << 25  # of a recording: 11 min at 50 kHz; then the board is not measured any more
_MAX_LINE_BYTES: Final = 1 << 16
_Data = dict[str, Any]


class _Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """The app's answer to what it can't do: its error code, and the data that belong to it."""

    def __init__(self, code: str, **data: object) -> None:
        super().__init__(code)
        self.code, self.data = code, data


class _Recording:
    """What one recording has of each channel."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.current_a = array("f")
        self.volts = array("f")
        self.events: list[_Data] = []
        self.level = 0


class EmulatedOtii:
    """It is an `EmulatedInstrument`. Of the faults, TCP leaves noise and a lost calibration."""

    def __init__(self, faults: Faults | None = None, kind: Literal["Arc", "Ace"] = "Ace") -> None:
        self._faults = faults or Faults()
        self._random = np.random.default_rng(self._faults.seed)
        self._kind = kind
        self._line = TcpLine()
        self.url = "otii:" + self._line.url.removeprefix("socket://")
        self.powered = False
        self._id = f"{kind}512031204843494E3130393033313036"
        self._volts = 3.0
        self._level = 0
        self._licence_is_ours = False
        self._enabled: set[str] = set()
        self._recordings: dict[int, _Recording] = {}
        self._running: _Recording | None = None
        self._numbers = 0
        self._greeted = 0
        self._typed = bytearray()
        self._commands: Final[dict[str, Callable[[_Data], _Data]]] = {
            "otii_is_logged_in": lambda data: {"logged_in": True},
            "otii_get_licenses": lambda data: {"licenses": [self._licence()]},
            "otii_has_license": lambda data: {"has_license": self._licence_is_ours},
            "otii_reserve_license": lambda data: self._reserve(True),
            "otii_return_license": lambda data: self._reserve(False),
            "otii_get_devices": lambda data: {"devices": [self._device()]},
            "otii_create_project": lambda data: {"project_id": 1},
            "otii_get_active_project": lambda data: {"project_id": 1},
            "project_close": lambda data: {},
            "project_start_recording": self._start,
            "project_stop_recording": self._stop,
            "project_get_last_recording": self._last_recording,
            "arc_add_to_project": lambda data: {},
            "arc_get_version": lambda data: {"hw_version": "1.0", "fw_version": "3.5.5"},
            "arc_set_main_voltage": self._set_voltage,
            "arc_get_main_voltage": lambda data: {"value": self._volts},
            "arc_set_exp_voltage": lambda data: {},
            "arc_enable_exp_port": lambda data: {},
            "arc_enable_channel": self._enable,
            "arc_set_channel_samplerate": self._check_rate,
            "arc_get_channel_samplerate": self._channel_rate,
            "arc_set_main": self._set_main,
            "arc_get_main": lambda data: {"value": self.powered},
            "arc_get_gpi": lambda data: {"value": bool(self._level)},
            "arc_get_4wire": lambda data: {
                "value": "cal_invalid" if self._faults.miscalibrated else "inactive"
            },
            "recording_delete": self._delete,
            "recording_get_channel_data_count": lambda data: {"count": len(self._channel(data)[0])},
            "recording_get_channel_data": self._channel_data,
            "recording_get_channel_info": self._channel_info,
        }

    @property
    def rate_hz(self) -> float | None:
        """Samples a second of virtual time; None while it does not record."""
        return float(_RATES_HZ[self._kind]) if self._running else None

    @property
    def backlog_bytes(self) -> int:
        """What waits to be sent; what is recorded waits for nobody."""
        return self._line.backlog_bytes

    def readers(self) -> list[int]:
        """Return the listener and the client."""
        return self._line.readers()

    def writers(self) -> list[int]:
        """Return the client while bytes wait for it."""
        return self._line.writers()

    def service(self) -> bool:
        """Answer requests."""
        self._typed += self._line.poll()
        if self._greeted != self._line.accepted:
            self._greeted = self._line.accepted
            self._typed.clear()
            versions = {"otii_version": "3.5.5", "protocol_version": "0.1", "server": "otii-server"}
            self._send({"type": "information", "info": "connected", "data": versions})
        *lines, rest = bytes(self._typed).split(b"\r\n")
        self._typed = bytearray(rest[-_MAX_LINE_BYTES:])
        for line in lines:
            self._send(self._answer(line))
        return bool(lines)

    def feed(self, current_a: NDArray[np.float64], digital: NDArray[np.uint8]) -> None:
        """Take the board's mean current in A over each sample period, (n,), and its pins, bit 0 = trigger, (n,)."""
        recording = self._running
        if recording is None or len(recording.current_a) + len(current_a) > _MAX_SAMPLES:
            return
        begin = len(recording.current_a)
        noise_a = self._random.normal(0.0, self._faults.noise_a, len(current_a))
        measured_a = (current_a * self.powered + noise_a).astype(np.float32)
        recording.current_a.frombytes(measured_a.tobytes())
        voltages = len(recording.current_a) * _VOLTAGE_HZ // _RATES_HZ[self._kind] - len(recording.volts)
        recording.volts.extend([self._volts * self.powered] * voltages)
        levels = np.concatenate([[self._level], digital & 1])
        for at in np.flatnonzero(np.diff(levels)):
            stamp_s = (begin + int(at)) / _RATES_HZ[self._kind]
            recording.events.append({"timestamp": stamp_s, "value": bool(levels[at + 1])})
        self._level = int(levels[-1])

    def close(self) -> None:
        """Close the server."""
        self._line.close()

    def _send(self, message: _Data) -> None:
        self._line.send(json.dumps(message).encode() + b"\r\n")

    def _answer(self, line: bytes) -> _Data:
        answer: _Data = {"type": "response", "cmd": "", "trans_id": ""}
        try:
            request = json.loads(line)
            answer["cmd"], answer["trans_id"] = request["cmd"], request["trans_id"]
            command = self._commands.get(request["cmd"])
            if command is None:
                raise _Refused("Invalid command")
            answer["data"] = command(request.get("data", {}))
        except _Refused as refused:
            answer |= {"type": "error", "errorcode": refused.code, "data": refused.data}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = {"parse_error": str(error), "data": ""}
            answer |= {"type": "error", "errorcode": "Not able to parse request", "data": why}
        return answer

    def _licence(self) -> _Data:
        user = "somebody" if self._licence_is_ours else ""
        return {"id": 1234, "type": "Automation", "available": True, "reserved_to": user, "hostname": ""}

    def _reserve(self, ours: bool) -> _Data:
        self._licence_is_ours = ours
        return {}

    def _device(self) -> _Data:
        return {"device_id": self._id, "name": self._kind, "type": self._kind}

    def _need_licence(self) -> None:
        if not self._licence_is_ours:
            raise _Refused("No license")

    def _set_voltage(self, data: _Data) -> _Data:
        self._need_licence()
        volts = float(data["value"])
        if not 0.5 <= volts <= 5.0:
            raise _Refused("Invalid key value", key="value", value=volts)
        self._volts = volts
        return {}

    def _set_main(self, data: _Data) -> _Data:
        self._need_licence()
        self.powered = bool(data["enable"])
        return {}

    def _enable(self, data: _Data) -> _Data:
        self._need_licence()
        (self._enabled.add if data["enable"] else self._enabled.discard)(data["channel"])
        return {}

    def _check_rate(self, data: _Data) -> _Data:
        if self._kind != "Ace":
            raise _Refused("Command not valid for device type")
        if (data["channel"], data["value"]) != ("mc", _RATES_HZ["Ace"]):
            raise _Refused("Invalid key value", key="value", value=data["value"])
        return {}

    def _channel_rate(self, data: _Data) -> _Data:
        return {"value": _RATES_HZ[self._kind] if data["channel"] == "mc" else _VOLTAGE_HZ}

    def _start(self, data: _Data) -> _Data:
        self._need_licence()
        if not {"mc", "mv", "i1"} <= self._enabled:
            raise _Refused("Command failure", message="it records nothing: not all of mc, mv, i1 are enabled")
        self._numbers += 1
        self._running = self._recordings[self._numbers] = _Recording(self._numbers)
        return {}

    def _stop(self, data: _Data) -> _Data:
        self._running = None
        return {}

    def _last_recording(self, data: _Data) -> _Data:
        number = max(self._recordings, default=-1)
        return {"recording_id": number, "name": f"Recording {number}"}

    def _delete(self, data: _Data) -> _Data:
        if self._running is self._recordings.pop(data["recording_id"]):
            self._running = None
        return {}

    def _channel(self, data: _Data) -> tuple[Sequence[Any], int]:
        """Return a channel's values, and their rate, 0 if they are events."""
        recording = self._recordings[data["recording_id"]]
        if data["device_id"] != self._id:
            raise _Refused("Device not connected", device_id=data["device_id"])
        channels: dict[str, tuple[Sequence[Any], int]] = {
            "mc": (recording.current_a, _RATES_HZ[self._kind]),
            "mv": (recording.volts, _VOLTAGE_HZ),
            "i1": (recording.events, 0),
        }
        return channels[data["channel"]]

    def _channel_data(self, data: _Data) -> _Data:
        values, rate_hz = self._channel(data)
        index = int(data["index"])
        part = list(values[index : index + int(data["count"])])
        if not rate_hz:
            return {"data_type": "digital", "values": part}
        return {"data_type": "analog", "timestamp": index / rate_hz, "interval": 1 / rate_hz, "values": part}

    def _channel_info(self, data: _Data) -> _Data:
        values, rate_hz = self._channel(data)
        return {"offset": 0.0, "from": 0.0, "to": len(values) / max(rate_hz, 1), "sample_rate": rate_hz}
