"""Promise: a trace on disk is what was measured, needs little memory however long it is, and a bad file is refused."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fqtbench.errors import UsageError
from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.trace import GROUP_SAMPLES, TraceWriter, load

MB = 1_000_000


def chunk(first: int, n: int, seed: int = 0, volts: bool = False) -> Chunk:
    rng = np.random.default_rng([seed, first])
    flags = rng.choice(np.array([0, 0, 0, Flag.RANGE_SWITCH, Flag.LOST], np.uint8), n)
    current = np.where(flags & Flag.LOST, np.float32(np.nan), rng.random(n, np.float32))
    digital = rng.integers(0, 256, n, np.uint8)
    return Chunk(first, current, digital, flags, rng.random(n, np.float32) + 3 if volts else None)


def joined(chunks: Iterator[Chunk] | list[Chunk]) -> list[bytes]:
    """Return the columns of all chunks, having checked that these follow each other."""
    columns: list[list[bytes]] = [[], [], [], []]
    n = 0
    for one in chunks:
        assert one.first == n
        n += len(one)
        volts = one.volts.tobytes() if one.volts is not None else b""
        for column, data in zip(
            columns, (one.current_a.tobytes(), one.digital.tobytes(), one.flags.tobytes(), volts), strict=True
        ):
            column.append(data)
    return [b"".join(column) for column in columns]


@given(st.lists(st.integers(0, 3000), max_size=6), st.booleans(), st.sampled_from([None, 1.8]))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read(
    tmp_path: Path, lengths: list[int], with_volts: bool, volts: float | None
) -> None:
    path = tmp_path / "a.parquet"
    firsts = np.cumsum([0, *lengths])
    chunks = [chunk(int(first), n, 1, with_volts) for first, n in zip(firsts, lengths, strict=False)]
    with TraceWriter(path, "PPK2 ☃", 1e5, volts) as trace:
        for one in chunks:
            trace.write(one)
    recording = load(path)
    assert (recording.name, recording.rate_hz, recording.volts) == ("PPK2 ☃", 1e5, volts)
    assert joined(recording.chunks) == joined(chunks)
    assert list(tmp_path.iterdir()) == [path]


def test_five_million_samples_take_the_memory_of_a_few_row_groups(tmp_path: Path) -> None:
    """Of Python's and NumPy's own, by tracemalloc, and of Arrow's pool; `benchmarks.trace_hour` does it for an hour."""
    n, piece = 5_000_000, 50_000
    path = tmp_path / "a.parquet"
    base, tracemalloc_peak = pa.total_allocated_bytes(), 0
    tracemalloc.start()
    try:
        with TraceWriter(path, "long", 1e5, 3.0) as trace:
            for first in range(0, n, piece):
                trace.write(chunk(first, piece))
        seen = 0
        for one in load(path).chunks:
            assert pa.total_allocated_bytes() - base < 16 * MB
            for begin in range(0, len(one), GROUP_SAMPLES):
                assert len(one.current_a[begin:]) > 0
            seen += len(one)
        tracemalloc_peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == n
    assert tracemalloc_peak < 16 * MB  # all of it would be 30
    recording, firsts = load(path), range(0, n, piece)
    written = np.concatenate([chunk(first, piece).current_a for first in firsts])
    read = np.concatenate([one.current_a for one in recording.chunks])
    assert written.tobytes() == read.tobytes()


def test_a_trace_that_ends_in_an_error_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyError), TraceWriter(tmp_path / "a.parquet", "x", 1.0, None) as trace:
        trace.write(chunk(0, GROUP_SAMPLES + 1))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_samples_that_are_not_the_next_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="from 3 on, after 0"):
        TraceWriter(tmp_path / "a.parquet", "x", 1.0, None).write(chunk(3, 1))


GOOD = {"version": 1, "name": "x", "rate_hz": 1e5, "volts": 3.0}


def hostile(path: Path, header: Any, columns: dict[str, Any] | None = None, **options: Any) -> Path:
    """Write a file that `TraceWriter` would not."""
    values = {
        "current_a": pa.array([1.0, 2.0], pa.float32()),
        "digital": pa.array([0, 1], pa.uint8()),
        "flags": pa.array([0, 0], pa.uint8()),
    } | (columns or {})
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    table = pa.table({name: value for name, value in values.items() if value is not None})
    pq.write_table(table.replace_schema_metadata({b"fqtbench.trace": text}), path, **options)
    return path


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"{", "its header is damaged"),
        (b"[" * 50_000, "its header is damaged"),
        (b"[]", "its header is damaged"),
        (b" " * 70_000, "not a trace of fqtbench's"),
        ({**GOOD, "version": 2}, "it has version 2 of the format, this fqtbench reads 1"),
        ({**GOOD, "rate_hz": 0}, "no possible rate"),
        ({**GOOD, "rate_hz": float("nan")}, "no possible rate"),
        ({**GOOD, "rate_hz": 10**400}, "its header is damaged"),
        ({**GOOD, "rate_hz": []}, "its header is damaged"),
        ({**GOOD, "name": 3}, "no name"),
        ({**GOOD, "volts": -1}, "a supply of -1 V"),
    ],
)
def test_a_header_that_can_not_be_is_refused(tmp_path: Path, header: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        load(hostile(tmp_path / "a.parquet", header))


@pytest.mark.parametrize(
    "columns",
    [
        {"current_a": pa.array([1.0, 2.0], pa.float64())},
        {"flags": None},
        {"volts": pa.array(["3", "3"])},
        {"more": pa.array([1, 2])},
    ],
)
def test_other_columns_are_refused(tmp_path: Path, columns: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="its columns are not current_a, digital, flags"):
        load(hostile(tmp_path / "a.parquet", GOOD, columns))


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"digital": pa.array([0, None], pa.uint8())}, "samples without a value"),
        ({"flags": pa.array([0, 128], pa.uint8())}, "flags that this fqtbench doesn't know"),
    ],
)
def test_values_that_can_not_be_are_refused(tmp_path: Path, columns: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        list(load(hostile(tmp_path / "a.parquet", GOOD, columns)).chunks)


def test_a_current_that_is_no_number_is_a_lost_sample_whatever_its_flags_say(tmp_path: Path) -> None:
    path = hostile(
        tmp_path / "a.parquet", GOOD, {"current_a": pa.array([float("inf"), float("nan")], pa.float32())}
    )
    (one,) = load(path).chunks
    assert np.isnan(one.current_a).all()
    assert one.flags.tolist() == [Flag.LOST, Flag.LOST]


def test_a_row_group_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    n = (1 << 22) + 1
    zeros = {"digital": pa.array(np.zeros(n, np.uint8)), "flags": pa.array(np.zeros(n, np.uint8))}
    columns = {"current_a": pa.array(np.zeros(n, np.float32)), **zeros}
    with pytest.raises(UsageError, match="row group 0 is larger than"):
        load(hostile(tmp_path / "a.parquet", GOOD, columns, row_group_size=n))


@given(st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_refused_or_read_as_samples(tmp_path: Path, data: st.DataObject) -> None:
    """Never another error: some damage is only to values, which Parquet does not protect."""
    path = tmp_path / "a.parquet"
    with TraceWriter(path, "x", 1e5, None) as trace:
        trace.write(chunk(0, 500))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        chunks = list(load(path).chunks)
    except UsageError as error:
        assert str(path) in str(error)
    else:
        assert sum(map(len, chunks)) <= 500


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.parquet: can't be read"):
        load(tmp_path / "gone.parquet")
