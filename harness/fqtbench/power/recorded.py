"""An excerpt as the bytes of a Parquet file: `trace.parquet` of a run's folder.

Columns `current_a`, `digital` and `flags`, a row a sample; the file's metadata says how many of them are a second, and
at what supply.
"""

import io
import json
import math
from typing import Final

import numpy as np

from fqtbench.errors import ResultError
from fqtbench.power.excerpt import MAX_SAMPLES, Excerpt

_KEY: Final = b"fqtbench.trace"
_VERSION: Final = 1
_COLUMNS: Final = {"current_a": np.float32, "digital": np.uint8, "flags": np.uint8}


def to_parquet(excerpt: Excerpt, name: str = "") -> bytes:
    """Return the file; `name` is what the trace is of."""
    import pyarrow as pa  # noqa: PLC0415  (a quarter of a second, which a worker without an instrument needs not)
    from pyarrow import parquet  # noqa: PLC0415

    table = pa.table({column: getattr(excerpt, column) for column in _COLUMNS})
    about = {"version": _VERSION, "name": name, "rate_hz": excerpt.rate_hz, "volts": excerpt.volts}
    file = io.BytesIO()
    parquet.write_table(
        table.replace_schema_metadata({_KEY: json.dumps(about).encode()}), file, compression="zstd"
    )
    return file.getvalue()


def from_parquet(data: bytes, what: str) -> Excerpt:
    """Return the excerpt in `data`, which messages call `what`; ResultError if that is none."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    try:
        file = parquet.ParquetFile(pa.BufferReader(data))
        if file.metadata.num_rows > MAX_SAMPLES:
            raise ValueError(f"{file.metadata.num_rows} samples are more than {MAX_SAMPLES}")
        about = json.loads((file.metadata.metadata or {})[_KEY])
        table = file.read(columns=list(_COLUMNS), use_threads=False)
        columns = {name: np.asarray(table[name].to_numpy(), kind) for name, kind in _COLUMNS.items()}
        rate_hz, volts = float(about["rate_hz"]), float(about["volts"])
        if not (math.isfinite(rate_hz) and rate_hz > 0 and math.isfinite(volts) and volts > 0):
            raise ValueError(f"{rate_hz} samples a second at {volts} V")
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise ResultError(
            f"{what}: no trace of a run, or damaged ({error}); restore it from a copy"
        ) from error
    return Excerpt(rate_hz, volts, columns["current_a"], columns["digital"], columns["flags"])
