"""Recordings of Nordic's Power Profiler app in its own format, ``.ppk2``.

It is (format version 2; README and src of github.com/NordicSemiconductor/pc-nrfconnect-ppk) a zip file of three:
`metadata.json` with `metadata.samplesPerSecond`; `session.raw` with, for each sample, a little-endian float32, the
current in µA or NaN where the sample was lost, and a big-endian uint16, two bits for each digital input: 1 it was low,
2 high, 3 both within the sample's time, 0 unknown; and `minimap.raw`, which isn't needed.

An input that was high for a part of a sample counts as high, an unknown one as low. The app has replaced samples at
range switches by its spike filter; the file doesn't say where, nor at which supply it was recorded.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from fqtbench.errors import UsageError
from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.recording import Recording
from fqtbench.printable import printable

_A_PER_UA: Final = 1e-6
_MOST_HZ: Final = 100_000
_SAMPLE: Final = np.dtype([("current_ua", "<f4"), ("bits", ">u2")])
_MOST_SECONDS: Final = 24 * 3600
_MOST_METADATA_BYTES: Final = 1 << 16
_PIECE: Final = 1 << 17  # samples
_BROKEN_ZIP: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,  # encrypted
    NotImplementedError,  # compressed in an unknown way
    ValueError,
)


def read_ppk2(path: Path) -> Recording:
    """Open a ``.ppk2`` file; UsageError if it is none, or longer than a day."""
    try:
        with zipfile.ZipFile(path) as archive:
            rate_hz = _rate_of(path, archive)
            n_bytes = _member(path, archive, "session.raw").file_size
    except _BROKEN_ZIP as error:
        raise UsageError(f"{path}: can't be read as a .ppk2 file ({printable(str(error))})") from error
    n, rest = divmod(n_bytes, _SAMPLE.itemsize)
    if rest:
        raise UsageError(f"{path}: its session.raw has {n_bytes} bytes, no multiple of {_SAMPLE.itemsize}")
    if n > _MOST_SECONDS * rate_hz:
        raise UsageError(f"{path}: claims to be a recording of more than a day, so it isn't read")
    return Recording(str(path), rate_hz, None, _session(path))


def _rate_of(path: Path, archive: zipfile.ZipFile) -> float:
    info = _member(path, archive, "metadata.json")
    if info.file_size > _MOST_METADATA_BYTES:
        raise UsageError(f"{path}: its metadata.json is longer than {_MOST_METADATA_BYTES} bytes")
    try:
        metadata = json.loads(archive.read(info))
        version, rate = metadata.get("formatVersion", 2), metadata["metadata"]["samplesPerSecond"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path}: its metadata.json says no metadata.samplesPerSecond") from error
    if version != 2:
        raise UsageError(f"{path}: has format version {printable(str(version))[:20]}, only 2 is known")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= _MOST_HZ:
        raise UsageError(f"{path}: {printable(str(rate))[:20]} samples per second, which no PPK2 takes")
    return float(rate)


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    found = [info for info in archive.infolist() if info.filename == name]
    if len(found) != 1:
        raise UsageError(
            f"{path}: has {len(found)} files {name}, a .ppk2 has one; was it saved by the Power Profiler?"
        )
    return found[0]


def _session(path: Path) -> Iterator[Chunk]:
    high = _high_bits()
    first = 0
    try:
        with zipfile.ZipFile(path) as archive, archive.open("session.raw") as file:
            while piece := _piece(file):
                samples = np.frombuffer(piece, _SAMPLE)
                chunk = _chunk(first, samples["current_ua"].astype(np.float64), high[samples["bits"]])
                if np.isinf(chunk.current_a).any():
                    raise UsageError(
                        f"{path}: an infinite current within samples {first} to {first + len(chunk)}"
                    )
                yield chunk
                first += len(chunk)
    except _BROKEN_ZIP as error:
        raise UsageError(f"{path}: broken behind sample {first} ({printable(str(error))})") from error


def _piece(file: IO[bytes]) -> bytes:
    """Read a piece of whole samples; a zip member may give less than it is asked for."""
    piece = b""
    while len(piece) < _PIECE * _SAMPLE.itemsize:
        more = file.read(_PIECE * _SAMPLE.itemsize - len(piece))
        if not more:
            break
        piece += more
    return piece


def _high_bits() -> NDArray[np.uint8]:
    """Return (65536,): the levels of eight inputs by their sixteen bits."""
    pairs = np.arange(1 << 16)
    return sum((pairs >> 2 * k + 1 & 1) << k for k in range(8)).astype(np.uint8)  # type: ignore[union-attr]


def _chunk(first: int, current_ua: NDArray[np.float64], digital: NDArray[np.uint8]) -> Chunk:
    flags = np.isnan(current_ua) * np.uint8(Flag.LOST)
    return Chunk(first, (current_ua * _A_PER_UA).astype(np.float32), digital, flags)
