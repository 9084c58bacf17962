"""An excerpt as the bytes of a trace file (trace.py): `trace.parquet` of a run's folder."""

import tempfile
from pathlib import Path

import numpy as np

from fqtbench.errors import ResultError, UsageError
from fqtbench.power import trace
from fqtbench.power.excerpt import MAX_SAMPLES, Excerpt
from fqtbench.power.instrument import Chunk


def to_parquet(excerpt: Excerpt, name: str) -> bytes:
    """Return the file; `name` is what the trace is of."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.parquet"
        with trace.TraceWriter(path, name, excerpt.rate_hz, excerpt.volts) as writer:
            writer.write(Chunk(0, excerpt.current_a, excerpt.digital, excerpt.flags))
        return path.read_bytes()


def read_excerpt(path: Path) -> Excerpt:
    """Return the excerpt that a run's folder has as `path`; ResultError if that is none."""
    try:
        recording = trace.load(path)
        chunks: list[Chunk] = []
        n = 0
        for chunk in recording.chunks:
            chunks.append(chunk)
            n += len(chunk)
            if n > MAX_SAMPLES:
                raise UsageError(f"trace {path}: more than {MAX_SAMPLES} samples")
    except UsageError as error:
        raise ResultError(f"{path.parent}: a recorded file is unreadable: {error}") from error
    if not chunks or recording.volts is None:
        raise ResultError(f"{path}: no trace of a run; restore it from a copy")
    return Excerpt(
        recording.rate_hz,
        recording.volts,
        np.concatenate([chunk.current_a for chunk in chunks]),
        np.concatenate([chunk.digital for chunk in chunks]),
        np.concatenate([chunk.flags for chunk in chunks]),
    )
