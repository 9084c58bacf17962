"""Promise: `fqtbench energy` finds in a trace the windows that are there, and says of each what is known of it."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fqtbench.errors import UsageError
from fqtbench.power.importing import load
from fqtbench.power.instrument import Chunk, Flag
from fqtbench.power.trace import TraceWriter
from tests.command import run_command
from tests.power.measuring import IDLE_W, RATE_HZ, VOLTS, excerpt_of

LENGTHS, CURRENTS_A = [30, 60, 20] * 10, [6e-3, 5e-3, 8e-3] * 10


def energy(path: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return run_command("energy", str(path), *options, cwd=path.parent, deadline_s=60)


def save(path: Path, volts: float | None = VOLTS, lost: int | None = None) -> Path:
    """Write ten steps of three phases as a trace of ours."""
    part = excerpt_of(LENGTHS, CURRENTS_A)
    if lost is not None:
        part.current_a[lost], part.flags[lost] = np.nan, Flag.LOST
    with TraceWriter(path, "steps", RATE_HZ, volts) as writer:
        writer.write(Chunk(0, part.current_a, part.digital, part.flags))
    return path


def test_phases_are_grouped_and_their_energy_is_that_of_the_samples(tmp_path: Path) -> None:
    done = energy(save(tmp_path / "t.parquet"), "--phases", "3", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name, length, current in zip(("forward", "backward", "update"), LENGTHS, CURRENTS_A, strict=False):
        phase = found["phases"][name]
        assert phase["n_windows"] == 10
        assert phase["all"]["median_j"] == pytest.approx(length / RATE_HZ * current * VOLTS, rel=1e-6)
        above = length / RATE_HZ * (current * VOLTS - IDLE_W)
        assert phase["above_idle"]["median_j"] == pytest.approx(above, rel=1e-6)
    assert len(found["windows"]) == 30
    assert found["idle_w"] == pytest.approx(IDLE_W, rel=1e-6)


def test_a_window_with_a_lost_sample_is_shown_and_not_counted(tmp_path: Path) -> None:
    done = energy(save(tmp_path / "t.parquet", lost=10), "--phases", "3", "--json")
    found = json.loads(done.stdout)
    assert found["flagged_samples"]["LOST"] == 1
    assert found["windows"][0]["flags"] == ["LOST"]
    assert found["windows"][0]["energy_j"] is None
    assert [found["phases"][name]["n_windows"] for name in ("forward", "backward", "update")] == [9, 10, 10]


def test_tables_are_printed_for_people(tmp_path: Path) -> None:
    done = energy(save(tmp_path / "t.parquet"), "--phases", "2")
    assert done.returncode == 0, done.stderr
    assert "5.4 µJ" in done.stdout
    assert "and 10 more" in done.stdout


def test_the_volts_are_asked_for_where_the_trace_has_none(tmp_path: Path) -> None:
    path = save(tmp_path / "t.parquet", volts=None)
    done = energy(path)
    assert done.returncode == 2
    assert "--volts" in done.stderr
    assert energy(path, "--volts", "3.0").returncode == 0


def test_another_input_without_windows_is_an_error_that_says_so(tmp_path: Path) -> None:
    done = energy(save(tmp_path / "t.parquet"), "--trigger", "5")
    assert done.returncode == 2
    assert "digital input 5 never rises" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.png", b"\x89PNG", "unknown format .png"),
        ("t.jsl", b"", r"unknown format .jsl; did you mean .jls\?"),
        ("t.parquet", b"PAR1 and no more", "t.parquet"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=told):
        load(path)


def test_a_trace_is_known_by_its_content_whatever_it_is_called(tmp_path: Path) -> None:
    path = save(tmp_path / "t.parquet").rename(tmp_path / "renamed.bin")
    assert load(path).name == "steps"
