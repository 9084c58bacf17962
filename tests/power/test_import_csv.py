"""Promise: a table with time, current and units is read by its header alone, in bounded memory, gaps as losses."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fqtbench.errors import UsageError
from fqtbench.power.import_csv import read_csv
from fqtbench.power.instrument import Flag
from tests.power.test_import_jls import join


def table(path: Path, text: str) -> Path:
    """Write a file."""
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "Timestamp(ms),Current(uA)\n0.00,1000\n0.25,2000\n0.50,3000\n"),
        ("b.csv", '"Time [s]";"I; current [mA]"\n'.replace("I; ", "") + "0,0;1,0\n0,00025;2,0\n0,0005;3,0\n"),
        ("c.csv", "time_us\tcurrent_nA\n100\t1000000\n350\t2000000\n600\t3000000"),
        (
            "d.csv",
            "\ufeffTimestamp (s),Arc Main Current (A),Arc Main Energy (J)\n1.0,1e-3,7\n1.00025,2e-3,7\n1.0005,3e-3,\n",
        ),
        ("Main current - Arc.csv", "Timestamp,Value\n0,0.001\n0.00025,0.002\n0.0005,0.003\n"),
        ("e.csv", "Time (µs),Current (μA)\r\n0,1000\r\n250,2000\r\n500,3000\r\n\r\n"),
    ],
)
def test_units_separators_and_decimals_are_known(tmp_path: Path, name: str, text: str) -> None:
    recording = read_csv(table(tmp_path / name, text))
    assert recording.rate_hz == 4000
    whole = join(list(recording.chunks))
    np.testing.assert_allclose(whole.current_a, [1e-3, 2e-3, 3e-3], rtol=1e-6)
    assert whole.volts is None and not whole.flags.any() and not whole.digital.any()


def test_voltage_inputs_gaps_and_empty_cells(tmp_path: Path) -> None:
    rows = ["0,3000,1,0,1", "1,3000,2,1,1", "2,3100,3,1,0", "4,3100,,0,0", "5,3000,5,1,1"]
    text = "\n".join(["time (ms),main voltage (mV),current (mA),D0,GPI1", *rows])
    whole = join(list(read_csv(table(tmp_path / "a.csv", text)).chunks))
    np.testing.assert_allclose(whole.current_a, [1e-3, 2e-3, 3e-3, np.nan, np.nan, 5e-3], rtol=1e-6)
    assert whole.flags.tolist() == [0, 0, 0, Flag.LOST, Flag.LOST, 0]
    assert whole.digital.tolist() == [2, 3, 1, 0, 0, 3]
    assert whole.volts is not None
    np.testing.assert_allclose(whole.volts[[0, 2, 5]], [3.0, 3.1, 3.0])


@given(gaps=st.lists(st.integers(1, 400_000), max_size=4), n=st.integers(2, 3000))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_samples_keep_their_numbers_over_any_gaps(tmp_path: Path, gaps: list[int], n: int) -> None:
    numbers = np.arange(n)
    for place, gap in enumerate(gaps):
        numbers[(place + 2) * n // 6 + 2 :] += gap  # behind the first rows, which tell the rate
    rows = "".join(f"{number / 100_000:.5f},{number % 997}\n" for number in numbers)
    recording = read_csv(table(tmp_path / "a.csv", "t time (s),current (uA)\n" + rows), None)
    whole = join(list(recording.chunks))
    assert recording.rate_hz == 100_000 and len(whole) == numbers[-1] + 1
    np.testing.assert_allclose(whole.current_a[numbers], numbers % 997 * 1e-6, rtol=1e-6)
    assert np.count_nonzero(whole.flags) == len(whole) - n


def test_a_long_table_takes_little_memory(tmp_path: Path) -> None:
    n = 400_000
    path = tmp_path / "a.csv"
    with path.open("w") as file:
        file.write("Timestamp(ms),Current(uA)\n")
        file.writelines(f"{number / 100:.2f},1234.5\n" for number in range(n))
    tracemalloc.start()
    try:
        assert sum(len(chunk) for chunk in read_csv(path).chunks) == n
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 16 << 20, peak_bytes  # a megabyte of text makes some five of numbers


def test_times_too_coarse_to_tell_the_rate_are_not_needed(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "time (ms),current (A)\n" + "0,1\n" * 3 + "1,1\n" * 4)
    with pytest.raises(UsageError, match="if they are only too coarse, say the rate"):
        read_csv(path)
    recording = read_csv(path, 4000)
    assert recording.rate_hz == 4000 and len(join(list(recording.chunks))) == 7


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "its first line does not end"),
        ("x" * 20_000 + "\n", "its first line does not end"),
        ("time (s),current\n0,1\n", "no column is a current with its unit"),
        ("current (A),volts (V)\n0,1\n", "no column is a time with its unit"),
        ("time (s),current (A),current (mA)\n0,1,2\n", "are both a current"),
        ("time (s),current (A)\n0,1\n", "fewer than two samples"),
        ("time (s),current (A)\n0,1\n1,2\n2,x\n", "no row of numbers under its header, from row 2 on"),
        ("time (s),current (A)\n0,1\n1,2\n2,3\n3.5,3\n", "the time of row 5 is no whole number of samples"),
        ("time (s),current (A)\n0,1\n1,2\n2,2\n1,3\n", "the time of row 5"),
        ("time (s),current (A)\n0,1\n1,2\n2,2\nnan,3\n", "its times do not grow"),
        ("time (s),current (A)\n0,1\n1,2\n2,2\n1e9,3\n", "the time of row 5"),
        ("time (s),current (A)\n0,1\n1,2\n2,3,4\n", "from row 2 on"),
        ("time (s),current (A)\n" + "1" * (3 << 20), "row 2 does not end"),
        ("time (s),current (A)," + ",".join(f"D{i}" for i in range(9)) + "\n0,1\n", "9 inputs"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(UsageError, match=rf"a\.csv: .*{why}"):
        list(read_csv(table(tmp_path / "a.csv", text)).chunks)
    with pytest.raises(UsageError, match="can't be read: No such file"):
        read_csv(tmp_path / "none.csv")
