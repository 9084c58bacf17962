"""Joulescope JS110 and JS220 through their vendor's library, pyjoulescope_driver (extra `joulescope`).

Written against the library's documented interface, and never run on an instrument (docs/power.md).
"""

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import numpy as np

from fqtbench.board import Supply
from fqtbench.errors import MonitorError
from fqtbench.power.instrument import Chunk, Instrument
from fqtbench.power.joulescope_streams import JoulescopeStreams

RATE_HZ: Final = 100_000
_TOPICS: Final = {"current": "s/i", "voltage": "s/v", "gpi": "s/gpi/0"}
# What the library's own recorder sets up each model with.
_SET_UP: Final[dict[str, dict[str, object]]] = {
    "js110": {"s/i/range/select": "auto", "s/v/range/select": "15 V"},
    "js220": {"s/i/range/mode": "auto", "s/v/range/mode": "auto"},
}
_MAX_BLOCKS: Final = 4096  # that wait to be read; a stream has about 20 a second
_INSTALL: Final = "install it: pip install 'fqtbench[joulescope]'"


class Library(Protocol):
    """What is used of `pyjoulescope_driver.Driver`."""

    def device_paths(self, timeout: float | None = None) -> list[str]:
        """Return what is connected: ``u/js220/004321``."""
        ...

    def open(self, device_prefix: str, mode: str | None = None, timeout: float | None = None) -> object:
        """Open a device."""
        ...

    def close(self, device_prefix: str, timeout: float | None = None) -> object:
        """Close a device."""
        ...

    def publish(self, topic: str, value: Any, timeout: float | None = None) -> object:
        """Set a value."""
        ...

    def subscribe(
        self, topic: str, flags: Any, fn: Callable[..., Any], timeout: float | None = None
    ) -> object:
        """Have `fn(topic, value)` called, by a thread of the library's, for each value."""
        ...

    def unsubscribe(self, topic: str, fn: Callable[..., Any], timeout: float | None = None) -> object:
        """End that."""
        ...

    def finalize(self, timeout: float | None = None) -> object:
        """End the library's threads."""
        ...


