"""Otii Arc and Ace through their app's TCP server and the vendor's client, otii-tcp-client (extra `otii`).

The app, or its headless server, must run, with a user logged in and a licence for automation free: that is done
there, and no password passes through here.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from fqtbench.board import Supply
from fqtbench.errors import MonitorError
from fqtbench.power.instrument import Chunk, Instrument
from fqtbench.power.otii_streams import OtiiStreams

if TYPE_CHECKING:
    from otii_tcp_client.arc import Arc
    from otii_tcp_client.otii_client import Connect
    from otii_tcp_client.project import Project
    from otii_tcp_client.recording import Recording

PORT: Final = 1905  # the client's own default
RATES_HZ: Final = {"Arc": 4000, "Ace": 50_000}  # Qoitech: of the main current
CHANNELS: Final = ("mc", "mv", "i1")
_POLL_S: Final = 0.02
_ANSWER_S: Final = 30.0
_SETTLED_S: Final = 0.1
"""How far events of the input may come behind samples of current: newer samples wait. Behind a stop none does."""
_COUNT: Final = 40_000  # samples a request: what the client itself asks for at once
_T = TypeVar("_T")


class Otii:
    """One Arc or Ace, its GPI1 at the trigger pin. It is an `Instrument`."""

    digital_inputs: Final = 1
    """How many bits of `digital` mean anything."""

    def __init__(self, address: str, volts: float) -> None:
        self.name = f"Otii {address}".rstrip()
        self.volts = volts
        where, _, self._wanted = address.partition("/")
        self._host, _, port = where.partition(":")
        try:
            self._port = int(port or PORT)
        except ValueError:
            raise MonitorError(
                f'{self.name}: {port!r} is no port; write power = "otii:127.0.0.1:{PORT}/name of the device"'
            ) from None
        self._lock = threading.Lock()  # the client takes one request at a time
        self._stopping = threading.Event()
        self._recording: Recording | None = None
        self._project: Project | None = None
        self._licence: int | None = None
        self._fed = False
        self._app: Connect | None = self._connect()
        try:
            self._reserve_licence(self._app)
            self._device = self._find(self._app)
            self._set_up(self._app)
        except BaseException:
            self.close()
            raise

    def _connect(self) -> "Connect":
        try:
            from otii_tcp_client.otii_client import LicensingMode, OtiiClient  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise MonitorError(
                f"{self.name} wants the package otii-tcp-client ({error}); install it: pip install 'fqtbench[otii]'"
            ) from error
        connect = OtiiClient().connect
        host = self._host or "127.0.0.1"
        try:
            return connect(host=host, port=self._port, try_for_seconds=0, licensing=LicensingMode.MANUAL)
        except Exception as error:  # of the socket, of JSON, of the client
            raise MonitorError(
                f"{self.name}: no Otii app answers at {host}:{self._port} ({error or type(error).__name__}); "
                "start it, and its TCP server in its settings"
            ) from error

    def _reserve_licence(self, app: "Connect") -> None:
        from otii_tcp_client.otii_client import LICENSE_MAP  # noqa: PLC0415

        if not self._do("ask for the user", app.is_logged_in):
            raise MonitorError(f"{self.name}: nobody is logged in there; log in in the Otii app")
        licences = [
            licence
            for licence in self._do("list licences", app.get_licenses)
            if licence["available"] and "Automation" in LICENSE_MAP.get(licence["type"], [])
        ]
        if any(licence["reserved_to"] for licence in licences):
            return
        if not licences:
            raise MonitorError(
                f"{self.name}: no licence for automation is free; free or buy one in the Otii app"
            )
        self._do("reserve a licence", app.reserve_license, licences[0]["id"])
        self._licence = licences[0]["id"]

    def _find(self, app: "Connect") -> "Arc":
        devices = self._do("list devices", app.get_devices, 3)
        found = [device for device in devices if self._wanted in ("", device.name, device.id)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(device.name for device in devices)
        raise MonitorError(
            f"{self.name}: "
            + (f"there are {names}" if devices else "no device is connected there")
            + f'; name one that is: power = "otii:{self._host or "127.0.0.1"}:{self._port}/name"'
        )

    def _set_up(self, app: "Connect") -> None:
        device = self._device
        self.name = f"Otii {device.type} {device.name}"
        self.rate_hz: float = float(RATES_HZ.get(device.type, RATES_HZ["Arc"]))
        self._project = self._do("create a project for", app.create_project)
        self._do("add", device.add_to_project)
        version = self._do("ask the version of", device.get_version)
        versions = f"hardware {version.get('hw_version')}, firmware {version.get('fw_version')}"
        self.model_id = f"Otii {device.type} {device.id}, {versions}"
        self._do("set the voltage of", device.set_main_voltage, self.volts)
        self._do("set the level of the inputs of", device.set_exp_voltage, self.volts)
        self._do("enable the inputs of", device.enable_exp_port, True)
        for channel in CHANNELS:
            self._do(f"enable {channel} of", device.enable_channel, channel, True)
        if device.type == "Ace":
            self._do("set the rate of", device.set_channel_samplerate, "mc", int(self.rate_hz))

    def calibration_fault(self) -> str | None:
        """Return that the device calls its calibration invalid, if it does; not every device can tell."""
        try:
            state = self._do("ask the calibration of", self._device.get_4wire)
        except MonitorError:
            return None
        if state == "cal_invalid":
            return f"{self.name} says that its calibration is not valid; calibrate it in the Otii app"
        return None

    def supply(self, on: bool) -> None:
        """Switch the main output."""
        self._do("switch", self._device.set_main, on)

    def start(self) -> None:
        """Begin a recording."""
        project = self._open_project()
        self._delete_recording()
        self._fed = bool(self._do("ask the output of", self._device.get_main))
        level = int(bool(self._do("ask the input of", self._device.get_gpi, 1)))
        self._streams = OtiiStreams(self.rate_hz, self.volts, level)
        self._read_counts = dict.fromkeys(CHANNELS, 0)
        self._stopping.clear()
        self._ended = False
        self._do("start a recording of", project.start_recording)
        recording = self._do("find the recording of", project.get_last_recording)
        if recording is None:
            raise MonitorError(f"{self.name} did not begin a recording; look at it in the Otii app")
        self._recording = recording

    def read(self, timeout_s: float) -> Sequence[Chunk]:
        """Return what has arrived but for the last tenth of a second, which may lack events of the input."""
        deadline_s = time.monotonic() + timeout_s
        while self._recording is not None and not self._ended:
            stopped = self._stopping.is_set()
            more = self._fetch_all(self._recording)
            newest_s = self._read_counts["mc"] / self.rate_hz
            chunks = self._streams.take(None if stopped and not more else newest_s - _SETTLED_S)
            self._ended = stopped and not more
            if not stopped:
                self._check_output()
            if chunks:
                return chunks
            if not more and not stopped:
                if time.monotonic() >= deadline_s:
                    break
                self._stopping.wait(_POLL_S)
        return []

    def _fetch_all(self, recording: "Recording") -> bool:
        """Take a piece of each channel that has more; return whether there was any.

        The current comes first: what the others bring afterwards is at least as new.
        """
        found = False
        for channel in CHANNELS:
            at = self._read_counts[channel]
            there = self._do("count samples of", recording.get_channel_data_count, self._device.id, channel)
            n = min(int(there) - at, _COUNT)
            if n > 0:
                data = self._do("read", self._request_samples, recording, channel, at, n)
                self._take(channel, at, data)
                found = True
        return found

    def _request_samples(self, recording: "Recording", channel: str, at: int, n: int) -> dict[str, Any]:
        """Do what the client's `get_channel_data` does, which would wait for ever."""
        from otii_tcp_client.otii_exception import Otii_Exception  # noqa: PLC0415

        which = {"recording_id": recording.id, "device_id": self._device.id, "channel": channel}
        request = {
            "type": "request",
            "cmd": "recording_get_channel_data",
            "data": {**which, "index": at, "count": n},
        }
        answer = recording.connection.send_and_receive(request, _ANSWER_S)
        if answer["type"] == "error":
            raise Otii_Exception(answer)
        data: dict[str, Any] = answer["data"]
        return data

    def _take(self, channel: str, at: int, data: dict[str, Any]) -> None:
        try:
            values = data["values"]
            if channel == "i1":
                for event in values:
                    self._streams.push_event(float(event["timestamp"]), bool(event["value"]))
            else:
                first_s, step_s = float(data["timestamp"]), float(data["interval"])
                samples: NDArray[np.float32] = np.array(values, dtype=np.float32)  # null is NaN
                if channel == "mv":
                    self._streams.push_voltage(first_s, step_s, samples)
                else:
                    self._check_clock(at, first_s, step_s)
                    self._streams.push_current(samples)
        except (KeyError, TypeError, ValueError) as error:
            raise MonitorError(
                f"{self.name} sent {channel} that can't be read ({error}); update the Otii app"
            ) from error
        if not values:
            raise MonitorError(
                f"{self.name} sent nothing of {channel} that it has; look at it in the Otii app"
            )
        self._read_counts[channel] = at + len(values)

    def _check_clock(self, at: int, first_s: float, step_s: float) -> None:
        """Hold the samples to their numbers: those that the app dropped would show here."""
        if abs(step_s * self.rate_hz - 1) > 1e-6 or abs(first_s * self.rate_hz - at) > 0.5:
            raise MonitorError(
                f"{self.name}: sample {at} is said to be at {first_s:.6f} s, one every {step_s * 1e6:.3f} µs, but "
                f"{self.rate_hz:g} a second were asked for; samples are missing: close other recordings, start again"
            )

    def _check_output(self) -> None:
        if self._fed and not self._do("ask the output of", self._device.get_main):
            raise MonitorError(
                f"{self.name} has switched its output off: the board took more than its limit; look for a short, or "
                "raise the limit in the Otii app"
            )

    def stop(self) -> None:
        """End the recording."""
        if self._recording is None or self._stopping.is_set():
            return
        self._do("stop", self._open_project().stop_recording)
        self._stopping.set()

    def close(self) -> None:
        """Delete our recording and project, return the licence. The output stays as it is."""
        if self._app is None:
            return
        with suppress(MonitorError):
            self.stop()
            self._delete_recording()
        if self._project is not None:
            with suppress(MonitorError):
                self._do("close the project of", self._project.close, True)
        if self._licence is not None:
            with suppress(MonitorError):
                self._do("return the licence of", self._app.return_license, self._licence)
        self._app.connection.close_connection()
        self._app = self._project = self._licence = None

    def _delete_recording(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            self._do("delete the recording of", recording.delete)

    def _open_project(self) -> "Project":
        if self._project is None:
            raise MonitorError(f"{self.name} was closed; open it again")
        return self._project

    def _do(self, what: str, function: Callable[..., _T], *arguments: object) -> _T:
        """Call the client, whose errors are of many classes."""
        with self._lock:
            try:
                return function(*arguments)
            except Exception as error:
                why = getattr(error, "message", None) or error or type(error).__name__
                raise MonitorError(
                    f"{self.name}: the Otii app can't {what} it: {why}; is the app still there, and the device?"
                ) from error


def open_instrument(address: str, supply: Supply) -> Instrument:
    """Open the Arc or Ace at `address`, ``HOST:PORT/NAME``, any part of which may be missing; raises MonitorError."""
    return Otii(address, supply.volts)
