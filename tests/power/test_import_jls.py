"""Promise: a recording that the Joulescope's own library wrote is read as it was written."""

import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fqtbench.errors import UsageError
from fqtbench.power.import_jls import read_jls
from fqtbench.power.instrument import Chunk, Flag

pyjls = pytest.importorskip("pyjls")
RATE_HZ = 200_000
N = 300_000
CURRENT_A = (np.arange(N) % 5000 * 1e-6).astype(np.float32)
LEVEL = (np.arange(N) // 700 % 2).astype(np.uint8)


def write(path: Path, signals: dict[str, tuple[Any, str, int, NDArray[Any]]], first: int = 0) -> None:
    """Write signals: their type, unit, rate, samples; a packed one as it is."""
    writer = pyjls.Writer(str(path))
    writer.source_def(
        source_id=1, name="JS220-1", vendor="Jetperch", model="JS220", version="", serial_number="1"
    )
    for number, (name, (kind, unit, rate_hz, data)) in enumerate(signals.items(), 1):
        writer.signal_def(
            signal_id=number,
            source_id=1,
            signal_type=pyjls.SignalType.FSR,
            data_type=kind,
            sample_rate=rate_hz,
            name=name,
            units=unit,
        )
        writer.fsr(number, first, data)
    writer.close()


def written(path: Path, current_a: NDArray[np.float32] = CURRENT_A) -> Path:
    """Write a recording as the Joulescope UI does."""
    write(
        path,
        {
            "current": (pyjls.DataType.F32, "A", RATE_HZ, current_a),
            "voltage": (pyjls.DataType.F32, "V", RATE_HZ, np.full(N, 3.25, dtype=np.float32)),
            "gpi[0]": (pyjls.DataType.U1, "", RATE_HZ, np.packbits(LEVEL, bitorder="little")),
        },
    )
    return path


def join(chunks: Sequence[Chunk]) -> Chunk:
    """Return chunks as one, having looked that they follow each other."""
    assert [chunk.first for chunk in chunks] == np.cumsum([0, *map(len, chunks)])[:-1].tolist()
    volts = [chunk.volts for chunk in chunks if chunk.volts is not None]
    return Chunk(
        0,
        np.concatenate([chunk.current_a for chunk in chunks]),
        np.concatenate([chunk.digital for chunk in chunks]),
        np.concatenate([chunk.flags for chunk in chunks]),
        np.concatenate(volts) if volts else None,
    )


def test_samples_voltage_and_trigger_are_read_and_what_was_lost_is_marked(tmp_path: Path) -> None:
    current_a = CURRENT_A.copy()
    current_a[1234:1300] = np.nan
    recording = read_jls(written(tmp_path / "a.jls", current_a))
    assert recording.rate_hz == RATE_HZ and recording.volts is None
    whole = join(list(recording.chunks))
    np.testing.assert_array_equal(whole.current_a, current_a)
    np.testing.assert_array_equal(whole.digital, LEVEL)
    np.testing.assert_array_equal(whole.flags, np.isnan(current_a) * int(Flag.LOST))
    assert whole.volts is not None and (whole.volts == 3.25).all()


def test_a_lower_rate_is_the_mean_and_one_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jls")
    whole = join(list(read_jls(path, 50_000).chunks))
    np.testing.assert_allclose(whole.current_a, CURRENT_A.reshape(-1, 4).mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(whole.digital, LEVEL[::4])
    with pytest.raises(UsageError, match="can't be made of that"):
        list(read_jls(path, 30_000).chunks)


def test_signals_of_different_rates_and_a_file_with_the_current_alone(tmp_path: Path) -> None:
    current = (pyjls.DataType.F32, "A", RATE_HZ, CURRENT_A)
    packed = np.packbits(LEVEL.repeat(2), bitorder="little")
    write(tmp_path / "a.jls", {"current": current, "gpi[0]": (pyjls.DataType.U1, "", 2 * RATE_HZ, packed)})
    whole = join(list(read_jls(tmp_path / "a.jls").chunks))
    np.testing.assert_array_equal(whole.current_a, CURRENT_A)
    np.testing.assert_array_equal(whole.digital, LEVEL)
    write(tmp_path / "b.jls", {"current": current}, first=1_000_003)
    whole = join(list(read_jls(tmp_path / "b.jls").chunks))
    np.testing.assert_array_equal(whole.current_a, CURRENT_A)
    assert whole.volts is None and not whole.digital.any() and not whole.flags.any()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    recording = read_jls(written(tmp_path / "a.jls"))
    tracemalloc.start()
    try:
        assert sum(len(chunk) for chunk in recording.chunks) == N
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < N * 4, peak_bytes  # less than the current alone


def test_what_is_no_recording_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"no\.jls: there is no such file"):
        read_jls(tmp_path / "no.jls")
    (tmp_path / "text.jls").write_text("current,1\n" * 100)
    with pytest.raises(UsageError, match=r"text\.jls: not a Joulescope recording"):
        read_jls(tmp_path / "text.jls")
    voltage = (pyjls.DataType.F32, "V", RATE_HZ, CURRENT_A)
    write(tmp_path / "v.jls", {"voltage": voltage})
    with pytest.raises(UsageError, match=r"no signal `current` in it, only: .*voltage"):
        read_jls(tmp_path / "v.jls")
    monkeypatch.setitem(sys.modules, "pyjls", None)
    with pytest.raises(UsageError, match=r"pip install 'fqtbench\[joulescope\]'"):
        read_jls(tmp_path / "v.jls")
