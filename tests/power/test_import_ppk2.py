"""Recordings of Nordic's Power Profiler app: small files in its published formats, and files that are others."""

import json
import struct
import tempfile
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fqtbench.errors import UsageError
from fqtbench.power.import_ppk2 import read_ppk2
from fqtbench.power.import_ppk2_csv import read_ppk2_csv
from fqtbench.power.recording import Recording
from tests.power.ppk2_stream import Decoded, joined

_UA = 1e-6
_METADATA = json.dumps(
    {"metadata": {"samplesPerSecond": 100_000, "startSystemTime": 1.7e12}, "formatVersion": 2}
)
_LOW = 0x5555  # every input was low


def _read(recording: Recording) -> Decoded:
    return joined(list(recording.chunks))


def _ppk2(path: Path, samples: list[tuple[float, int]], metadata: str = _METADATA, **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        # As the app writes it: DataView.setFloat32(…, true), setUint16(…).
        archive.writestr(
            "session.raw", b"".join(struct.pack("<f", ua) + struct.pack(">H", b) for ua, b in samples)
        )
        archive.writestr("minimap.raw", b"{}")
        archive.writestr("metadata.json", metadata)
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def test_a_ppk2_file(tmp_path: Path) -> None:
    """Currents, inputs with their pairs of bits, and a lost sample."""
    samples = [(1.5, _LOW), (2500.25, _LOW + 1), (float("nan"), 0), (0.0, 0x9555), (7.0, _LOW | 2 << 4)]
    recording = read_ppk2(_ppk2(tmp_path / "a.ppk2", samples))
    assert (recording.rate_hz, recording.volts) == (100_000.0, None)
    got = _read(recording)
    assert got.current_a == pytest.approx(np.array([1.5, 2500.25, np.nan, 0, 7]) * _UA, rel=1e-6, nan_ok=True)
    # The second sample's D0 has the pair 10, the fourth's D7; the last one's D2 has both bits.
    assert got.digital.tolist() == [0, 1, 0, 0x80, 4]
    assert np.flatnonzero(got.flags).tolist() == [2]


def test_a_long_ppk2_file_comes_in_pieces(tmp_path: Path) -> None:
    """A million samples: chunks of bounded size, in a row."""
    raw = np.zeros(1_000_000, np.dtype([("i", "<f4"), ("b", ">u2")]))
    raw["i"], raw["b"] = np.arange(len(raw)), _LOW
    path = tmp_path / "long.ppk2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("session.raw", raw.tobytes())
        archive.writestr("metadata.json", _METADATA)
    chunks = list(read_ppk2(path).chunks)
    assert max(map(len, chunks)) <= 1 << 17
    assert np.allclose(joined(chunks).current_a, np.arange(1_000_000) * _UA, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ("{}", "samplesPerSecond"),
        ("[" * 60_000, "samplesPerSecond"),
        ('{"metadata": {"samplesPerSecond": true}}', "True samples"),
        ('{"metadata": {"samplesPerSecond": 1e9}}', "samples per second"),
        ('{"metadata": {"samplesPerSecond": NaN}}', "samples per second"),
        ('{"metadata": {"samplesPerSecond": 10}, "formatVersion": 3}', "version 3"),
        (" " * 70_000, "longer than"),
    ],
)
def test_other_metadata_are_refused(metadata: str, why: str, tmp_path: Path) -> None:
    """A version that nobody knows is not guessed at."""
    with pytest.raises(UsageError, match=why):
        read_ppk2(_ppk2(tmp_path / "a.ppk2", [(1, _LOW)], metadata))


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    """Samples of more than a day: a member that is far longer than its archive is not unpacked."""
    path = tmp_path / "bomb.ppk2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", '{"metadata": {"samplesPerSecond": 1}}')
        archive.writestr("session.raw", bytes(6 * (24 * 3600 + 1)))
    with pytest.raises(UsageError, match="more than a day"):
        read_ppk2(path)


def test_a_member_that_is_longer_than_it_says(tmp_path: Path) -> None:
    """Its directory lies: the checksum doesn't fit what was announced."""
    path = _ppk2(tmp_path / "lie.ppk2", [(1.0, _LOW)] * 1000)
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("session.raw").file_size
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", size), struct.pack("<I", 600)))
    with pytest.raises(UsageError, match="broken behind sample"):
        _read(read_ppk2(path))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_archives_are_refused(tmp_path: Path) -> None:
    """No zip, a zip of something, two sessions, half a sample."""
    (tmp_path / "no.ppk2").write_bytes(b"PK hello")
    with zipfile.ZipFile(tmp_path / "zip.ppk2", "w") as archive:
        archive.writestr("metadata.json", _METADATA)
    with zipfile.ZipFile(tmp_path / "half.ppk2", "w") as archive:
        archive.writestr("metadata.json", _METADATA)
        archive.writestr("session.raw", b"12345")
    _ppk2(tmp_path / "two.ppk2", [(1, 0)], **{"session.raw": b""})
    for name, why in [
        ("no", "can't be read"),
        ("zip", "0 files"),
        ("half", "5 bytes"),
        ("two", "2 files"),
        ("none", "can't"),
    ]:
        with pytest.raises(UsageError, match=why):
            read_ppk2(tmp_path / f"{name}.ppk2")


def test_an_infinite_current_is_refused(tmp_path: Path) -> None:
    """No energy could be told from it."""
    with pytest.raises(UsageError, match="infinite"):
        _read(read_ppk2(_ppk2(tmp_path / "a.ppk2", [(float("inf"), _LOW)])))


