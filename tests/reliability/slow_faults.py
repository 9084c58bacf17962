"""Faults that take longer than a test should: `make soak` runs them with the others (benchmarks/reliability.py).

The name keeps pytest from collecting this module unasked; given as an argument it is run.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from fqtbench.experiment.attempts import load_attempts
from fqtbench.experiment.results import load_results
from tests.bench.conftest import bench_file
from tests.command import run_command, start_command
from tests.monitors import install
from tests.reliability.bench import ONCE, Bench
from tests.reliability.interrupts import COMMANDS, END_S, assert_usable, furnish, interrupt
from tests.reliability.matrix import Outcome, injects
from tests.reliability.relays import Served
from tests.reliability.trouble import Trouble

_DEADLINE_S = 240


@injects(
    "the board dies while it is flashed",
    "SIGKILL of the launched virtual board after 120 kB through its probe",
    f"{ONCE}, on a board that is launched again",
)
def test_board_killed_while_flashing(bench: Bench, undisturbed: list[str], outcome: Outcome) -> None:
    bench.run_through(bench.launched(Trouble(dies_at_probe=120_000)), undisturbed, outcome)


@injects(
    "the board dies while a sample streams to it",
    "SIGKILL of the launched virtual board when half of a frame has reached it",
    f"{ONCE}, on a board that is launched again",
)
def test_board_killed_while_streaming(bench: Bench, undisturbed: list[str], outcome: Outcome) -> None:
    bench.run_through(bench.launched(Trouble(dies_at_serial=8_000, dies_in_frame=True)), undisturbed, outcome)


@injects(
    "the board dies while it trains",
    "SIGKILL of the launched virtual board when a sample has reached it that it has not answered",
    f"{ONCE}, on a board that is launched again",
)
def test_board_killed_while_training(bench: Bench, undisturbed: list[str], outcome: Outcome) -> None:
    bench.run_through(bench.launched(Trouble(dies_at_serial=8_000)), undisturbed, outcome)


@injects(
    "power is lost while the flash is programmed",
    "the launched board ends in the middle of programming; its flash stays as it is, for the next launch",
    f"{ONCE}; the half-programmed flash is programmed again",
)
def test_power_lost_in_mid_flash(bench: Bench, undisturbed: list[str], outcome: Outcome) -> None:
    flash, left = bench.folder / "flash.bin", []

    def look(label: str, event: dict[str, Any]) -> None:
        if event["event"] == "retry":
            left.append(flash.read_bytes())

    board = bench.launched(Trouble(dies_at_probe=120_000, dies_by="SIGTERM"), "--flash", str(flash))
    bench.run_through(board, undisturbed, outcome, look)
    assert 0 < _programmed(left[0]) < _programmed(flash.read_bytes())


@injects(
    "one byte in 500 on the UART is corrupted",
    "relay on the serial line, both ways, the whole suite long; samples of 784 bytes",
    f"{ONCE}; the frames are sent again",
)
def test_one_byte_in_500_corrupted(
    bench: Bench, served: Served, undisturbed: list[str], outcome: Outcome
) -> None:
    bench.run_behind(served, Trouble(corrupt_one_in=500), undisturbed)
    assert bench.n_perturbed() == 2
    outcome.is_("survived: frames were sent again, the runs are marked perturbed", attempts=1 + bench.retries)


@injects(
    "bytes on the UART come twice: what is written in one piece",
    "relay on the serial line, both ways: one piece in four is sent twice",
    f"{ONCE}; no sample is trained twice",
)
def test_pieces_repeated(bench: Bench, served: Served, undisturbed: list[str], outcome: Outcome) -> None:
    bench.run_behind(served, Trouble(repeat_piece_in=4), undisturbed)
    outcome.is_("survived: repeated frames are recognized by their numbers", attempts=1 + bench.retries)


@injects(
    "single bytes on the UART come twice, so that a frame is longer than the device's buffer",
    "relay on the serial line, both ways, the whole suite long: one byte in 500 is sent twice",
    f"{ONCE}; the frames are sent again",
)
def test_one_byte_in_500_repeated(
    bench: Bench, served: Served, undisturbed: list[str], outcome: Outcome
) -> None:
    bench.run_behind(served, Trouble(repeat_one_in=500), undisturbed)
    assert bench.n_perturbed() == 2
    outcome.is_("survived: frames were sent again, the runs are marked perturbed", attempts=1 + bench.retries)


@injects(
    "the power monitor is gone in the middle of a window",
    "a monitor of an installed package, which fails once in its first attempt, after it has given figures of 9 W",
    f"{ONCE}; no energy is invented: all figures are those of the second attempt, of 5 mW",
)
def test_monitor_gone_in_mid_window(
    bench: Bench,
    served: Served,
    undisturbed: list[str],
    outcome: Outcome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = tmp_path / "site"
    install(site, "frail", "frail", (Path(__file__).parent / "frail_monitor.py").read_text("utf-8"))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    board = bench.behind(served).model_copy(update={"power": f"frail:{bench.struck}"})
    bench.run_through(board, undisturbed, outcome)
    (failed,) = load_attempts(bench.out)
    assert (failed.error_class, failed.attempt, failed.rung) == ("MonitorError", 1, "fresh worker")
    runs = load_results(bench.out).runs
    assert [run.attempts for run in runs] == [2, 1]
    for run in runs:
        step_j, step_s = run.metrics["step_j"], run.metrics["step_s"]
        assert step_j.origin == "measured"
        assert step_j.value == pytest.approx(0.005 * step_s.value)


@injects(
    "nothing comes over the UART for 10 s",
    "relay on the serial line, both ways, after 10 kB towards the board: the bytes are held back",
    f"{ONCE}; nothing is tried again",
)
def test_ten_seconds_of_silence(
    bench: Bench, served: Served, undisturbed: list[str], outcome: Outcome
) -> None:
    bench.run_behind(served, Trouble(serial_from=10_000, serial_s=10, serial_way="silence"), undisturbed)
    assert bench.retries == 0
    outcome.is_("survived: the board was asked again until it answered", attempts=1)


@injects(
    "two orchestrators race for one board",
    "two command lines started at once with one bench file, --wait, and two results folders",
    "one waits, says for whom, and goes on when the other has ended; both are complete",
)
def test_two_orchestrators_race(
    bench: Bench, served: Served, undisturbed: list[str], outcome: Outcome, tmp_path: Path
) -> None:
    board = bench.behind(served)
    bench_file(tmp_path, probe=served.addresses["probe"], serial=served.addresses["serial"])
    options = ("--board", "desk", "--wait", str(_DEADLINE_S))
    both = [
        start_command("run", "suite.yaml", "--out", out, *options, cwd=tmp_path) for out in ("out", "other")
    ]
    said = [process.communicate(timeout=_DEADLINE_S)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    (waiting,) = [line for text in said for line in text.splitlines() if "waiting" in line]
    assert "in use by process" in waiting
    bench.assert_whole(undisturbed, board)
    bench.out = tmp_path / "other"
    bench.assert_whole(undisturbed, board)
    outcome.is_("survived: one waited for the other", attempts=1, told=waiting)


@injects(
    "another orchestrator holds the board, and nobody waits",
    "a command line with --wait 0 while a run is under way on the same board",
    "refused with one line that names the holder; the run under way is not disturbed",
)
def test_board_in_use(
    bench: Bench, served: Served, undisturbed: list[str], outcome: Outcome, tmp_path: Path
) -> None:
    board = bench.behind(served)
    bench_file(tmp_path, probe=served.addresses["probe"], serial=served.addresses["serial"])
    told: list[str] = []

    def intrude(label: str, event: dict[str, Any]) -> None:
        if event["event"] == "verified" and not told:
            options = ("--board", "desk", "--wait", "0", "--out", "other")
            done = run_command("run", "suite.yaml", *options, cwd=tmp_path, deadline_s=_DEADLINE_S)
            assert done.returncode == 3, done.stderr
            told.append(done.stderr.splitlines()[-1])

    assert bench.run(board, hook=intrude) == 2
    assert "in use by process" in told[0]
    assert not list((tmp_path / "other").glob("runs/*"))
    bench.assert_whole(undisturbed, board)
    outcome.is_("the second was refused, the first survived", attempts=1, told=told[0])


@injects(
    "Ctrl-C at the terminal",
    f"a pseudo-terminal; {', '.join(COMMANDS)}; each when it shows that it is at work",
    f"each ends within {END_S:g} s with its exit code, no process is left, the board is free",
)
def test_ctrl_c_ends_every_command(served: Served, tmp_path: Path, outcome: Outcome) -> None:
    furnish(tmp_path, served.addresses)
    seconds = {name: interrupt(command, tmp_path) for name, command in COMMANDS.items()}
    assert_usable(tmp_path)
    assert {name: s for name, s in seconds.items() if s > END_S} == {}
    slowest = max(seconds, key=lambda name: seconds[name])
    outcome.is_(f"ended, the slowest, `{slowest}`, after {seconds[slowest]:.1f} s")


@injects(
    "Ctrl-C while the flash is programmed",
    "a pseudo-terminal; `flash`, when 120 kB have gone to the probe; from then on the board stands still",
    f"it ends within {END_S:g} s, no process is left, and the next `flash` programs what is missing",
)
def test_ctrl_c_in_mid_flash(served: Served, tmp_path: Path, outcome: Outcome) -> None:
    furnish(tmp_path, served.addresses)
    served.erase()
    with served.having(Trouble(dies_at_probe=120_000)):
        seconds = interrupt(COMMANDS["flash"], tmp_path, served.struck)
    done = run_command("flash", "desk", cwd=tmp_path, deadline_s=_DEADLINE_S)
    assert done.returncode == 0, done.stderr
    assert seconds <= END_S
    outcome.is_(f"ended after {seconds:.1f} s; the next command programmed the chip")


def _programmed(flash: bytes) -> int:
    return len(flash) - flash.count(0xFF)
