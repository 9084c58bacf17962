"""Joulescope's recordings, ``.jls``, read by the vendor's library pyjls (extra `joulescope`)."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import MonitorError, UsageError
from fqtbench.power.instrument import Chunk
from fqtbench.power.joulescope_streams import JoulescopeStreams
from fqtbench.power.recording import Recording

_PIECE_S: Final = 0.1
_MAX_HZ: Final = 10_000_000  # five times what a Joulescope samples
_NAMES: Final = {
    "current": "current",
    "voltage": "voltage",
    "gpi": "gpi[0]",
}  # as Joulescope's recorders call them


def read_jls(path: Path, rate_hz: int | None = None) -> Recording:
    """Open a recording with a signal `current` and, if there are, `voltage` and `gpi[0]`, the trigger.

    `rate_hz`: to average to; it must divide the recording's, which is taken by default. Samples that the instrument
    lost are LOST.

    Raises (from the iterator too): UsageError if the file can't be read, or not at this rate.
    """
    try:
        from pyjls import Reader  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(
            f"{path}: to read .jls takes the package pyjls ({error}); pip install 'fqtbench[joulescope]'"
        ) from error
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    try:
        reader = Reader(str(path))
    except Exception as error:  # RuntimeError, ValueError and more, by what is broken
        raise UsageError(
            f"{path}: not a Joulescope recording of version 2 ({error}); save it again"
        ) from error
    try:
        signals = _find_signals(path, reader)
    except BaseException:
        reader.close()
        raise
    rate_hz = rate_hz or int(signals["current"].sample_rate)
    return Recording(str(path), float(rate_hz), None, _chunks(path, reader, signals, rate_hz))


def _find_signals(path: Path, reader: Any) -> dict[str, Any]:
    """Return the definitions of the signals that are there, by our name for them."""
    found: dict[str, Any] = {}
    for ours, theirs in _NAMES.items():
        same = [signal for signal in reader.signals.values() if signal.name == theirs and signal.length > 0]
        if len(same) > 1:
            raise UsageError(
                f"{path}: {len(same)} signals are called {theirs}; export those of one instrument"
            )
        if same:
            found[ours] = same[0]
    if "current" not in found:
        names = ", ".join(str(signal.name) for signal in reader.signals.values())
        raise UsageError(f"{path}: no signal `current` in it, only: {names}")
    top = max(signal.sample_rate for signal in found.values())
    for signal in found.values():
        if not 0 < signal.sample_rate <= _MAX_HZ or top % signal.sample_rate:
            raise UsageError(
                f"{path}: {signal.name} has {signal.sample_rate} samples a second, another {top}"
            )
    return found


def _chunks(path: Path, reader: Any, signals: dict[str, Any], rate_hz: int) -> Iterator[Chunk]:
    tick_hz = max(int(signal.sample_rate) for signal in signals.values())
    streams = JoulescopeStreams(rate_hz, str(path))
    with closing(reader):
        begin = 0.0
        while any(begin * signal.sample_rate < signal.length for signal in signals.values()):
            for stream in _NAMES:
                signal = signals.get(stream, signals["current"])
                first = round(begin * signal.sample_rate)
                n = min(round((begin + _PIECE_S) * signal.sample_rate), int(signal.length)) - first
                if n <= 0:
                    continue
                step = tick_hz // int(signal.sample_rate)
                tick = (int(signal.sample_id_offset) + first) * step
                data = (
                    _read(path, reader, signal, first, n)
                    if stream in signals
                    else np.zeros(n, dtype=np.float32)
                )
                try:
                    streams.push_samples(stream, tick, step, tick_hz, data)
                except MonitorError as error:
                    raise UsageError(f"{error} (of a file: export it at another rate)") from error
            begin += _PIECE_S
            for chunk in streams.take():
                yield chunk if "voltage" in signals else replace(chunk, volts=None)


def _read(path: Path, reader: Any, signal: Any, first: int, n: int) -> NDArray[Any]:
    try:
        data: NDArray[Any] = np.asarray(reader.fsr(signal.signal_id, first, n))
    except Exception as error:
        raise UsageError(
            f"{path}: {signal.name} can't be read from sample {first} on ({error}); save it again"
        ) from error
    if data.dtype == np.uint8:
        return np.unpackbits(data, bitorder="little")[:n]
    return data.astype(np.float32)
