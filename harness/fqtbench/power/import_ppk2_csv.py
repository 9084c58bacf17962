"""Recordings of Nordic's Power Profiler app, exported as CSV.

The columns (src of github.com/NordicSemiconductor/pc-nrfconnect-ppk) are those that were chosen of `Timestamp(ms)`,
`Current(uA)`, `D0-D7` with eight characters in one, and `D0`, …, `D7`; a level is 0, 1, X for both within the sample's
time, or - for unknown. Lost samples have no line: the time stamps tell.

An input that was high for a part of a sample counts as high, an unknown one as low. The app has replaced samples at
range switches by its spike filter; the file doesn't say where, nor at which supply it was recorded.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from fqtbench.errors import UsageError
from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.recording import Recording
from fqtbench.printable import printable

_A_PER_UA: Final = 1e-6
_MOST_HZ: Final = 100_000
_PIECE: Final = 1 << 17  # samples
_MOST_HEADER_BYTES: Final = 1 << 12
_BLOCK_BYTES: Final = 1 << 20
_MOST_GAP_S: Final = 3600.0
_SHORT_GAP: Final = 64  # samples that are filled in among the others
_OFF_GRID: Final = 0.1  # of a sample's time
_TIME, _CURRENT, _LEVELS = "Timestamp(ms)", "Current(uA)", "D0-D7"


def read_ppk2_csv(path: Path) -> Recording:
    """Open a CSV export; UsageError if it is none. Time stamps that are no multiples of one period are refused."""
    columns = _header(path)
    batches = _batches(path, columns)
    first = next(batches, None)
    if first is None or len(first) < 2:
        raise UsageError(f"{path}: has fewer than two samples")
    times_ms = _numbers(first, _TIME)[:1000]
    rate_hz = _grid_hz(path, times_ms)
    return Recording(str(path), rate_hz, None, _rows(path, rate_hz, columns, float(times_ms[0])))


def _header(path: Path) -> list[str]:
    """Return the columns that are needed."""
    try:
        with path.open("rb") as file:
            line = file.readline(_MOST_HEADER_BYTES)
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror})") from error
    names = line.decode("utf-8-sig", "replace").strip().split(",")
    if _TIME not in names or _CURRENT not in names or len(set(names)) != len(names):
        raise UsageError(
            f"{path}: a CSV export of the Power Profiler has columns {_TIME} and {_CURRENT}, this file begins with "
            f"{printable(line[:80].decode('utf-8', 'replace'))!r}; export it again with both"
        )
    single = [f"D{k}" for k in range(8) if f"D{k}" in names]
    return [_TIME, _CURRENT, *([_LEVELS] if _LEVELS in names else single)]


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    types = {name: pa.float64() if name in (_TIME, _CURRENT) else pa.string() for name in columns}
    try:
        with pa_csv.open_csv(
            path,
            read_options=pa_csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pa_csv.ParseOptions(quote_char=False),
            convert_options=pa_csv.ConvertOptions(
                column_types=types, include_columns=columns, null_values=[], strings_can_be_null=False
            ),
        ) as reader:
            yield from (batch for batch in reader if len(batch))
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path}: {printable(str(error))[:200]}") from error


def _numbers(batch: pa.RecordBatch, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = batch.column(name).to_numpy(zero_copy_only=False)
    return values


def _grid_hz(path: Path, times_ms: NDArray[np.float64]) -> float:
    """Return the rate by the first time stamps; a whole number of hertz, if it is one but for rounding."""
    with np.errstate(invalid="ignore", over="ignore"):
        period_ms = float(np.median(np.diff(times_ms)))
    if not 999 / _MOST_HZ <= period_ms < _MOST_GAP_S * 1000:
        raise UsageError(f"{path}: its time stamps are {period_ms:g} ms apart; a PPK2's are at least 0.01 ms")
    rate_hz = 1000 / period_ms
    return float(round(rate_hz)) if abs(rate_hz - round(rate_hz)) < 1e-3 * rate_hz else rate_hz


def _rows(path: Path, rate_hz: float, columns: list[str], zero_ms: float) -> Iterator[Chunk]:
    """Yield the samples, and for those that have no line lost ones."""
    n_rows, n = 0, 0  # lines and samples so far
    for batch in _batches(path, columns):
        line = 2 + n_rows
        with np.errstate(invalid="ignore", over="ignore"):
            at = (_numbers(batch, _TIME) - zero_ms) * rate_hz / 1000
            numbers = np.rint(at)
            gaps = np.diff(numbers, prepend=n - 1) - 1
            wrong = ~((abs(at - numbers) <= _OFF_GRID) & (gaps >= 0) & (gaps <= _MOST_GAP_S * rate_hz))
        if wrong.any():
            raise UsageError(
                f"{path}, line {line + int(wrong.argmax())}: its time stamp is no multiple of {1000 / rate_hz:g} ms "
                f"behind the one before, or more than {_MOST_GAP_S:g} s; export a recording that goes through"
            )
        current_ua = _numbers(batch, _CURRENT)
        if np.isinf(current_ua).any():
            raise UsageError(f"{path}, line {line + int(np.isinf(current_ua).argmax())}: an infinite current")
        levels = _levels(path, batch, columns[2:], line)
        wide = np.flatnonzero(gaps > _SHORT_GAP).tolist()
        for begin, end in pairwise(sorted({0, *wide, len(gaps)})):
            for lost in _lost(n, int(numbers[begin]) - n):
                yield lost
                n += len(lost)
            yield _filled(n, numbers[begin:end], current_ua[begin:end], levels[begin:end])
            n = int(numbers[end - 1]) + 1
        n_rows += len(batch)


def _filled(
    first: int, numbers: NDArray[np.float64], current_ua: NDArray[np.float64], levels: NDArray[np.uint8]
) -> Chunk:
    """Return rows as a chunk, with lost samples where numbers are missing; these keep the level before them."""
    at = numbers.astype(np.int64) - first
    current = np.full(int(at[-1]) + 1, np.nan, np.float32)
    current[at] = current_ua * _A_PER_UA
    digital = np.repeat(levels, np.diff(at, append=len(current)))
    return Chunk(first, current, digital, np.isnan(current) * np.uint8(Flag.LOST))


def _lost(first: int, n: int) -> Iterator[Chunk]:
    while n:
        piece = min(n, _PIECE)
        yield Chunk(
            first,
            np.full(piece, np.nan, np.float32),
            np.zeros(piece, np.uint8),
            np.full(piece, Flag.LOST, np.uint8),
        )
        first, n = first + piece, n - piece


def _levels(path: Path, batch: pa.RecordBatch, columns: list[str], line: int) -> NDArray[np.uint8]:
    """Return (n,): the levels of the inputs."""
    levels = np.zeros(len(batch), np.uint8)
    for name in columns:
        width, shift = (8, 0) if name == _LEVELS else (1, int(name[1:]))
        letters, lengths = _letters(batch.column(name))
        if (lengths != width).any():
            where = line + int((lengths != width).argmax())
            raise UsageError(f"{path}, line {where}: column {name} has not {width} characters")
        letters = letters.reshape(-1, width)
        known = np.isin(letters, list(b"01X-"))
        if not known.all():
            where = line + int((~known).any(1).argmax())
            raise UsageError(f"{path}, line {where}: column {name} has other characters than 0, 1, X and -")
        high = (letters == ord("1")) | (letters == ord("X"))
        levels |= np.packbits(high, axis=1, bitorder="little").reshape(-1) << np.uint8(shift)
    return levels


def _letters(texts: Any) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return the bytes of an Arrow column of n strings, one behind the other, and (n,) how many each has."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset :][: len(texts) + 1]
    content = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return content[ends[0] : ends[-1]], np.diff(ends)
