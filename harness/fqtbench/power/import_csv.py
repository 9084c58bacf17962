"""Recordings as tables in text: Otii's exports, and any that names its columns with units.

A header names a time (s, ms or µs), a current (A, mA, µA or nA), perhaps a voltage (V or mV) and digital inputs. Units
stand in brackets or behind an underscore or blank: ``Timestamp(ms)``, ``Arc Main Current (A)``, ``Time [s]``,
``current_uA``. Inputs are called D0, GPI1, IN0, trigger and the like, and are 0 or 1. The two columns
``Timestamp,Value`` of a file called ``Main current - ….csv``, one of Otii's exports of single channels, are s and A.
Other columns are read over.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fqtbench.errors import UsageError
from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.recording import Recording

_BLOCK_BYTES: Final = 1 << 20
_MAX_HEADER_BYTES: Final = 1 << 14
_MAX_GAP: Final = 10_000_000  # samples missing in a row
_PIECE: Final = 1 << 18
_UNEVEN: Final = 0.3  # share of a period by which a time may be off its sample's
_ROUND_RATE: Final = 1e-4  # a rate this close to a whole number of Hz is that number

_TIMES: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_CURRENTS: Final = {"a": 1.0, "ma": 1e-3, "ua": 1e-6, "na": 1e-9}
_VOLTS: Final = {"v": 1.0, "mv": 1e-3}
_UNIT: Final = re.compile(r"(?:[\[(]\s*([a-zµμ]{1,2})\s*[\])]|[_ ]([a-zµμ]{1,2}))\s*$")
_INPUT: Final = re.compile(r"(?:d|di|gpi|in|ch|digital)[ _]?(\d)")


@dataclass(frozen=True)
class _Columns:
    """Which column is what, by its number, and what to multiply it with."""

    names: list[str]
    separator: str
    time: tuple[int, float]
    current: tuple[int, float]
    volts: tuple[int, float] | None
    inputs: list[int]

    @property
    def used(self) -> list[int]:
        return [self.time[0], self.current[0], *([self.volts[0]] if self.volts else []), *self.inputs]


def read_csv(path: Path, rate_hz: float | None = None) -> Recording:
    """Open a table of time and current; input i of the trace is the i-th column of an input in the header.

    Rows that are missing, by the times, are LOST. `rate_hz`: samples a second where the times are too coarse to tell:
    each row is then one sample, and times are not looked at. By default it comes of the first times.

    Raises (from the iterator too): UsageError if the table can't be understood, or its times are uneven.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    try:
        columns = _read_header(path, file)
        blocks = _blocks(path, file, columns)
        first = next(blocks, None)
        if first is None or len(first) < 2:
            raise UsageError(f"{path}: fewer than two samples in it")
        rate = rate_hz or _rate_of(path, first[:, 0])
    except BaseException:
        file.close()
        raise
    chunks = _chunks(path, chain([first], blocks), columns, rate, by_time=rate_hz is None)
    return Recording(str(path), rate, None, chunks)


def _read_header(path: Path, file: BinaryIO) -> _Columns:
    line = file.readline(_MAX_HEADER_BYTES)
    if not line.endswith(b"\n"):
        raise UsageError(f"{path}: no table: its first line does not end within {_MAX_HEADER_BYTES} bytes")
    text = line.decode("utf-8-sig", "replace")
    separator = max(",;\t", key=text.count)
    names = [name.strip().strip('"').strip() for name in text.split(separator)]
    found: dict[str, tuple[int, float]] = {}
    inputs: list[int] = []
    single = path.name.startswith("Main current") and [name.lower() for name in names] == [
        "timestamp",
        "value",
    ]
    for number, name in enumerate(["time (s)", "current (A)"] if single else names):
        what, factor = _classify(name)
        if what == "input":
            inputs.append(number)
        elif what in found:
            one, other = names[found[what][0]], name
            raise UsageError(f"{path}: {one!r} and {other!r} are both a {what}; leave one of them out")
        elif what:
            found[what] = (number, factor)
    for what, example in [("time", "Time (ms)"), ("current", "Current (uA)")]:
        if what not in found:
            raise UsageError(
                f"{path}: no column is a {what} with its unit, as in {example!r}; there are {', '.join(names)[:200]}"
            )
    if len(inputs) > 8:
        raise UsageError(f"{path}: {len(inputs)} inputs; keep 8 at most")
    return _Columns(names, separator, found["time"], found["current"], found.get("voltage"), inputs)


def _classify(name: str) -> tuple[str, float]:
    """Return what a column is, "" if nothing of ours, and its unit's factor."""
    plain = name.strip().lower().replace("µ", "u").replace("μ", "u")
    if plain == "trigger" or _INPUT.fullmatch(plain):
        return "input", 1.0
    unit = _UNIT.search(plain)
    symbol = (unit[1] or unit[2]) if unit else ""
    for what, units, word in [
        ("time", _TIMES, "time"),
        ("current", _CURRENTS, "current"),
        ("voltage", _VOLTS, "volt"),
    ]:
        if word in plain and symbol in units:
            return what, units[symbol]
    return "", 1.0