def _csv(folder: Path, *lines: str) -> Path:
    path = folder / "a.csv"
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


_ONE, _EIGHT = "Timestamp(ms),Current(uA),D0-D7", "Timestamp(ms),Current(uA),D0,D1,D2,D3,D4,D5,D6,D7"


@pytest.mark.parametrize(
    ("header", "levels"),
    [
        (_ONE, ["00000000", "1000000X", "--------"]),
        (_EIGHT, ["0,0,0,0,0,0,0,0", "1,0,0,0,0,0,0,X", "-,-,-,-,-,-,-,-"]),
        (
            f"{_ONE},D0,D1,D2,D3,D4,D5,D6,D7",
            ["00000000" + ",0" * 8, "1000000X,1" + ",0" * 6 + ",X", "-" * 8 + ",-" * 8],
        ),
    ],
)
def test_a_csv_export(header: str, levels: list[str], tmp_path: Path) -> None:
    """Each selection of the app's columns for inputs; time stamps as JavaScript writes them."""
    times = ["12.34", "12.35", "12.36"]
    rows = [
        f"{t},{ua},{level}"
        for t, ua, level in zip(times, ["1.500", "-0.250", "3000.125"], levels, strict=True)
    ]
    recording = read_ppk2_csv(_csv(tmp_path, header, *rows))
    assert (recording.rate_hz, recording.volts) == (100_000.0, None)
    got = _read(recording)
    assert got.current_a == pytest.approx(np.array([1.5, -0.25, 3000.125]) * _UA, rel=1e-6)
    assert got.digital.tolist() == [0, 0x81, 0]


def test_a_csv_export_without_inputs_and_with_windows_line_ends(tmp_path: Path) -> None:
    """The inputs may be left out."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"Timestamp(ms),Current(uA)\r\n0,1.000\r\n1,2.000\r\n2,3.000\r\n")
    recording = read_ppk2_csv(path)
    assert recording.rate_hz == 1000.0
    assert _read(recording).current_a == pytest.approx(np.array([1, 2, 3]) * _UA, rel=1e-6)


def test_missing_lines_are_lost_samples(tmp_path: Path) -> None:
    """The app writes no line for a sample that was lost; short gaps and long ones."""
    times = [0, 1, 2, 4, 5, 305, 306]
    rows = [f"{t / 100},{t}.000,{t % 2}0000000" for t in times]
    got = _read(read_ppk2_csv(_csv(tmp_path, _ONE, *rows)))
    assert np.flatnonzero(~got.lost).tolist() == times
    assert got.current_a[times] == pytest.approx(np.array(times) * _UA, rel=1e-6)
    assert got.digital[times].tolist() == [t % 2 for t in times]


def test_a_long_export_keeps_its_grid(tmp_path: Path) -> None:
    """Many blocks of the file; rounding of the time stamps doesn't add up."""
    n = 200_000
    rows = [f"{k / 100},{k}.000,{k // 500 % 2}0000000" for k in range(n)]
    recording = read_ppk2_csv(_csv(tmp_path, _ONE, *rows))
    chunks = list(recording.chunks)
    assert len(chunks) > 2
    got = joined(chunks)
    assert not got.flags.any()
    assert np.allclose(got.current_a, np.arange(n) * _UA, rtol=1e-6, atol=0)
    assert np.array_equal(got.digital, np.arange(n) // 500 % 2)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["Current(uA),D0-D7", "1.0,00000000"], "columns"),
        (["Timestamp(ms),Current(uA),Current(uA)", "0,1,1", "1,1,1"], "columns"),
        ([_ONE], "fewer than two|Empty"),
        ([_ONE, "0,1,00000000"], "fewer than two"),
        ([_ONE, "0,1,00000000", "0,1,00000000", "0,1,00000000"], "apart"),
        ([_ONE, "0,1,00000000", "1,1,00000000", "2,1,00000000", "3.4,1,00000000"], "line 5"),
        ([_ONE, "0,1,00000000", "1,1,00000000", "2,1,00000000", "1,1,00000000"], "line 5"),
        ([_ONE, "0,1,00000000", "1,1,00000000", "2,1,00000000", "1e300,1,00000000"], "line 5"),
        ([_ONE, "0,1,00000000", "1,1,00000000", "2,1,00000000", "nan,1,00000000"], "nan ms apart"),
        ([_ONE, "0,1,00000000", "1,inf,00000000"], "line 3: an infinite"),
        ([_ONE, "0,1,00000000", "1,1,0000000"], "line 3.*8 characters"),
        ([_ONE, "0,1,00000000", "1,1,0000000Z"], "line 3.*other characters"),
        ([_ONE, "0,1,00000000", "1,one,00000000"], "one"),
        ([_ONE, "0,1,00000000", "1,1"], "columns"),
    ],
)
def test_other_tables_are_refused(lines: list[str], why: str, tmp_path: Path) -> None:
    """Uneven time stamps above all: the message says in which line."""
    with pytest.raises(UsageError, match=why):
        _read(read_ppk2_csv(_csv(tmp_path, *lines)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_recording_or_an_error(tail: bytes, headed: bool) -> None:
    """Whatever the file has."""

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / "any"
        path.write_bytes((f"{_ONE}\n0,1.0,00000000\n".encode() if headed else b"") + tail)
        for read in (read_ppk2, read_ppk2_csv):
            with suppress(UsageError):
                _read(read(path))