class Joulescope:
    """One Joulescope, its input 0 at the trigger pin. It is an `Instrument`.

    It measures a supply and is none: `volts` is what the board's supply ought to be, the samples have what it was.
    """

    digital_inputs: Final = 1
    """How many bits of `digital` mean anything."""

    def __init__(self, library: Library, serial_number: str, volts: float) -> None:
        self.name = f"Joulescope {serial_number}".rstrip()
        self.rate_hz: Final = float(RATE_HZ)
        self.volts = volts
        self._library: Library | None = library
        self._path = ""
        self._blocks: queue.Queue[tuple[str, Mapping[str, object]]] = queue.Queue(_MAX_BLOCKS)
        self._overrun = False
        self._running = False
        self._streams = JoulescopeStreams(RATE_HZ, self.name)
        self._stream_of: dict[str, str] = {}
        self._receiver = self._receive  # one object, since the library finds it by identity
        try:
            self._path = self._find(library, serial_number)
            _, model, number = self._path.split("/")[:3]
            self.name = f"Joulescope {model.upper()} {number}"
            self.model_id = self.name
            self._stream_of = {f"{self._path}/{topic}/!data": key for key, topic in _TOPICS.items()}
            self._do("open", library.open, self._path, "defaults")
            self._publish("h/fs", RATE_HZ)
            for topic, value in _SET_UP.get(model.lower(), {}).items():
                self._publish(topic, value)
        except BaseException:
            self.close()
            raise

    def _find(self, library: Library, serial_number: str) -> str:
        paths = self._do("look for", library.device_paths)
        found = [path for path in paths if serial_number in ("", path.split("/")[-1])]
        if len(found) == 1:
            return str(found[0])
        there = f"there are {', '.join(paths)}" if paths else "there is none"
        what = f"there is no {self.name}" if serial_number else "a Joulescope can't be chosen"
        raise MonitorError(
            f'{what}: {there}; plug it in, close the Joulescope UI, and name it: power = "joulescope:004321"'
        )

    def calibration_fault(self) -> str | None:
        """Return None: it is calibrated by its maker and can't tell."""
        return None

    def supply(self, on: bool) -> None:
        """Refuse to switch off what it doesn't feed."""
        if not on:
            raise MonitorError(
                f"{self.name} can't switch the board's supply; give the board a power_cycle command in bench.toml"
            )

    def start(self) -> None:
        """Begin to sample; number 0 is the first sample that all three streams have."""
        self._streams = JoulescopeStreams(RATE_HZ, self.name)
        self._blocks = queue.Queue(_MAX_BLOCKS)
        self._overrun = False
        library = self._opened()
        for topic in self._stream_of:
            self._do("subscribe to", library.subscribe, topic, ["pub"], self._receiver)
        self._running = True
        for topic in _TOPICS.values():
            self._publish(f"{topic}/ctrl", 1)

    def _receive(self, topic: str, value: Mapping[str, Any]) -> None:
        """Keep a block; called by the library's thread, whose data are its own again afterwards."""
        stream = self._stream_of.get(topic)
        if stream is None or value.get("data") is None:
            return
        try:
            self._blocks.put_nowait((stream, {**value, "data": np.array(value["data"])}))
        except queue.Full:
            self._overrun = True

    def read(self, timeout_s: float) -> Sequence[Chunk]:
        """Return what all streams have brought."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = deadline_s - time.monotonic() if self._running else 0.0
            try:
                stream, block = self._blocks.get(timeout=left_s) if left_s > 0 else self._blocks.get_nowait()
            except queue.Empty:
                return []
            if self._overrun:
                raise MonitorError(
                    f"{self.name} sent more than was read; is this computer too busy? close what else runs, start again"
                )
            self._streams.push(stream, block)
            if chunks := self._streams.take():
                return chunks

    def stop(self) -> None:
        """End sampling."""
        if not self._running:
            return
        library = self._opened()
        for topic in _TOPICS.values():
            self._publish(f"{topic}/ctrl", 0)
        for topic in self._stream_of:
            self._do("unsubscribe from", library.unsubscribe, topic, self._receiver)
        self._running = False

    def close(self) -> None:
        """Close the device and end the library's threads."""
        library, self._library = self._library, None
        if library is None:
            return
        self._running = False
        with suppress(Exception):  # whatever the library raises, there is nothing left to do about it
            if self._path:
                library.close(self._path)
        with suppress(Exception):
            library.finalize()

    def _opened(self) -> Library:
        if self._library is None:
            raise MonitorError(f"{self.name} was closed; open it again")
        return self._library

    def _publish(self, topic: str, value: object) -> None:
        self._do(f"set {topic} of", self._opened().publish, f"{self._path}/{topic}", value)

    def _do(self, what: str, function: Callable[..., Any], *arguments: object) -> Any:
        """Call the library, whose errors are of many classes."""
        try:
            return function(*arguments)
        except Exception as error:
            raise MonitorError(
                f"{self.name}: pyjoulescope_driver can't {what} it: {error or type(error).__name__}; "
                "check its cable, close the Joulescope UI, unplug and plug it"
            ) from error


def open_instrument(address: str, supply: Supply) -> Instrument:
    """Open the Joulescope with the serial number `address`, or the only one, for a board with `supply`.

    Raises MonitorError.
    """
    try:
        from pyjoulescope_driver import Driver  # noqa: PLC0415 - an extra, and it loads libusb
    except ImportError as error:
        raise MonitorError(
            f"a Joulescope wants the package pyjoulescope_driver ({error}); {_INSTALL}"
        ) from error
    try:
        library = Driver()
    except Exception as error:
        raise MonitorError(f"pyjoulescope_driver can't start: {error}; {_INSTALL}") from error
    return Joulescope(library, address, supply.volts)