def _blocks(path: Path, file: BinaryIO, columns: _Columns) -> Iterator[NDArray[np.float64]]:
    """Yield rows as numbers, (n, used columns), about a megabyte of text at a time."""
    rest, row = b"", 2
    with file:
        while data := file.read(_BLOCK_BYTES):
            text, newline, rest = (rest + data).rpartition(b"\n")
            if not newline:
                raise UsageError(f"{path}: row {row} does not end within {_BLOCK_BYTES} bytes")
            yield (block := _parse(path, text, columns, row))
            row += len(block)
        if rest.strip():
            yield _parse(path, rest, columns, row)


def _parse(path: Path, text: bytes, columns: _Columns, row: int) -> NDArray[np.float64]:
    decimal = "," if columns.separator != "," and b"," in text[:_MAX_HEADER_BYTES] else "."
    try:
        table = pd.read_csv(
            io.BytesIO(text),
            sep=columns.separator,
            header=None,
            index_col=False,
            decimal=decimal,
            encoding_errors="replace",
            on_bad_lines="error",
        )
        if table.shape[1] != len(columns.names):
            raise ValueError(f"{table.shape[1]} columns, {len(columns.names)} in the header")
        numbers: NDArray[np.float64] = table[columns.used].to_numpy(dtype=np.float64)
    except pd.errors.EmptyDataError:
        return np.empty((0, len(columns.used)))
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{path}: no row of numbers under its header, from row {row} on ({str(error)[:200]})"
        ) from error
    numbers[:, 0] *= columns.time[1]
    numbers[:, 1] *= columns.current[1]
    return numbers


def _rate_of(path: Path, times_s: NDArray[np.float64]) -> float:
    """Return the samples a second that the first times tell."""
    period_s = float(np.median(np.diff(times_s)))
    if not (np.isfinite(period_s) and period_s > 0):
        raise UsageError(
            f"{path}: its times do not grow from row to row; if they are only too coarse, say the rate"
        )
    steps_s = np.diff(times_s)
    usual = (steps_s > 0.5 * period_s) & (steps_s < 1.5 * period_s)  # gaps aside
    rate_hz = float(1 / steps_s[usual].mean())
    return float(round(rate_hz)) if abs(round(rate_hz) - rate_hz) <= _ROUND_RATE * rate_hz else rate_hz


def _chunks(
    path: Path, blocks: Iterator[NDArray[np.float64]], columns: _Columns, rate_hz: float, by_time: bool
) -> Iterator[Chunk]:
    next_sample, last_s, row = 0, None, 2
    for block in blocks:
        if not len(block):
            continue
        steps = np.ones(len(block))
        if by_time:
            before_s = block[0, 0] - 1 / rate_hz if last_s is None else last_s
            steps = np.diff(block[:, 0], prepend=before_s) * rate_hz
            uneven = (
                ~(abs(steps - np.rint(steps)) <= _UNEVEN) | ~(steps >= 1 - _UNEVEN) | ~(steps <= _MAX_GAP)
            )
            if uneven.any():
                raise UsageError(
                    f"{path}: the time of row {row + int(uneven.argmax())} is no whole number of samples, at "
                    f"{rate_hz:g} a second, behind the row before, or too far; export evenly sampled data"
                )
        numbers = next_sample - 1 + np.cumsum(np.rint(steps)).astype(np.int64)
        yield from _with_gaps(block, columns, numbers, next_sample)
        next_sample, last_s, row = int(numbers[-1]) + 1, float(block[-1, 0]), row + len(block)


def _with_gaps(
    block: NDArray[np.float64], columns: _Columns, numbers: NDArray[np.int64], first: int
) -> Iterator[Chunk]:
    """Yield a block's samples from number `first` on, what is missing between them as LOST."""
    for begin in range(first, int(numbers[-1]) + 1, _PIECE):
        end = min(begin + _PIECE, int(numbers[-1]) + 1)
        low, high = np.searchsorted(numbers, [begin, end])
        where = numbers[low:high] - begin
        rows = block[low:high]
        current_a = np.full(end - begin, np.nan, dtype=np.float32)
        current_a[where] = rows[:, 1]
        volts = None
        if columns.volts:
            volts = np.full(end - begin, np.nan, dtype=np.float32)
            volts[where] = rows[:, 2] * columns.volts[1]
        digital = np.zeros(end - begin, dtype=np.uint8)
        for bit, column in enumerate(range(rows.shape[1] - len(columns.inputs), rows.shape[1])):
            digital[where] |= ((rows[:, column] != 0) & ~np.isnan(rows[:, column])).astype(
                np.uint8
            ) << np.uint8(bit)
        lost = np.isnan(current_a) if volts is None else np.isnan(current_a) | np.isnan(volts)
        current_a[lost] = np.nan
        flags = np.where(lost, np.uint8(Flag.LOST), np.uint8(0))
        yield Chunk(begin, current_a, digital, flags, volts)
