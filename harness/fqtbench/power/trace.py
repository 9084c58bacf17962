"""A trace on disk: Parquet, written and read by pieces, so that an hour of it needs no more memory than seconds.

The file has a row for each sample, lost ones included, in row groups of `GROUP_SAMPLES`; columns `current_a` (float32,
A, NaN where lost), `digital` (uint8, bit i = input i), `flags` (uint8, `Flag`), and `volts` (float32, V) where the
instrument measured it along. The key `fqtbench.trace` of the file's metadata is JSON: `version`, `name`, `rate_hz`,
`volts`.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fqtbench.errors import UsageError
from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.recording import Recording

VERSION: Final = 1
GROUP_SAMPLES: Final = 1 << 18  # 1.5 MB in memory
_KEY: Final = b"fqtbench.trace"
_MAX_GROUP_SAMPLES: Final = 1 << 22  # what another program may have written in one row group
_MAX_HEADER_BYTES: Final = 1 << 16
_MAX_SCHEMA_BYTES: Final = 1 << 26  # of the file's own directory: an hour's has 1 MB
_MAX_RATE_HZ: Final = 1e8
_MAX_VOLTS: Final = 100.0
_ALL_FLAGS: Final = int(np.bitwise_or.reduce([flag.value for flag in Flag]))
_TYPES: Final = {"current_a": np.float32, "digital": np.uint8, "flags": np.uint8, "volts": np.float32}


class TraceWriter:
    """A trace under way. As a context it is there whole in the end; after an exception it isn't there at all.

    `volts`: the supply in V if it is one for all samples. Whether `Chunk.volts` is kept is decided by the first chunk.

    Raises (every method): OSError.
    """

    def __init__(self, path: Path, name: str, rate_hz: float, volts: float | None) -> None:
        self._path, self._temporary = path, path.with_name(f"{path.name}.tmp")
        self._header = {"version": VERSION, "name": name, "rate_hz": rate_hz, "volts": volts}
        self._writer: Any = None
        self._waiting: list[Chunk] = []
        self._n_waiting = self._n = 0
        self._with_volts = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def write(self, chunk: Chunk) -> None:
        """Take the next samples; ValueError if they are not the next."""
        if chunk.first != self._n:
            raise ValueError(f"samples from {chunk.first} on, after {self._n}")
        if self._n == 0:
            self._with_volts = chunk.volts is not None
        self._waiting.append(chunk)
        self._n += len(chunk)
        self._n_waiting += len(chunk)
        if self._n_waiting >= GROUP_SAMPLES:
            self._flush(final=False)

    def close(self) -> None:
        """Write what waits and give the file its name."""
        self._flush(final=True)
        self._writer.close()
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Leave no file."""
        if self._writer is not None:
            self._writer.close()
        self._temporary.unlink(missing_ok=True)

    def _flush(self, final: bool) -> None:
        """Write whole row groups; with `final` also the samples that are left."""
        table = pa.table([self._column(name) for name in self._names()], self._schema())
        writer = self._open(table.schema)
        n = len(table) if final else len(table) - len(table) % GROUP_SAMPLES
        for begin in range(0, n, GROUP_SAMPLES):
            writer.write_table(table.slice(begin, min(GROUP_SAMPLES, n - begin)))
        rest = table.slice(n)
        self._n_waiting = len(rest)
        self._waiting = [_chunk(self._n - len(rest), rest)] if len(rest) else []

    def _names(self) -> list[str]:
        return list(_TYPES) if self._with_volts else list(_TYPES)[:-1]

    def _column(self, name: str) -> NDArray[Any]:
        values = [np.asarray(getattr(chunk, name), _TYPES[name]) for chunk in self._waiting]
        return np.concatenate([np.empty(0, _TYPES[name]), *values])

    def _schema(self) -> Any:
        fields = [pa.field(name, pa.from_numpy_dtype(_TYPES[name]), nullable=False) for name in self._names()]
        return pa.schema(fields, {_KEY: json.dumps(self._header).encode()})

    def _open(self, schema: Any) -> Any:
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._temporary,
                schema,
                compression="zstd",
                use_dictionary=["digital", "flags"],
                # bytes of equal weight side by side: a noisy current's lowest ones don't hide the others from zstd
                use_byte_stream_split=[name for name in self._names() if _TYPES[name] is np.float32],
                write_statistics=False,
            )
        return self._writer


