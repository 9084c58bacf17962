"""Promise: what is tried when a board fails depends on the class of failure, is bounded, and erases nothing unasked."""

import inspect
import os
import sys
import threading
from pathlib import Path
from typing import Self

import psutil
import pytest

from fqtbench import errors
from fqtbench.bench import wired
from fqtbench.bench.job import Charge
from fqtbench.bench.power_cycle import PowerCycleCommand
from fqtbench.bench.recovery import Climb, Rung, policy_of, rungs_of
from fqtbench.board import BoardInstance, load_models
from fqtbench.errors import BoardError
from fqtbench.power.modelled import ModelledMonitor
from tests.monitors import install

MODELS = load_models()
PLAIN = BoardInstance(name="desk", model="nrf52840", probe="1", serial="x")
SWITCHED = PLAIN.model_copy(update={"power_cycle": ("true",)})
DEADLINE_S = 60
FRESH, RESET, UNDER, POWER, RECOVER = Rung

# For a board that has every rung: what precedes the second, third … attempt.
LADDERS: dict[str, list[Rung]] = {
    "ProbeError": [RESET, UNDER, POWER, RECOVER],
    "FlashError": [RESET, UNDER, POWER, RECOVER],
    "LockedError": [RECOVER],
    "BusyError": [],
    "LinkError": [RESET, UNDER, POWER],
    "DeviceError": [RESET, POWER],
    "WrongDeviceError": [],
    "MonitorError": [FRESH, RESET],
    "CalibrationError": [],
    "LaunchError": [FRESH],
    "WorkerError": [FRESH, RESET, POWER],
    "DeadlineError": [UNDER],
    "BoardError": [],
    "UsageError": [],
    "ImageError": [],
    "ResultError": [],
    "LabError": [],
    "RegressionError": [],
    "UndecidedError": [],
    "FqtbenchError": [],
}


def _climbed(climb: Climb, error: errors.FqtbenchError) -> list[Rung]:
    """Fail by `error` until the board is given up."""
    return list(iter(lambda: climb.after(error), None))


def test_every_class_of_errors_has_its_line_in_the_table() -> None:
    classes = [kind.__name__ for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert set(LADDERS) == {name for name in classes if name.endswith("Error")}


@pytest.mark.parametrize("name", LADDERS)
def test_each_class_climbs_its_own_rungs(name: str) -> None:
    climb = Climb(rungs_of(SWITCHED, MODELS["nrf52840"], consent=True))
    error = getattr(errors, name)("x")
    assert _climbed(climb, error) == LADDERS[name]
    assert climb.failures == 1 + len(LADDERS[name]) == policy_of(error).attempts


@pytest.mark.parametrize(
    ("board", "model", "consent", "expected"),
    [
        (PLAIN, "nrf52840", False, [RESET, UNDER]),
        (SWITCHED, "nrf52840", False, [RESET, UNDER, POWER]),
        (PLAIN, "nrf52840", True, [RESET, UNDER, RECOVER]),
        (BoardInstance(name="host", model="host"), "host", True, []),
    ],
)
def test_rungs_that_a_board_lacks_are_left_out(
    board: BoardInstance, model: str, consent: bool, expected: list[Rung]
) -> None:
    climb = Climb(rungs_of(board, MODELS[model], consent))
    assert _climbed(climb, errors.FlashError("x")) == expected


def test_a_monitor_that_carries_the_supply_is_a_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "source_of_power", "source", "class Opened:\n    def power_cycle(self): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    through = PLAIN.model_copy(update={"power": "source:C0FFEE"})
    assert POWER in rungs_of(through, MODELS["nrf52840"], consent=False)
    assert POWER not in rungs_of(PLAIN, MODELS["nrf52840"], consent=False)


def test_a_power_cycle_is_the_monitors_where_it_can_and_a_reset_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no such monitor yet: a stand-in for it, and for the probe."""
    course: list[str] = []

    class Switching(ModelledMonitor):
        def power_cycle(self) -> None:
            course.append("power cycle")

    class Connected:
        def __init__(self, *_: str) -> None: ...
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...
        def reset(self) -> None:
            course.append("reset")

    monkeypatch.setattr(wired, "open_monitor", lambda url, supply: Switching(supply))
    monkeypatch.setattr(wired, "Probe", Connected)
    board = SWITCHED.model_copy(update={"power_cycle": ("false",), "probe": f"test-{os.getpid()}"})
    access = wired.WiredAccess(Charge(instance=board, model=MODELS["nrf52840"]), lambda event: None)
    access.restore(Rung.POWER_CYCLE)
    assert course == ["power cycle", "reset"]


@pytest.mark.parametrize("by", ["bench.toml", "--recover"])
def test_only_consent_makes_erasing_a_rung(by: str) -> None:
    instance = PLAIN.model_copy(update={"recover": by == "bench.toml"})
    charge = Charge(instance=instance, model=MODELS["nrf52840"], may_erase=by == "--recover")
    assert RECOVER in charge.rungs
    assert RECOVER not in Charge(instance=PLAIN, model=MODELS["nrf52840"]).rungs


def test_a_ladder_is_climbed_once_whatever_the_failures_are() -> None:
    climb = Climb(rungs_of(SWITCHED, MODELS["nrf52840"], consent=False))
    assert climb.after(errors.FlashError("x")) is RESET
    assert climb.after_failed_rung() is UNDER
    assert climb.after(errors.WorkerError("x")) is POWER
    assert climb.after(errors.LinkError("x")) is None


def test_a_power_cycle_is_the_boards_own_command(tmp_path: Path) -> None:
    PowerCycleCommand([sys.executable, "-c", f"open({str(tmp_path / 'done')!r}, 'w')"], "desk").run()
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/nowhere/uhubctl"], "power cycle by `/nowhere/uhubctl`: can't be run: No such file"),
        ([sys.executable, "-c", "raise SystemExit('no hub 1-1')"], "exit code 1: no hub 1-1"),
    ],
)
def test_a_power_cycle_that_fails_is_one_line_with_its_words(argv: list[str], expected: str) -> None:
    with pytest.raises(BoardError) as caught:
        PowerCycleCommand(argv, "desk").run()
    assert str(caught.value).startswith("board desk: ")
    assert expected in str(caught.value)


def _sleeping(says: Path) -> list[str]:
    code = f"import os, signal; open({str(says)!r}, 'w').write(str(os.getpid())); signal.pause()"
    return [sys.executable, "-c", code]


def test_a_power_cycle_that_is_late_is_ended(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"not done within 0\.5 s"):
        PowerCycleCommand(_sleeping(tmp_path / "pid"), "desk", deadline_s=0.5).run()


def test_a_power_cycle_ends_with_its_worker(tmp_path: Path) -> None:
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    command = PowerCycleCommand(_sleeping(fifo), "desk")
    failures: list[BoardError] = []

    def run() -> None:
        try:
            command.run()
        except BoardError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    pid = int(fifo.read_text())
    command.end(DEADLINE_S)
    thread.join(DEADLINE_S)
    assert not psutil.pid_exists(pid)
    assert len(failures) == 1
