"""An hour of samples, 100 000 a second, written to a trace and read back: ``python -m benchmarks.trace_hour``.

Each half is done by a process of its own, which says how much memory it had at most. What is read back is cut into
windows, as a run's trace is, and must be what was written.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.promise import Promise, keep

_RATE_HZ: Final = 100_000
_SAMPLES: Final = 3600 * _RATE_HZ
_CHUNK: Final = 10_000  # what a driver reads at once, roughly
_HIGH: Final = 100  # samples of a window
_PERIOD: Final = _HIGH + 5  # then low ones, the shortest gap that the firmware leaves
_MOST_MB: Final = 200
_DEADLINE_S: Final = 3600
_KIB: Final = 1024


def _write(path: Path) -> dict[str, Any]:
    import numpy as np  # noqa: PLC0415  (the parent's memory would count as its children's)

    from fqtbench.power.instrument import Chunk  # noqa: PLC0415
    from fqtbench.power.trace import TraceWriter  # noqa: PLC0415

    random = np.random.default_rng(8)
    noise = random.normal(0, 20e-6, 1 << 20).astype(np.float32)
    digital = np.tile((np.arange(_PERIOD) < _HIGH).astype(np.uint8), _CHUNK // _PERIOD + 2)
    flags = np.zeros(_CHUNK, np.uint8)
    total_a = 0.0
    with TraceWriter(path, "an hour", _RATE_HZ, 3.0) as trace:
        for first in range(0, _SAMPLES, _CHUNK):
            begin = int(random.integers(len(noise) - _CHUNK))
            levels = digital[first % _PERIOD :][:_CHUNK]
            current_a = noise[begin : begin + _CHUNK] + np.float32(2e-3) + levels * np.float32(5e-3)
            total_a += float(current_a.sum(dtype=np.float64))
            trace.write(Chunk(first, current_a, levels, flags))
    return {"samples": _SAMPLES, "total_a": total_a}


def _read(path: Path) -> dict[str, Any]:
    import numpy as np  # noqa: PLC0415

    from fqtbench.power.trace import load  # noqa: PLC0415
    from fqtbench.power.windows import WindowCutter  # noqa: PLC0415

    recording = load(path)
    cutter = WindowCutter(recording.rate_hz, recording.volts)
    n_windows, total_a = 0, 0.0
    for chunk in recording.chunks:
        n_windows += len(cutter.feed(chunk))
        total_a += float(chunk.current_a.sum(dtype=np.float64))
    return {"samples": cutter.n_samples, "total_a": total_a, "windows": n_windows}


def _child(what: str, path: Path) -> None:
    began_s = time.monotonic()
    result = _write(path) if what == "write" else _read(path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else _KIB)
    print(json.dumps({**result, "peak_mb": peak / 1e6, "seconds": time.monotonic() - began_s}))


def _measured(what: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.trace_hour", what, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=_DEADLINE_S)
    result: dict[str, Any] = json.loads(done.stdout)
    print(f"{what}: {result['seconds']:.0f} s, at most {result['peak_mb']:.0f} MB", flush=True)
    return result


def main() -> None:
    """Write the hour, read it, keep the promise."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hour.parquet"
        wrote, read = _measured("write", path), _measured("read", path)
        print(f"file: {path.stat().st_size / 1e6:.0f} MB", flush=True)
    same = wrote["samples"] == read["samples"] == _SAMPLES
    same &= abs(wrote["total_a"] - read["total_a"]) <= 1e-9 * wrote["total_a"]
    same &= read["windows"] == len(range(_HIGH, _SAMPLES, _PERIOD))  # as many as falls
    peak_mb = max(wrote["peak_mb"], read["peak_mb"])
    value = f"{peak_mb:.0f} MB" if same else "what was read back is not what was written"
    what = f"an hour of trace, {_SAMPLES / 1e6:.0f} M samples, written, read back and cut into windows: peak memory"
    keep("trace_hour", Promise(8, what, f"≤ {_MOST_MB} MB", value, same and peak_mb <= _MOST_MB,
                               "python -m benchmarks.trace_hour"))  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _child(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