def load(path: Path) -> Recording:
    """Open a trace that `TraceWriter` wrote; its chunks are read as they are asked for, a row group at a time.

    Raises UsageError, also from the chunks, if the file is missing, no such trace, or damaged.
    """
    try:
        file = pq.ParquetFile(
            path, thrift_string_size_limit=_MAX_SCHEMA_BYTES, thrift_container_size_limit=_MAX_SCHEMA_BYTES
        )
    except (OSError, pa.ArrowException) as error:
        _refuse(path, f"can't be read ({_first_line(error)})")
    try:
        header = _header(path, file.schema_arrow.metadata or {})
        _check_layout(path, file)
    except UsageError:
        file.close()
        raise
    return Recording(header["name"], header["rate_hz"], header["volts"], _chunks(path, file))


def _header(path: Path, metadata: dict[bytes, bytes]) -> dict[str, Any]:
    text = metadata.get(_KEY)
    if text is None or len(text) > _MAX_HEADER_BYTES:
        _refuse(path, "it is Parquet, but not a trace of fqtbench's")
    try:
        header = json.loads(text)
        version, name = header["version"], header["name"]
        rate_hz, volts = float(header["rate_hz"]), header["volts"]
        volts = None if volts is None else float(volts)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        _refuse(path, "its header is damaged")
    if version != VERSION:
        _refuse(path, f"it has version {version!r:.20} of the format, this fqtbench reads {VERSION}")
    if not isinstance(name, str) or not 0 < rate_hz <= _MAX_RATE_HZ:
        _refuse(path, "its header says no name, or no possible rate")
    if volts is not None and not 0 < volts <= _MAX_VOLTS:
        _refuse(path, f"its header says a supply of {volts:g} V")
    return {"name": name, "rate_hz": rate_hz, "volts": volts}


def _check_layout(path: Path, file: Any) -> None:
    found = {field.name: field.type for field in file.schema_arrow}
    wanted = {
        name: pa.from_numpy_dtype(kind) for name, kind in _TYPES.items() if name in found or name != "volts"
    }
    if found != wanted:
        _refuse(path, f"its columns are not {', '.join(wanted)}")
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        row_bytes = sum(np.dtype(_TYPES[name]).itemsize for name in found)
        # an encoding may cost a little more than the plain values
        if group.num_rows > _MAX_GROUP_SAMPLES or group.total_byte_size > 2 * row_bytes * _MAX_GROUP_SAMPLES:
            _refuse(path, f"its row group {number} is larger than {_MAX_GROUP_SAMPLES} samples")


def _chunks(path: Path, file: Any) -> Iterator[Chunk]:
    first = 0
    with file:
        for number in range(file.metadata.num_row_groups):
            try:
                table = file.read_row_group(number, use_threads=False)
            except (OSError, pa.ArrowException) as error:
                _refuse(path, f"its row group {number} is damaged ({_first_line(error)})")
            if any(column.null_count for column in table.columns):
                _refuse(path, f"its row group {number} has samples without a value")
            chunk = _chunk(first, table)
            if (chunk.flags & ~np.uint8(_ALL_FLAGS)).any():
                _refuse(path, f"its row group {number} has flags that this fqtbench doesn't know")
            if len(chunk):
                yield _with_losses_flagged(chunk)
            first += len(chunk)


def _chunk(first: int, table: Any) -> Chunk:
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    return Chunk(first, columns["current_a"], columns["digital"], columns["flags"], columns.get("volts"))


def _with_losses_flagged(chunk: Chunk) -> Chunk:
    """See to it that no value that is none goes unnoticed, whoever wrote the file."""
    lost = ~np.isfinite(chunk.current_a)
    if chunk.volts is not None:
        lost |= ~np.isfinite(chunk.volts)
    if not lost.any():
        return chunk
    flags = chunk.flags | np.where(lost, np.uint8(Flag.LOST), np.uint8(0))
    return Chunk(
        chunk.first, np.where(lost, np.float32(math.nan), chunk.current_a), chunk.digital, flags, chunk.volts
    )


def _refuse(path: Path, why: str) -> NoReturn:
    raise UsageError(f"trace {path}: {why}; give a file that `fqtbench power --save` or a run wrote, whole")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
